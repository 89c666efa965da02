/* SPDX-License-Identifier: MIT */
/* The vhost-user messages as they are on the socket: host byte order, no padding but what is shown.
 */
#pragma once

#include <stdint.h>

enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_REQUEST_COUNT,
};

/* On the back-end's own channel. */
enum vhost_user_backend_request {
    VHOST_USER_BACKEND_IOTLB_MSG = 1,
    VHOST_USER_BACKEND_CONFIG_CHANGE_MSG = 2,
    VHOST_USER_BACKEND_VRING_CALL = 4,
    VHOST_USER_BACKEND_VRING_ERR = 5,
};

enum vhost_user_flags {
    VHOST_USER_VERSION = 1,
    VHOST_USER_VERSION_MASK = 3,
    VHOST_USER_REPLY = 4,
    VHOST_USER_NEED_REPLY = 8,
};

/* In the features word: bits that are not virtio's. */
#define VHOST_USER_F_LOG_ALL           (1ull << 26)
#define VHOST_USER_F_PROTOCOL_FEATURES (1ull << 30)
#define VHOST_USER_F_ACCESS_PLATFORM   (1ull << 33) /* virtio's: addresses are iovas */
#define VHOST_USER_F_ALL               (VHOST_USER_F_LOG_ALL | VHOST_USER_F_PROTOCOL_FEATURES)

enum vhost_user_protocol_feature {
    VHOST_USER_PROTOCOL_MQ = 1u << 0,
    VHOST_USER_PROTOCOL_LOG_SHMFD = 1u << 1,
    VHOST_USER_PROTOCOL_RARP = 1u << 2,
    VHOST_USER_PROTOCOL_REPLY_ACK = 1u << 3,
    VHOST_USER_PROTOCOL_MTU = 1u << 4,
    VHOST_USER_PROTOCOL_BACKEND_REQ = 1u << 5,
    VHOST_USER_PROTOCOL_CROSS_ENDIAN = 1u << 6,
    VHOST_USER_PROTOCOL_PAGEFAULT = 1u << 8,
    VHOST_USER_PROTOCOL_CONFIG = 1u << 9,
    VHOST_USER_PROTOCOL_BACKEND_SEND_FD = 1u << 10,
    VHOST_USER_PROTOCOL_INFLIGHT_SHMFD = 1u << 12,
    VHOST_USER_PROTOCOL_RESET_DEVICE = 1u << 13,
    VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS = 1u << 14,
    VHOST_USER_PROTOCOL_CONFIGURE_MEM_SLOTS = 1u << 15,
    VHOST_USER_PROTOCOL_STATUS = 1u << 16,
    VHOST_USER_PROTOCOL_DEVICE_STATE = 1u << 19,
};

enum {
    VHOST_USER_FDS_MAX = 8,
    VHOST_USER_PAYLOAD_MAX = 4096,
    VHOST_USER_REGIONS_MAX = 8,  /* in one SET_MEM_TABLE */
    VHOST_USER_CONFIG_MAX = 256, /* bytes of config space that a front-end may look at */

    VHOST_USER_VRING_INDEX_MASK = 0xff, /* of the fd messages' word */
    VHOST_USER_VRING_NO_FD = 0x100,
    VHOST_USER_RINGS_MAX = 0x100, /* that this word can name */
};

struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload */
};

struct vhost_user_vring_state {
    uint32_t index;
    uint32_t num;
};

enum vhost_user_vring_flags {
    VHOST_USER_VRING_F_LOG = 1, /* of SET_VRING_ADDR: the ring's own words are noted too */
};

struct vhost_user_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

struct vhost_user_region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint64_t offset;
};

struct vhost_user_memory {
    uint32_t region_count;
    uint32_t padding;
    struct vhost_user_region region[VHOST_USER_REGIONS_MAX];
};

struct vhost_user_mem_reg {
    uint64_t padding;
    struct vhost_user_region region;
};

struct vhost_user_log {
    uint64_t size;
    uint64_t offset;
};

enum vhost_user_iotlb_type {
    VHOST_USER_IOTLB_MISS = 1,
    VHOST_USER_IOTLB_UPDATE = 2,
    VHOST_USER_IOTLB_INVALIDATE = 3,
    VHOST_USER_IOTLB_ACCESS_FAIL = 4,
};

struct vhost_user_iotlb {
    uint64_t iova;
    uint64_t size;
    uint64_t uva;
    uint8_t allowed;    /* 1: to be read; 2: to be written */
    uint8_t type;       /* VHOST_USER_IOTLB_… */
    uint8_t padding[6]; /* not in the text, and sent by everybody (VU-HDR-04) */
};

enum {
    VHOST_USER_IOTLB_LEN = 26 /* without */
};

struct vhost_user_device_state {
    uint32_t direction; /* 0: out; 1: in */
    uint32_t phase;     /* 0: all rings are stopped */
};

struct vhost_user_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t region[VHOST_USER_CONFIG_MAX];
};

enum {
    VHOST_USER_CONFIG_HEADER = 12
};

struct vhost_user_inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t num_queues;
    uint16_t queue_size;
    uint32_t padding; /* not sent by every front-end */
};

union vhost_user_payload {
    uint64_t u64;
    struct vhost_user_vring_state state;
    struct vhost_user_vring_addr addr;
    struct vhost_user_memory memory;
    struct vhost_user_mem_reg mem_reg;
    struct vhost_user_log log;
    struct vhost_user_iotlb iotlb;
    struct vhost_user_device_state device_state;
    struct vhost_user_config config;
    struct vhost_user_inflight inflight;
    uint8_t bytes[VHOST_USER_PAYLOAD_MAX];
};
