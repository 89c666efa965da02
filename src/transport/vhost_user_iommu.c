/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user_iommu.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "nic/saved_state.h"
#include "transport/vhost_user_call.h"

#define ACCESS_MASK ((uint64_t)(IOTLB_READ | IOTLB_WRITE))
#define PAGE_MASK   (~(uint64_t)(IOTLB_PAGE_SIZE - 1))

/* A page and an access, in one word. */
static uint64_t access_word(uint64_t iova, enum memory_access access)
{
    return (iova & PAGE_MASK) | (access == MEMORY_WRITE ? IOTLB_WRITE : IOTLB_READ);
}

/* ---- the agreement ---------------------------------------------------------------------- */

/* VU-PF-03: whoever is to answer has to be asked, and its word has to be acknowledged. */
int vhost_user_iommu_prepare(struct vhost_user *vhost_user, uint64_t features, struct error *err)
{
    const uint64_t needed = VHOST_USER_PROTOCOL_REPLY_ACK | VHOST_USER_PROTOCOL_BACKEND_REQ;

    if (!(features & VHOST_USER_F_ACCESS_PLATFORM))
        return 0;
    if ((vhost_user->protocol_features & needed) != needed)
        return error_set(err, EINVAL,
                         "access_platform needs the protocol features REPLY_ACK and BACKEND_REQ");
    if (vhost_user->iommu.iotlb == NULL && iotlb_create(&vhost_user->iommu.iotlb) < 0)
        return error_set(err, ENOMEM, "out of memory");
    return vhost_user_channel_prepare(vhost_user, err);
}

static void cache_drop(struct vhost_user_iommu *iommu)
{
    if (iommu->iotlb != NULL)
        iommu->evicted += iommu->iotlb->evicted;
    iotlb_free(iommu->iotlb);
    iommu->iotlb = NULL;
}

void vhost_user_iommu_apply(struct vhost_user *vhost_user)
{
    struct vhost_user_iommu *iommu = &vhost_user->iommu;
    uint8_t agreed = (vhost_user->features & VHOST_USER_F_ACCESS_PLATFORM) != 0;

    if (agreed && !iommu->agreed) {
        iotlb_set_physical(iommu->iotlb, vhost_user->memory);
        coordinator_set_memory(vhost_user->coordinator, iotlb_view(iommu->iotlb));
    } else if (!agreed && iommu->agreed) {
        coordinator_set_memory(vhost_user->coordinator, vhost_user->memory);
    }
    iommu->agreed = agreed;
    if (!agreed)
        cache_drop(iommu);
}

void vhost_user_iommu_set_memory(struct vhost_user *vhost_user, const struct guest_memory *next)
{
    if (!vhost_user->iommu.agreed) {
        coordinator_set_memory(vhost_user->coordinator, next);
        return;
    }
    coordinator_hold_translations(vhost_user->coordinator, 0, UINT64_MAX);
    iotlb_set_physical(vhost_user->iommu.iotlb, next);
    coordinator_release_translations(vhost_user->coordinator);
}

/* ---- what the front-end is asked --------------------------------------------------------- */

/* One at a time for each ring: it waits for the first thing that it misses. */
void vhost_user_iommu_missing(void *context, uint64_t iova, enum memory_access access)
{
    struct vhost_user_ring *ring = context;

    atomic_store_explicit(&ring->missing, access_word(iova, access),
                          memory_order_relaxed); /* released with the notice */
    vhost_user_channel_tell_ring(ring, VHOST_USER_RING_MISS);
}

int vhost_user_iommu_ring_waits(struct vhost_user_ring *ring, const struct virtqueue_config *config)
{
    struct vhost_user *vhost_user = ring->owner;
    enum memory_access access;
    uint64_t iova;

    if (!vhost_user->iommu.agreed ||
        !coordinator_queue_missing(vhost_user->coordinator, ring->index, config, &iova, &access))
        return 0;
    vhost_user_iommu_missing(ring, iova, access);
    return 1;
}

/* Another ring has asked for the same, and was not answered yet. */
static int is_asked(const struct vhost_user *vhost_user, uint64_t access)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (vhost_user->ring[i].asked == access)
            return 1;
    }
    return 0;
}

