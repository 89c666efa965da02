/* SPDX-License-Identifier: MIT */
#include "front_end_start.h"

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

/* Every message of a bring-up must be accepted. */
#define MUST(call)                                                                                 \
    do {                                                                                           \
        int must_result = (call);                                                                  \
        check(must_result == 0, "%s: %d", #call, must_result);                                     \
    } while (0)

/* ---- what the sequences are made of ---- */

static void agree_protocol(struct front_end *fe, const struct front_end_setup *setup)
{
    if (!(fe->offered & VHOST_F_PROTOCOL_FEATURES))
        return;
    MUST(front_end_get_protocol_features(fe));
    MUST(front_end_set_protocol_features(fe, fe->pf_offered & setup->pf));
}

static void agree_features(struct front_end *fe, const struct front_end_setup *setup)
{
    MUST(front_end_set_features(fe, fe->offered & (setup->features | VHOST_F_PROTOCOL_FEATURES)));
}

static void enable(struct front_end *fe, unsigned index)
{
    if (fe->offered & VHOST_F_PROTOCOL_FEATURES)
        MUST(front_end_vring_state(fe, VU_SET_VRING_ENABLE, index, 1));
}

static void number(struct front_end *fe, unsigned index, const struct driver_ring *ring)
{
    MUST(front_end_vring_state(fe, VU_SET_VRING_NUM, index, ring->size));
}

static uint32_t base_of(const struct front_end_setup *setup, const struct driver_ring *ring)
{
    int packed = (setup->features & VIRTIO_F_RING_PACKED) != 0;

    switch (setup->base) {
    case BASE_FIRST:
        return packed ? 0x80008000 : 0;
    case BASE_BEHIND:
        return packed ? ring->ops->base(ring) : ((const struct driver_split *)ring)->published_idx;
    default:
        return ring->ops->base(ring);
    }
}

static void base(struct front_end *fe, const struct front_end_setup *setup, unsigned index)
{
    MUST(front_end_vring_state(fe, VU_SET_VRING_BASE, index, base_of(setup, setup->vring[index])));
}

/* Kept from back-end to back-end. */
static void inflight(struct front_end *fe, const struct front_end_setup *setup)
{
    struct vu_inflight *area = setup->inflight;

    if (area == NULL || !(fe->pf & VU_PF_INFLIGHT))
        return;
    if (area->fd < 0) {
        area->queues = (uint16_t)setup->vring_count;
        area->queue_size = (uint16_t)setup->vring[0]->size;
        MUST(front_end_get_inflight(fe, area, VU_INFLIGHT_LEN));
    }
    MUST(front_end_set_inflight(fe, area, VU_INFLIGHT_LEN));
}

/* A legacy driver's words, QEMU's place for it: before the addresses. */
static void endian(struct front_end *fe, unsigned index, const struct driver_ring *ring)
{
    if (!(fe->features & VIRTIO_F_VERSION_1) && (fe->pf & VU_PF_CROSS_ENDIAN))
        MUST(front_end_vring_state(fe, VU_SET_VRING_ENDIAN, index, ring->order == WIRE_BIG));
}

static void queue_count(struct front_end *fe)
{
    uint64_t count;

    if (fe->pf & VU_PF_MQ)
        MUST(front_end_get_u64(fe, VU_GET_QUEUE_NUM, &count));
}

static void memory(struct front_end *fe, const struct front_end_setup *setup)
{
    if (!(fe->pf & VU_PF_CONFIGURE_MEM_SLOTS)) {
        MUST(front_end_set_mem_table(fe, setup->ram));
        return;
    }
    for (unsigned i = 0; i < setup->ram->region_count; i++)
        MUST(front_end_add_mem_reg(fe, &setup->ram->region[i]));
}

/* QEMU, vhost_user_add_status: read, or-in, write. */
static void add_status(struct front_end *fe, uint8_t bits)
{
    uint64_t status;

    if (!(fe->pf & VU_PF_STATUS))
        return;
    MUST(front_end_get_status(fe, &status));
    MUST(front_end_set_status(fe, (uint8_t)(status | bits)));
    if (bits & STATUS_FEATURES_OK) {
        MUST(front_end_get_status(fe, &status));
        check(status & STATUS_FEATURES_OK, "FEATURES_OK did not stick: status 0x%x",
              (unsigned)status);
    }
}

void front_end_bind(struct front_end *fe, const struct front_end_setup *setup)
{
    for (unsigned i = 0; i < setup->vring_count; i++) {
        setup->vring[i]->event_idx = (fe->features & VIRTIO_F_EVENT_IDX) != 0;
        setup->vring[i]->kick_fd = fe->vring[i].kick_fd;
        setup->vring[i]->call_fd = fe->vring[i].call_fd;
        setup->vring[i]->ops->interrupts(setup->vring[i], INTERRUPTS_ON);
    }
}

void front_end_hello(struct front_end *fe, const struct front_end_setup *setup)
{
    MUST(front_end_get_features(fe));
    agree_protocol(fe, setup);
    MUST(front_end_simple(fe, VU_SET_OWNER));
    agree_features(fe, setup);
}

/* ---- QEMU (conformance.md QEMU-01, QEMU-02; lab.md A2) ---- */

enum memory_messages {
    MEMORY_ONCE,
    MEMORY_EACH_PAIR,
};

static void start_qemu(struct front_end *fe, const struct front_end_setup *setup,
                       enum memory_messages messages)
{
    uint64_t slots;

    for (unsigned pair = 0; pair < setup->vring_count / 2; pair++) { /* one vhost_dev a pair */
        MUST(front_end_get_features(fe));
        agree_protocol(fe, setup);
        queue_count(fe);
        if (pair == 0) {
            if (fe->pf & VU_PF_CONFIGURE_MEM_SLOTS)
                MUST(front_end_get_u64(fe, VU_GET_MAX_MEM_SLOTS, &slots));
            if (fe->pf & VU_PF_BACKEND_REQ)
                MUST(front_end_set_backend_req_fd(fe));
            MUST(front_end_simple(fe, VU_SET_OWNER));
        }
        MUST(front_end_get_features(fe));
        for (unsigned i = 2 * pair; i < 2 * pair + 2; i++) {
            MUST(front_end_set_vring_call(fe, i));
            MUST(front_end_set_vring_err(fe, i));
        }
        enable(fe, 2 * pair);
        enable(fe, 2 * pair + 1);
    }
    for (unsigned pair = 0; pair < setup->vring_count / 2; pair++) {
        agree_features(fe, setup);
        add_status(fe, STATUS_FEATURES_OK);
        if (pair == 0 || messages == MEMORY_EACH_PAIR)
            memory(fe, setup);
        if (pair == 0)
            inflight(fe, setup);
        for (unsigned i = 2 * pair; i < 2 * pair + 2; i++) {
            number(fe, i, setup->vring[i]);
            base(fe, setup, i);
            endian(fe, i, setup->vring[i]);
            MUST(front_end_set_ring_addr(fe, i, setup->vring[i]));
            MUST(front_end_set_vring_kick(fe, i));
            MUST(front_end_set_vring_call(fe, i));
        }
    }
    front_end_bind(fe, setup);
    add_status(fe, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
    MUST(front_end_sync(fe));
}

void front_end_start_qemu(struct front_end *fe, const struct front_end_setup *setup)
{
    start_qemu(fe, setup, MEMORY_ONCE);
}

/* Seen of QEMU 7.2: each pair is a vhost device of its own and sends the same regions again. */
void front_end_start_qemu_7(struct front_end *fe, const struct front_end_setup *setup)
{
    start_qemu(fe, setup, MEMORY_EACH_PAIR);
}

/* ---- DPDK virtio-user (DPK-03) ---- */

void front_end_start_dpdk(struct front_end *fe, const struct front_end_setup *setup)
{
    MUST(front_end_simple(fe, VU_SET_OWNER));
    MUST(front_end_get_features(fe));
    agree_protocol(fe, setup);
    queue_count(fe);
    if (fe->pf & VU_PF_STATUS) {
        MUST(front_end_set_status(fe, 0));
        add_status(fe, STATUS_ACKNOWLEDGE);
        add_status(fe, STATUS_DRIVER);
    }
    agree_features(fe, setup);
    add_status(fe, STATUS_FEATURES_OK);
    for (unsigned i = 0; i < setup->vring_count; i++)
        MUST(front_end_set_vring_call(fe, i));
    agree_features(fe, setup);
    MUST(front_end_set_mem_table(fe, setup->ram));
    for (unsigned i = 0; i < setup->vring_count; i++) {
        number(fe, i, setup->vring[i]);
        base(fe, setup, i);
        MUST(front_end_set_ring_addr(fe, i, setup->vring[i]));
        MUST(front_end_set_vring_kick(fe, i));
    }
    front_end_bind(fe, setup);
    for (unsigned i = 0; i < setup->vring_count; i++)
        enable(fe, i);
    add_status(fe, STATUS_DRIVER_OK);
    MUST(front_end_sync(fe));
}

/* ---- Cloud Hypervisor (CH-01): need_reply on everything ---- */

void front_end_start_cloud_hypervisor(struct front_end *fe, const struct front_end_setup *setup)
{
    uint64_t count = setup->vring_count;

    MUST(front_end_simple(fe, VU_SET_OWNER));
    MUST(front_end_get_features(fe));
    agree_protocol(fe, setup);
    if (fe->pf & VU_PF_MQ)
        MUST(front_end_get_u64(fe, VU_GET_QUEUE_NUM, &count));
    check(count >= setup->vring_count, "GET_QUEUE_NUM answers %u", (unsigned)count);
    agree_features(fe, setup);
    MUST(front_end_set_mem_table(fe, setup->ram));
    inflight(fe, setup);
    for (unsigned i = 0; i < setup->vring_count; i++)
        number(fe, i, setup->vring[i]);
    for (unsigned i = 0; i < setup->vring_count; i++) {
        MUST(front_end_set_ring_addr(fe, i, setup->vring[i]));
        base(fe, setup, i);
        MUST(front_end_set_vring_call(fe, i));
        MUST(front_end_set_vring_kick(fe, i));
    }
    front_end_bind(fe, setup);
    for (unsigned i = 0; i < setup->vring_count; i++)
        enable(fe, i);
    if (fe->pf & VU_PF_BACKEND_REQ)
        MUST(front_end_set_backend_req_fd(fe));
    MUST(front_end_sync(fe));
}

/* ---- crosvm (CRO-01) ---- */

void front_end_start_crosvm(struct front_end *fe, const struct front_end_setup *setup)
{
    uint8_t config[8];

    MUST(front_end_get_features(fe));
    MUST(front_end_simple(fe, VU_SET_OWNER));
    agree_protocol(fe, setup);
    queue_count(fe);
    if (fe->pf & VU_PF_CONFIG)
        check(front_end_get_config(fe, 0, sizeof(config), config) == sizeof(config), "no config");
    agree_features(fe, setup);
    MUST(front_end_set_mem_table(fe, setup->ram));
    inflight(fe, setup);
    for (unsigned i = 0; i < setup->vring_count; i++) {
        number(fe, i, setup->vring[i]);
        MUST(front_end_set_ring_addr(fe, i, setup->vring[i]));
        base(fe, setup, i);
        MUST(front_end_set_vring_call(fe, i));
        MUST(front_end_set_vring_kick(fe, i));
        enable(fe, i);
    }
    front_end_bind(fe, setup);
    MUST(front_end_sync(fe));
}

/* ---- User Mode Linux (lab.md A1): the request channel and the call fds are pipes ---- */

int front_end_give_pipe(struct front_end *fe, struct vu_message *message, int *keep_fd)
{
    int ends[2];
    int err;

    check(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0, "no pipe");
    if (*keep_fd >= 0)
        close(*keep_fd);
    *keep_fd = ends[0];
    vu_message_add_fd(message, ends[1]);
    err = front_end_request(fe, message, 0);
    close(ends[1]);
    return err;
}

void front_end_start_uml(struct front_end *fe, const struct front_end_setup *setup)
{
    struct vu_message message;
    uint8_t mac[6];

    MUST(front_end_simple(fe, VU_SET_OWNER));
    MUST(front_end_get_features(fe));
    agree_protocol(fe, setup);
    if (fe->pf & VU_PF_BACKEND_REQ) {
        message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
        MUST(front_end_give_pipe(fe, &message, &fe->backend_fd));
    }
    if (fe->pf & VU_PF_CONFIG)
        check(front_end_get_config(fe, 0, sizeof(mac), mac) == sizeof(mac), "no config");
    agree_features(fe, setup);
    MUST(front_end_set_mem_table(fe, setup->ram));
    for (unsigned i = 0; i < setup->vring_count; i++) {
        message = vu_message_u64(VU_SET_VRING_CALL, i);
        MUST(front_end_give_pipe(fe, &message, &fe->vring[i].call_fd));
        number(fe, i, setup->vring[i]);
        base(fe, setup, i);
        MUST(front_end_set_ring_addr(fe, i, setup->vring[i]));
    }
    for (unsigned i = 0; i < setup->vring_count; i++) {
        MUST(front_end_set_vring_kick(fe, i));
        enable(fe, i);
    }
    front_end_bind(fe, setup);
    MUST(front_end_sync(fe));
}

/* ---- one ring ---- */

void front_end_start_ring(struct front_end *fe, unsigned index, struct driver_ring *ring)
{
    number(fe, index, ring);
    MUST(front_end_vring_state(fe, VU_SET_VRING_BASE, index, ring->ops->base(ring)));
    MUST(front_end_set_ring_addr(fe, index, ring));
    MUST(front_end_set_vring_kick(fe, index));
    MUST(front_end_set_vring_call(fe, index));
    MUST(front_end_set_vring_err(fe, index));
    ring->kick_fd = fe->vring[index].kick_fd;
    ring->call_fd = fe->vring[index].call_fd;
    enable(fe, index);
    MUST(front_end_sync(fe));
}

void front_end_start_vring(struct front_end *fe, unsigned index, struct driver_split *split)
{
    front_end_start_ring(fe, index, &split->ring);
}

uint32_t front_end_stop_vring(struct front_end *fe, unsigned index)
{
    uint32_t base_idx = 0;

    MUST(front_end_get_vring_base(fe, index, &base_idx));
    return base_idx;
}

/* ---- notices in band ------------------------------------------------------------------------ */

static struct kick {
    struct front_end *fe;
    uint32_t index;
} kicks[2];

static void kick_by_message(void *context)
{
    const struct kick *kick = context;

    assert_int_equal(front_end_vring_state(kick->fe, VU_VRING_KICK, kick->index, 0), 0);
}

void front_end_start_in_band(struct front_end *fe, const struct front_end_setup *setup,
                             void (*give_channel)(struct front_end *fe))
{
    front_end_hello(fe, setup);
    give_channel(fe);
    assert_int_equal(front_end_set_mem_table(fe, setup->ram), 0);
    assert_true(setup->vring_count <= sizeof(kicks) / sizeof(kicks[0]));
    for (uint32_t i = 0; i < setup->vring_count; i++) {
        struct driver_ring *ring = setup->vring[i];

        kicks[i] = (struct kick){fe, i};
        ring->kick = kick_by_message;
        ring->kick_context = &kicks[i];
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_NUM, i, ring->size), 0);
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_BASE, i, ring->ops->base(ring)), 0);
        assert_int_equal(front_end_set_ring_addr(fe, i, ring), 0);
        assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_ENABLE, i, 1), 0);
    }
    front_end_bind(fe, setup);
    for (uint32_t i = 0; i < setup->vring_count; i++)
        driver_ring_kick(setup->vring[i]);
}
