/* SPDX-License-Identifier: MIT */
/*
 * A vhost-user front-end: every message as a function, a raw one for hostile tests, and the
 * bring-up sequences of real front-ends (front_end_start.h).
 *
 * Functions that send a request return 0 when the back-end accepted it, a positive number when it
 * refused it (the value of the REPLY_ACK answer), and -errno when the session is over: -EPIPE
 * closed, -ETIMEDOUT no answer. Requests without an answer of their own ask for one if REPLY_ACK is
 * on.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "driver_split.h"
#include "guest_ram.h"

enum vu_request {
    VU_GET_FEATURES = 1,
    VU_SET_FEATURES = 2,
    VU_SET_OWNER = 3,
    VU_RESET_OWNER = 4,
    VU_SET_MEM_TABLE = 5,
    VU_SET_LOG_BASE = 6,
    VU_SET_LOG_FD = 7,
    VU_SET_VRING_NUM = 8,
    VU_SET_VRING_ADDR = 9,
    VU_SET_VRING_BASE = 10,
    VU_GET_VRING_BASE = 11,
    VU_SET_VRING_KICK = 12,
    VU_SET_VRING_CALL = 13,
    VU_SET_VRING_ERR = 14,
    VU_GET_PROTOCOL_FEATURES = 15,
    VU_SET_PROTOCOL_FEATURES = 16,
    VU_GET_QUEUE_NUM = 17,
    VU_SET_VRING_ENABLE = 18,
    VU_SEND_RARP = 19,
    VU_NET_SET_MTU = 20,
    VU_SET_BACKEND_REQ_FD = 21,
    VU_IOTLB_MSG = 22,
    VU_SET_VRING_ENDIAN = 23,
    VU_GET_CONFIG = 24,
    VU_SET_CONFIG = 25,
    VU_POSTCOPY_ADVISE = 28,
    VU_POSTCOPY_LISTEN = 29,
    VU_POSTCOPY_END = 30,
    VU_GET_INFLIGHT_FD = 31,
    VU_SET_INFLIGHT_FD = 32,
    VU_RESET_DEVICE = 34,
    VU_VRING_KICK = 35,
    VU_GET_MAX_MEM_SLOTS = 36,
    VU_ADD_MEM_REG = 37,
    VU_REM_MEM_REG = 38,
    VU_SET_STATUS = 39,
    VU_GET_STATUS = 40,
    VU_SET_DEVICE_STATE_FD = 42,
    VU_CHECK_DEVICE_STATE = 43,
};

enum vu_flags {
    VU_VERSION = 1,
    VU_REPLY = 1 << 2,
    VU_NEED_REPLY = 1 << 3,
};

#define VU_PF_MQ                  (1ull << 0)
#define VU_PF_LOG_SHMFD           (1ull << 1)
#define VU_PF_RARP                (1ull << 2)
#define VU_PF_REPLY_ACK           (1ull << 3)
#define VU_PF_MTU                 (1ull << 4)
#define VU_PF_BACKEND_REQ         (1ull << 5)
#define VU_PF_CROSS_ENDIAN        (1ull << 6)
#define VU_PF_CONFIG              (1ull << 9)
#define VU_PF_BACKEND_SEND_FD     (1ull << 10)
#define VU_PF_INFLIGHT            (1ull << 12)
#define VU_PF_RESET_DEVICE        (1ull << 13)
#define VU_PF_INBAND              (1ull << 14)
#define VU_PF_CONFIGURE_MEM_SLOTS (1ull << 15)
#define VU_PF_STATUS              (1ull << 16)
#define VU_PF_DEVICE_STATE        (1ull << 19)

#define VIRTIO_F_NOTIFY_ON_EMPTY   (1ull << 24)
#define VHOST_F_LOG_ALL            (1ull << 26)
#define VIRTIO_F_ANY_LAYOUT        (1ull << 27)
#define VIRTIO_F_INDIRECT_DESC     (1ull << 28)
#define VIRTIO_F_EVENT_IDX         (1ull << 29)
#define VHOST_F_PROTOCOL_FEATURES  (1ull << 30)
#define VIRTIO_F_VERSION_1         (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM   (1ull << 33)
#define VIRTIO_F_RING_PACKED       (1ull << 34)
#define VIRTIO_F_IN_ORDER          (1ull << 35)
#define VIRTIO_F_NOTIFICATION_DATA (1ull << 38)
#define VIRTIO_F_RING_RESET        (1ull << 40)

enum virtio_status {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,
    STATUS_NEEDS_RESET = 64,
    STATUS_FAILED = 128,
};

enum {
    VU_HEADER_LEN = 12,
    VU_PAYLOAD_MAX = 4096,
    VU_FDS_MAX = 32,
    FRONT_END_VRINGS_MAX = 256,
    VU_CONFIG_HEADER_LEN = 12,
    VU_NO_FD = 1 << 8,
};

struct vu_message {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* as the header says */
    uint8_t payload[VU_PAYLOAD_MAX];
    int fd[VU_FDS_MAX]; /* sending: borrowed; receiving: owned by the caller */
    unsigned fd_count;
};

/* An area in which rings in flight are recorded, and its description on the wire. */
struct vu_inflight {
    uint64_t size;
    uint64_t offset;
    uint16_t queues;
    uint16_t queue_size;
    uint32_t padding;
    int fd; /* -1: none; not on the wire */
};