static void message_make(uint64_t access, enum vhost_user_iotlb_type type,
                         struct vhost_user_iotlb *ret_message)
{
    *ret_message = (struct vhost_user_iotlb){
        .iova = access & PAGE_MASK, .allowed = (uint8_t)(access & ACCESS_MASK), .type = type};
}

int vhost_user_iommu_next(struct vhost_user_ring *ring, struct vhost_user_iotlb *ret_message)
{
    struct vhost_user *vhost_user = ring->owner;
    uint64_t access;
    int is_new;

    if (ring->failed != 0) {
        message_make(ring->failed, VHOST_USER_IOTLB_ACCESS_FAIL, ret_message);
        ring->failed = 0;
        return 1;
    }
    if (!vhost_user_channel_take_notice(ring, VHOST_USER_RING_MISS) || !vhost_user->iommu.agreed)
        return 0;
    access = atomic_load_explicit(&ring->missing, memory_order_relaxed);
    is_new = !is_asked(vhost_user, access);
    ring->asked = access;
    if (!is_new)
        return 0;
    vhost_user->iommu.misses++;
    message_make(access, VHOST_USER_IOTLB_MISS, ret_message);
    return 1;
}

/* Nobody is there to answer. */
static void failure_say(struct vhost_user *vhost_user, const struct error *err)
{
    memcpy(vhost_user->last_error, err->text, sizeof(vhost_user->last_error));
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: %s", coordinator_name(vhost_user->coordinator), err->text);
}

void vhost_user_iommu_unheard(struct vhost_user *vhost_user)
{
    struct error err;

    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (!vhost_user->iommu.agreed ||
            !(atomic_load(&vhost_user->ring[i].notices) & VHOST_USER_RING_MISS))
            continue;
        error_set(&err, ENOTCONN,
                  "ring %u: its guest is behind an IOMMU, and there is no channel to ask the"
                  " front-end by",
                  i);
        failure_say(vhost_user, &err);
        return;
    }
}

void vhost_user_iommu_give_back(struct vhost_user_ring *ring, const void *bytes)
{
    struct vhost_user_iotlb message;

    memcpy(&message, bytes, sizeof(message));
    if (message.type == VHOST_USER_IOTLB_ACCESS_FAIL) {
        ring->failed = message.iova | message.allowed;
        return;
    }
    ring->owner->iommu.misses--;
    ring->asked = 0;
    atomic_fetch_or(&ring->notices, VHOST_USER_RING_MISS);
}

void vhost_user_iommu_ask_again(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (ring->asked != 0)
            atomic_fetch_or(&ring->notices, VHOST_USER_RING_MISS);
        ring->asked = 0;
    }
}

/* It may ask for the same again. */
void vhost_user_iommu_ring_stopped(struct vhost_user_ring *ring)
{
    ring->asked = ring->failed = 0;
    atomic_fetch_and(&ring->notices, (uint8_t)~VHOST_USER_RING_MISS);
}

void vhost_user_iommu_rest(struct vhost_user *vhost_user)
{
    if (!vhost_user->iommu.agreed)
        return;
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (vhost_user->ring[i].has_kick)
            return;
    }
    coordinator_hold_translations(vhost_user->coordinator, 0, UINT64_MAX);
    iotlb_unmap(vhost_user->iommu.iotlb, 0, UINT64_MAX);
    coordinator_release_translations(vhost_user->coordinator);
}

void vhost_user_iommu_look(struct vhost_user *vhost_user)
{
    if (!vhost_user->iommu.agreed || vhost_user->memory == NULL)
        return;
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];
        struct error err;

        if (!coordinator_queue_is_used(vhost_user->coordinator, i) ||
            vhost_user_ring_try_start(ring, &err) == 0)
            continue;
        failure_say(vhost_user, &err); /* another mapping may mend it */
    }
    vhost_user_channel_look(vhost_user);
}

/* ---- what the front-end tells ------------------------------------------------------------ */

/* What was asked for in the range is answered, for better or worse. What is to be asked for is
 * stale: workers stand still, and queues that wait look again afterwards. (QEMU complains aloud of
 * a question about what is mapped no more.) */
