/* SPDX-License-Identifier: MIT */
/* Every message of the front-end that the tests send as it should be. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "front_end.h"

struct wire_region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint64_t offset;
};

int front_end_get_u64(struct front_end *fe, uint32_t request, uint64_t *ret_value)
{
    struct vu_message message = vu_message(request, NULL, 0);
    int err = front_end_ask(fe, &message);

    if (err < 0)
        return err;
    check(message.size == sizeof(*ret_value), "reply to %u: %u bytes", request, message.size);
    memcpy(ret_value, message.payload, sizeof(*ret_value));
    return 0;
}

int front_end_set_u64(struct front_end *fe, uint32_t request, uint64_t value)
{
    struct vu_message message = vu_message_u64(request, value);

    return front_end_request(fe, &message, 0);
}

int front_end_simple(struct front_end *fe, uint32_t request)
{
    struct vu_message message = vu_message(request, NULL, 0);

    return front_end_request(fe, &message, 0);
}

int front_end_get_features(struct front_end *fe)
{
    return front_end_get_u64(fe, VU_GET_FEATURES, &fe->offered);
}

int front_end_set_features(struct front_end *fe, uint64_t features)
{
    fe->features = features;
    return front_end_set_u64(fe, VU_SET_FEATURES, features);
}

int front_end_get_protocol_features(struct front_end *fe)
{
    return front_end_get_u64(fe, VU_GET_PROTOCOL_FEATURES, &fe->pf_offered);
}

/* The bit counts from the next message on: this one is never acknowledged the first time. */
int front_end_set_protocol_features(struct front_end *fe, uint64_t features)
{
    int err = front_end_set_u64(fe, VU_SET_PROTOCOL_FEATURES, features);

    if (err == 0)
        fe->pf = features;
    return err;
}

static struct wire_region wire_region_of(const struct guest_ram_region *region)
{
    return (struct wire_region){region->gpa, region->size, region->uva, region->offset};
}

int front_end_set_mem_table(struct front_end *fe, const struct guest_ram *ram)
{
    struct {
        uint32_t count;
        uint32_t padding;
        struct wire_region region[GUEST_RAM_REGIONS_MAX];
    } table = {.count = ram->region_count};
    struct vu_message message;

    for (unsigned i = 0; i < ram->region_count; i++)
        table.region[i] = wire_region_of(&ram->region[i]);
    message = vu_message(VU_SET_MEM_TABLE, &table,
                         8 + ram->region_count * (uint32_t)sizeof(struct wire_region));
    for (unsigned i = 0; i < ram->region_count; i++)
        vu_message_add_fd(&message, ram->region[i].fd);
    return front_end_request(fe, &message, 0);
}

static struct vu_message mem_reg_message(uint32_t request, const struct guest_ram_region *region)
{
    struct {
        uint64_t padding;
        struct wire_region region;
    } payload = {.region = wire_region_of(region)};

    return vu_message(request, &payload, sizeof(payload));
}

int front_end_add_mem_reg(struct front_end *fe, const struct guest_ram_region *region)
{
    struct vu_message message = mem_reg_message(VU_ADD_MEM_REG, region);

    vu_message_add_fd(&message, region->fd);
    return front_end_request(fe, &message, 0);
}

int front_end_rem_mem_reg(struct front_end *fe, const struct guest_ram_region *region)
{
    struct vu_message message = mem_reg_message(VU_REM_MEM_REG, region);

    return front_end_request(fe, &message, 0);
}

int front_end_vring_state(struct front_end *fe, uint32_t request, uint32_t index, uint32_t num)
{
    struct vu_message message = vu_message_state(request, index, num);

    return front_end_request(fe, &message, 0);
}

/* A part of a ring, as the device is told where it is. */
static uint64_t area_address(const struct driver_ring *ring, uint64_t gpa, uint64_t len)
{
    return ring->dma != NULL ? ring->dma->fixed(ring->dma, gpa, len)
                             : guest_ram_uva(ring->ram, gpa);
}

static int set_ring_addr(struct front_end *fe, uint32_t index, const struct driver_ring *ring,
                         const uint64_t *log_gpa)
{
    struct {
        uint32_t index;
        uint32_t flags;
        uint64_t desc;
        uint64_t used;
        uint64_t avail;
        uint64_t log;
    } payload = {
        .index = index,
        .flags = log_gpa != NULL,
        .desc = area_address(ring, ring->desc_area, ring->desc_len),
        .used = area_address(ring, ring->device_area, ring->device_len),
        .avail = area_address(ring, ring->driver_area, ring->driver_len),
        .log = log_gpa != NULL ? *log_gpa : 0,
    };
    struct vu_message message = vu_message(VU_SET_VRING_ADDR, &payload, sizeof(payload));

    return front_end_request(fe, &message, 0);
}

int front_end_set_ring_addr(struct front_end *fe, uint32_t index, const struct driver_ring *ring)
{
    return set_ring_addr(fe, index, ring, NULL);
}

int front_end_set_ring_log(struct front_end *fe, uint32_t index, const struct driver_ring *ring,
                           uint64_t log_gpa)
{
    return set_ring_addr(fe, index, ring, &log_gpa);
}