enum {
    VU_INFLIGHT_LEN = 24,
    VU_INFLIGHT_LEN_BARE = 20,
};

struct front_end_vring {
    int kick_fd; /* owned */
    int call_fd; /* owned */
    int err_fd;  /* owned */
};

struct front_end {
    int fd;            /* owned; -1 when not connected */
    uint64_t offered;  /* last answer to GET_FEATURES */
    uint64_t features; /* last SET_FEATURES */
    uint64_t pf_offered;
    uint64_t pf;    /* last SET_PROTOCOL_FEATURES */
    int backend_fd; /* owned: our end of the back-end request channel, -1: none */
    struct front_end_vring vring[FRONT_END_VRINGS_MAX];
};

/* ---- the session ---- */

void front_end_init(struct front_end *fe);
/* Closes all, and makes it ready for another connect. */
void front_end_close(struct front_end *fe);
/* Tries until something listens at path; fails the test after some seconds. */
void front_end_connect(struct front_end *fe, const char *path);
/* The other way round: the back-end connects to us. */
int front_end_listen(const char *path);
void front_end_accept(struct front_end *fe, int listen_fd);
/* 1 if the back-end closes the session within timeout_ms; what it still sends is thrown away. */
int front_end_is_closed(struct front_end *fe, int timeout_ms);

/* ---- raw ---- */

/* Sends header and payload as they are, size included; -EPIPE if the peer is gone. */
int front_end_send(struct front_end *fe, const struct vu_message *message);
/* Sends bytes without any meaning. */
int front_end_send_bytes(struct front_end *fe, const void *bytes, size_t len);
int front_end_receive(struct front_end *fe, struct vu_message *ret_message);
/* Sends; takes the acknowledgement if there will be one. `flags` are or-ed to the version. */
int front_end_request(struct front_end *fe, struct vu_message *message, uint32_t flags);
/* Sends and takes the request's own answer, whose header is checked (VU-HDR-01). */
int front_end_ask(struct front_end *fe, struct vu_message *message);
struct vu_message vu_message(uint32_t request, const void *payload, uint32_t size);
struct vu_message vu_message_u64(uint32_t request, uint64_t value);
struct vu_message vu_message_state(uint32_t request, uint32_t index, uint32_t num);
void vu_message_add_fd(struct vu_message *message, int fd);

/* ---- messages ---- */

int front_end_get_u64(struct front_end *fe, uint32_t request, uint64_t *ret_value);
int front_end_set_u64(struct front_end *fe, uint32_t request, uint64_t value);
int front_end_simple(struct front_end *fe, uint32_t request);
int front_end_get_features(struct front_end *fe);
int front_end_set_features(struct front_end *fe, uint64_t features);
int front_end_get_protocol_features(struct front_end *fe);
int front_end_set_protocol_features(struct front_end *fe, uint64_t features);
int front_end_set_mem_table(struct front_end *fe, const struct guest_ram *ram);
int front_end_add_mem_reg(struct front_end *fe, const struct guest_ram_region *region);
int front_end_rem_mem_reg(struct front_end *fe, const struct guest_ram_region *region);
int front_end_vring_state(struct front_end *fe, uint32_t request, uint32_t index, uint32_t num);
int front_end_set_ring_addr(struct front_end *fe, uint32_t index, const struct driver_ring *ring);
/* The same, with the flag that has the ring's own words noted; its device area by log_gpa. */
int front_end_set_ring_log(struct front_end *fe, uint32_t index, const struct driver_ring *ring,
                           uint64_t log_gpa);
/* A part of the file is the log of dirty pages from now on. LOG_SHMFD and REPLY_ACK are on. */
int front_end_set_log_base(struct front_end *fe, int fd, uint64_t size, uint64_t offset);
int front_end_set_vring_addr(struct front_end *fe, uint32_t index,
                             const struct driver_split *split);
int front_end_get_vring_base(struct front_end *fe, uint32_t index, uint32_t *ret_base);
/* Each makes a fresh eventfd, keeps it in fe->vring[index] and hands it over. */
int front_end_set_vring_kick(struct front_end *fe, uint32_t index);
int front_end_set_vring_call(struct front_end *fe, uint32_t index);
int front_end_set_vring_err(struct front_end *fe, uint32_t index);
int front_end_set_status(struct front_end *fe, uint8_t status);
int front_end_get_status(struct front_end *fe, uint64_t *ret_status);
/* Answers the length of the reply's data, 0 for an error reply, or -errno. */
int front_end_get_config(struct front_end *fe, uint32_t offset, uint32_t len, void *ret_data);
int front_end_set_config(struct front_end *fe, uint32_t offset, uint32_t len, const void *data);
int front_end_set_backend_req_fd(struct front_end *fe);
/* Asks for an area for so many rings of so many entries; the payload is 20 or 24 bytes long (len).
 * On success the fd is the caller's. */
int front_end_get_inflight(struct front_end *fe, struct vu_inflight *inflight, uint32_t len);
int front_end_set_inflight(struct front_end *fe, const struct vu_inflight *inflight, uint32_t len);
/* A round trip: what was sent before has been handled (QEMU uses GET_FEATURES the same way). */
int front_end_sync(struct front_end *fe);