static void answers_note(struct vhost_user *vhost_user, uint64_t first, uint64_t last)
{
    struct vhost_user_iommu *iommu = &vhost_user->iommu;

    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];
        uint64_t iova = ring->asked & PAGE_MASK;

        vhost_user_channel_take_notice(ring, VHOST_USER_RING_MISS);
        if (ring->asked == 0 || iova + (IOTLB_PAGE_SIZE - 1) < first || iova > last)
            continue;
        if (iotlb_deny(iommu->iotlb, iova, (uint8_t)(ring->asked & ACCESS_MASK))) {
            iommu->denied++;
            ring->failed = ring->asked;
        }
        ring->asked = 0;
    }
}

static int update(struct vhost_user_call *call)
{
    const struct vhost_user_iotlb *message = &call->payload->iotlb;
    const struct iotlb_mapping mapping = {.iova = message->iova,
                                          .size = message->size,
                                          .uva = message->uva,
                                          .allowed = message->allowed};
    struct vhost_user *vhost_user = call->vhost_user;
    int result = iotlb_check(vhost_user->iommu.iotlb, &mapping, call->err);
    uint64_t last = mapping.iova + (mapping.size - 1);

    if (result < 0)
        return result;
    vhost_user->iommu.updates++;
    coordinator_hold_translations(vhost_user->coordinator, mapping.iova, last);
    iotlb_map(vhost_user->iommu.iotlb, &mapping);
    answers_note(vhost_user, mapping.iova, last);
    coordinator_release_translations(vhost_user->coordinator);
    return 0;
}

/* A size of 0 is what QEMU makes of the whole address space; Linux reads it as "to its end". */
static int invalidate(struct vhost_user_call *call)
{
    const struct vhost_user_iotlb *message = &call->payload->iotlb;
    struct vhost_user *vhost_user = call->vhost_user;
    uint64_t first = message->iova;
    uint64_t last =
        range_wraps(first, message->size) ? UINT64_MAX : message->iova + message->size - 1;

    if (message->size == 0)
        last = UINT64_MAX;
    vhost_user->iommu.invalidations++;
    coordinator_hold_translations(vhost_user->coordinator, first, last);
    iotlb_unmap(vhost_user->iommu.iotlb, first, last);
    answers_note(vhost_user, first, last);
    coordinator_release_translations(vhost_user->coordinator);
    return 0;
}

int vhost_user_iotlb_msg(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    int result;

    if (!vhost_user->iommu.agreed && vhost_user->features == 0) {
        vhost_user->iommu.refused++; /* it crossed a reset, which has ended all mappings */
        return 0;
    }
    if (!vhost_user->iommu.agreed)
        return error_set(call->err, EINVAL, "the feature access_platform was not agreed on");
    switch (call->payload->iotlb.type) {
    case VHOST_USER_IOTLB_UPDATE:
        result = update(call);
        break;
    case VHOST_USER_IOTLB_INVALIDATE:
        result = invalidate(call);
        break;
    default:
        result = error_set(call->err, EINVAL, "type %u is nothing to tell a back-end",
                           call->payload->iotlb.type);
    }
    if (result < 0)
        vhost_user->iommu.refused++;
    else
        vhost_user_iommu_look(vhost_user);
    return result;
}

/* ---- another process ----------------------------------------------------------------------- */

void vhost_user_iommu_give(const struct vhost_user *vhost_user, struct records_writer *writer)
{
    const struct vhost_user_iommu *iommu = &vhost_user->iommu;
    unsigned count = iommu->agreed ? iommu->iotlb->count : 0;

    records_open(writer, SAVED_IOMMU, iommu->agreed ? RECORD_MANDATORY : RECORD_OPTIONAL);
    records_put_u64(writer, iommu->updates);
    records_put_u64(writer, iommu->invalidations);
    records_put_u64(writer, iommu->refused);
    records_put_u64(writer, iommu->misses);
    records_put_u64(writer, iommu->denied);
    records_put_u64(writer, iommu->evicted + (iommu->agreed ? iommu->iotlb->evicted : 0));
    records_put_u16(writer, (uint16_t)count);
    for (unsigned i = 0; i < count; i++) {
        struct iotlb_mapping mapping = iotlb_mapping_of(iommu->iotlb, i);

        records_put_u64(writer, mapping.iova);
        records_put_u64(writer, mapping.size);
        records_put_u64(writer, mapping.uva);
        records_put_u8(writer, mapping.allowed);
    }
    records_close(writer);
}