int front_end_set_log_base(struct front_end *fe, int fd, uint64_t size, uint64_t offset)
{
    uint64_t payload[2] = {size, offset};
    struct vu_message message = vu_message(VU_SET_LOG_BASE, payload, sizeof(payload));

    vu_message_add_fd(&message, fd);
    return front_end_request(fe, &message, 0);
}

int front_end_set_vring_addr(struct front_end *fe, uint32_t index, const struct driver_split *split)
{
    return front_end_set_ring_addr(fe, index, &split->ring);
}

int front_end_get_vring_base(struct front_end *fe, uint32_t index, uint32_t *ret_base)
{
    struct vu_message message = vu_message_state(VU_GET_VRING_BASE, index, 0);
    uint32_t state[2];
    int err = front_end_ask(fe, &message);

    if (err < 0)
        return err;
    check(message.size == sizeof(state), "GET_VRING_BASE answers %u bytes", message.size);
    memcpy(state, message.payload, sizeof(state));
    check(state[0] == index, "GET_VRING_BASE of ring %u answers for %u", index, state[0]);
    *ret_base = state[1];
    return 0;
}

static int set_vring_fd(struct front_end *fe, uint32_t request, uint32_t index, int *fd)
{
    struct vu_message message = vu_message_u64(request, index);

    if (*fd >= 0)
        close(*fd);
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    check(*fd >= 0, "no eventfd");
    vu_message_add_fd(&message, *fd);
    return front_end_request(fe, &message, 0);
}

int front_end_set_vring_kick(struct front_end *fe, uint32_t index)
{
    return set_vring_fd(fe, VU_SET_VRING_KICK, index, &fe->vring[index].kick_fd);
}

int front_end_set_vring_call(struct front_end *fe, uint32_t index)
{
    return set_vring_fd(fe, VU_SET_VRING_CALL, index, &fe->vring[index].call_fd);
}

int front_end_set_vring_err(struct front_end *fe, uint32_t index)
{
    return set_vring_fd(fe, VU_SET_VRING_ERR, index, &fe->vring[index].err_fd);
}

int front_end_set_status(struct front_end *fe, uint8_t status)
{
    return front_end_set_u64(fe, VU_SET_STATUS, status);
}

int front_end_get_status(struct front_end *fe, uint64_t *ret_status)
{
    return front_end_get_u64(fe, VU_GET_STATUS, ret_status);
}

static struct vu_message config_message(uint32_t request, uint32_t offset, uint32_t len)
{
    struct {
        uint32_t offset;
        uint32_t size;
        uint32_t flags;
        uint8_t data[256];
    } payload = {.offset = offset, .size = len};

    check(len <= sizeof(payload.data), "config of %u bytes", len);
    return vu_message(request, &payload, VU_CONFIG_HEADER_LEN + len);
}

int front_end_get_config(struct front_end *fe, uint32_t offset, uint32_t len, void *ret_data)
{
    struct vu_message message = config_message(VU_GET_CONFIG, offset, len);
    uint32_t header[3];
    int err = front_end_ask(fe, &message);

    if (err < 0)
        return err;
    if (message.size == 0)
        return 0;
    memcpy(header, message.payload, sizeof(header));
    check(message.size == VU_CONFIG_HEADER_LEN + len && header[0] == offset && header[1] == len,
          "config reply: %u bytes, offset %u, size %u", message.size, header[0], header[1]);
    memcpy(ret_data, message.payload + VU_CONFIG_HEADER_LEN, len);
    return (int)len;
}

int front_end_set_config(struct front_end *fe, uint32_t offset, uint32_t len, const void *data)
{
    struct vu_message message = config_message(VU_SET_CONFIG, offset, len);

    memcpy(message.payload + VU_CONFIG_HEADER_LEN, data, len);
    return front_end_request(fe, &message, 0);
}

int front_end_set_backend_req_fd(struct front_end *fe)
{
    struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
    int pair[2];
    int err;

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no socket pair");
    if (fe->backend_fd >= 0)
        close(fe->backend_fd);
    fe->backend_fd = pair[0];
    vu_message_add_fd(&message, pair[1]);
    err = front_end_request(fe, &message, 0);
    close(pair[1]);
    return err;
}

int front_end_sync(struct front_end *fe)
{
    return front_end_get_features(fe);
}

int front_end_get_inflight(struct front_end *fe, struct vu_inflight *inflight, uint32_t len)
{
    struct vu_message message = vu_message(VU_GET_INFLIGHT_FD, inflight, len);
    int err = front_end_ask(fe, &message);

    if (err < 0)
        return err;
    check(message.size == len && message.fd_count == 1, "an area of %u bytes and %u fds",
          message.size, message.fd_count);
    memcpy(inflight, message.payload, len);
    inflight->fd = message.fd[0];
    return 0;
}

int front_end_set_inflight(struct front_end *fe, const struct vu_inflight *inflight, uint32_t len)
{
    struct vu_message message = vu_message(VU_SET_INFLIGHT_FD, inflight, len);

    if (inflight->fd >= 0)
        vu_message_add_fd(&message, inflight->fd);
    return front_end_request(fe, &message, 0);
}