/* What can't be is left out: it is a cache, and will be asked for. */
static void mapping_read(struct vhost_user_iommu *iommu, struct record_reader *reader)
{
    struct iotlb_mapping mapping = {.iova = record_take_u64(reader)};

    mapping.size = record_take_u64(reader);
    mapping.uva = record_take_u64(reader);
    mapping.allowed = record_take_u8(reader);
    if (iommu->agreed && iotlb_check(iommu->iotlb, &mapping, NULL) == 0)
        iotlb_map(iommu->iotlb, &mapping);
}

/* Older builds write none. */
int vhost_user_iommu_take(struct vhost_user *vhost_user, const struct records *records,
                          struct error *err)
{
    struct vhost_user_iommu *iommu = &vhost_user->iommu;
    int result = vhost_user_iommu_prepare(vhost_user, vhost_user->features, err);
    struct record_reader reader;
    unsigned count;

    if (result < 0)
        return result;
    vhost_user_iommu_apply(vhost_user);
    if (!records_find(records, SAVED_IOMMU, &reader))
        return 0;
    iommu->updates = record_take_u64(&reader);
    iommu->invalidations = record_take_u64(&reader);
    iommu->refused = record_take_u64(&reader);
    iommu->misses = record_take_u64(&reader);
    iommu->denied = record_take_u64(&reader);
    iommu->evicted = record_take_u64(&reader);
    count = record_take_u16(&reader);
    for (unsigned i = 0; i < count && !reader.failed; i++)
        mapping_read(iommu, &reader);
    return record_is_done(&reader) ? 0 : saved_refuse(SAVED_IOMMU, "malformed", err);
}

/* ---- the rest ---------------------------------------------------------------------------- */

uint64_t vhost_user_iommu_gpa(const struct vhost_user *vhost_user, uint64_t addr)
{
    const struct iotlb_entry *entry;

    if (!vhost_user->iommu.agreed)
        return addr;
    entry = iotlb_find(vhost_user->iommu.iotlb, addr, MEMORY_READ);
    return entry == NULL ? 0 : entry->gpa + (addr - entry->iova);
}

/* What the ring misses: it was asked for, or will be as soon as there is a channel. 0: nothing. */
static uint64_t ring_misses(const struct vhost_user_ring *ring)
{
    if (ring->asked != 0)
        return ring->asked;
    if (!(atomic_load(&ring->notices) & VHOST_USER_RING_MISS))
        return 0;
    return atomic_load_explicit(&ring->missing, memory_order_relaxed);
}

static void inspect_waiting(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    inspect_enter(visitor, "waiting");
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        uint64_t access = ring_misses(&vhost_user->ring[i]);

        if (access == 0)
            continue;
        inspect_enter_index(visitor, i);
        inspect_hex(visitor, "iova", access & PAGE_MASK);
        inspect_text(visitor, "access", "%s", access & IOTLB_WRITE ? "write" : "read");
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
}

void vhost_user_iommu_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    const struct vhost_user_iommu *iommu = &vhost_user->iommu;

    inspect_enter(visitor, "iommu");
    inspect_flag(visitor, "agreed", iommu->agreed);
    inspect_number(visitor, "entries", iommu->iotlb != NULL ? iommu->iotlb->count : 0);
    inspect_number(visitor, "updates", iommu->updates);
    inspect_number(visitor, "invalidations", iommu->invalidations);
    inspect_number(visitor, "refused", iommu->refused);
    inspect_number(visitor, "misses", iommu->misses);
    inspect_number(visitor, "denied", iommu->denied);
    inspect_number(visitor, "evicted",
                   iommu->evicted + (iommu->iotlb != NULL ? iommu->iotlb->evicted : 0));
    inspect_waiting(vhost_user, visitor);
    inspect_leave(visitor);
}
