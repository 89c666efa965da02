/* SPDX-License-Identifier: MIT */
#include "transport/registers.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"

static struct nic *nic_of(const struct registers *registers)
{
    return coordinator_nic(registers->coordinator);
}

static int is_suspended(const struct registers *registers)
{
    return (nic_of(registers)->status & NIC_STATUS_SUSPEND) != 0;
}

/* GEN-CFG-05: a driver that is not there yet, or suspended the device, looks by itself. */
static void tell_config(struct registers *registers)
{
    if (nic_of(registers)->status & NIC_STATUS_DRIVER_OK)
        registers->events.config(registers->events.context);
}

static void needs_reset(struct registers *registers)
{
    nic_needs_reset(nic_of(registers));
    tell_config(registers);
}

/* ---- queues run while they should --------------------------------------------------------- */

/* The ring's way up: runs on the worker. */
static void queue_fire(void *context)
{
    const struct registers_queue *queue = context;
    const struct registers_events *events = &queue->owner->events;

    events->queue(events->context, queue->index);
}

static struct virtqueue_config ring_of(struct registers_queue *queue)
{
    return (struct virtqueue_config){
        .size = queue->size,
        .base = queue->base,
        .features = queue->begun ? 0 : VIRTQUEUE_FROM_ZERO,
        .desc_gpa = queue->desc,
        .driver_gpa = queue->driver,
        .device_gpa = queue->device,
        .notifier = {.fire = queue_fire, .context = queue},
    };
}

static int is_live(const struct registers *registers)
{
    uint8_t status = nic_of(registers)->status;

    return registers->bus == REGISTERS_BUS_ON && status & NIC_STATUS_DRIVER_OK &&
           status & NIC_STATUS_FEATURES_OK && !(status & (NIC_STATUS_FAILED | NIC_STATUS_SUSPEND));
}

/* Pairs behind the first take part only if the driver can command them, and none beyond those that
 * were agreed on (NET-Q-02, NET-Q-03). */
static int is_wanted(const struct registers_queue *queue)
{
    const struct registers *registers = queue->owner;
    const struct nic *nic = nic_of(registers);
    unsigned control = nic_control_queue(nic);

    if (!queue->ready || !is_live(registers))
        return 0;
    if (queue->index < 2 || queue->index == control)
        return 1;
    return queue->index < 2 * nic_pairs_agreed(nic) && control < registers->queue_count &&
           registers->queue[control].ready;
}

static void queue_start(struct registers_queue *queue)
{
    struct registers *registers = queue->owner;
    struct coordinator *coordinator = registers->coordinator;
    struct virtqueue_config config = ring_of(queue);
    struct error err;

    /* The other half of a pair too: a driver that only sends never makes its receive queue ready.
     */
    coordinator_enable_queue(coordinator, queue->index, COORDINATOR_ENABLE);
    coordinator_enable_queue(coordinator, queue->index ^ 1, COORDINATOR_ENABLE);
    if (coordinator_start_queue(coordinator, queue->index, &config, queue->kick_fd, &err) == 0) {
        queue->running = 1;
        queue->begun = 1;
        return;
    }
    log_debug("%s: queue %u: %s", coordinator_name(coordinator), queue->index, err.text);
    queue->ready = 0;
    needs_reset(registers);
}

static void queue_stop(struct registers_queue *queue)
{
    queue->base = coordinator_stop_queue(queue->owner->coordinator, queue->index);
    queue->running = 0;
}

static void queue_update(struct registers_queue *queue)
{
    int wanted = is_wanted(queue);

    if (wanted && !queue->running)
        queue_start(queue);
    else if (!wanted && queue->running)
        queue_stop(queue);
}

/* A receive queue starts before and stops after its transmit queue, so that a device that is
 * suspended loses nothing of what it sends to itself; the control queue before and after both:
 * while it does not run all pairs count as used. */
static void queues_update(struct registers *registers)
{
    unsigned control = nic_control_queue(nic_of(registers));

    for (unsigned i = registers->queue_count; i-- > 0;) {
        if (i != control && !is_wanted(&registers->queue[i]))
            queue_update(&registers->queue[i]);
    }
    if (control < registers->queue_count)
        queue_update(&registers->queue[control]);
    for (unsigned i = 0; i < registers->queue_count; i++)
        queue_update(&registers->queue[i]);
}

/* ---- open, close, reset ------------------------------------------------------------------- */

static void config_changed(void *context)
{
    tell_config(context);
}

static void queue_broken(void *context, unsigned queue)
{
    (void)queue;
    tell_config(context); /* of NEEDS_RESET (GEN-ST-04) */
}

static void queue_forget(struct registers_queue *queue)
{
    queue->size = queue->owner->size_max;
    queue->ready = 0;
    queue->running = 0;
    queue->begun = 0;
    queue->desc = queue->driver = queue->device = 0;
    queue->base = 0;
}

static void registers_forget(struct registers *registers)
{
    registers->accepted = (struct features){0};
    registers->device_feature_select = 0;
    registers->driver_feature_select = 0;
    registers->queue_select = 0;
    for (unsigned i = 0; i < registers->queue_count; i++)
        queue_forget(&registers->queue[i]);
}

/* SPL-01: a split ring has a power of two of entries. */
static uint16_t size_max(const struct nic *nic)
{
    uint16_t size = VIRTQUEUE_SIZE_MAX;

    while (size > nic->config.queue_size_max)
        size /= 2;
    return size;
}

int registers_init(struct registers *registers, struct coordinator *coordinator,
                   const struct registers_events *events, struct error *err)
{
    struct coordinator_listener listener = {config_changed, queue_broken, registers};
    struct nic *nic = coordinator_nic(coordinator);
    unsigned count = nic_queue_count(nic);

    *registers = (struct registers){.coordinator = coordinator,
                                    .events = *events,
                                    .size_max = size_max(nic),
                                    .bus = REGISTERS_BUS_ON};
    registers->queue = calloc(count, sizeof(*registers->queue));
    if (registers->queue == NULL)
        return error_set(err, ENOMEM, "out of memory");
    for (unsigned i = 0; i < count; i++) {
        struct registers_queue *queue = &registers->queue[i];

        *queue = (struct registers_queue){.owner = registers, .index = i};
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0) {
            int code = errno;

            registers_free(registers);
            return error_set(err, code, "%s: no eventfd for queue %u",
                             coordinator_name(coordinator), i);
        }
        registers->queue_count++;
    }
    nic_offer(nic, F_SUSPEND);
    coordinator_listen(coordinator, &listener);
    registers_reset(registers);
    return 0;
}

void registers_free(struct registers *registers)
{
    struct coordinator_listener nobody = {0};

    if (registers->coordinator != NULL) {
        coordinator_listen(registers->coordinator, &nobody);
        coordinator_reset(registers->coordinator);
    }
    for (unsigned i = 0; i < registers->queue_count; i++)
        fd_close(&registers->queue[i].kick_fd);
    free(registers->queue);
    *registers = (struct registers){0};
}

void registers_reset(struct registers *registers)
{
    coordinator_reset(registers->coordinator);
    coordinator_renew(registers->coordinator); /* the next driver reads all of it again */
    registers_forget(registers);
}

void registers_set_bus(struct registers *registers, enum registers_bus bus)
{
    registers->bus = bus;
    queues_update(registers);
}

/* ---- status and features ------------------------------------------------------------------ */

uint8_t registers_status(const struct registers *registers)
{
    return nic_of(registers)->status;
}

/* GEN-FT-03, GEN-FT-06: NULL if the driver's choice can't be. */
static const struct features *features_judge(struct registers *registers)
{
    struct error err;

    if (!features_has(&registers->accepted, F_VERSION_1))
        error_set(&err, EINVAL, "feature version_1 was not accepted, and there is no other way");
    else if (coordinator_agree(registers->coordinator, &registers->accepted, &err) == 0)
        return &registers->accepted;
    log_debug("%s: %s", coordinator_name(registers->coordinator), err.text);
    return NULL;
}

/* virtio 1.4, 2.1.2, 3.1.1; GEN-SU-* */
void registers_write_status(struct registers *registers, uint8_t value)
{
    struct nic *nic = nic_of(registers);
    uint8_t before = nic->status;
    const struct features *accepted = NULL;
    uint8_t now[NIC_CONFIG_LEN];

    if (value == 0) {
        registers_reset(registers);
        return;
    }
    if (value & ~before & NIC_STATUS_FEATURES_OK && !(before & NIC_STATUS_DRIVER_OK))
        accepted = features_judge(registers);
    nic_write_status(nic, value, accepted);
    queues_update(registers);
    if (~before & nic->status & NIC_STATUS_DRIVER_OK && !(nic->status & NIC_STATUS_FEATURES_OK))
        needs_reset(registers); /* GEN-ST-06 */
    if (~before & nic->status & NIC_STATUS_SUSPEND)
        nic_read_config(nic, 0, registers->frozen, sizeof(registers->frozen));
    if (!(before & ~nic->status & NIC_STATUS_SUSPEND))
        return;
    nic_read_config(nic, 0, now, sizeof(now));
    if (memcmp(now, registers->frozen, sizeof(now)) != 0)
        tell_config(registers); /* it changed behind the suspended driver */
}

static uint32_t features_window(const struct features *set, uint32_t select)
{
    if (select >= 4)
        return 0;
    return (uint32_t)(set->word[select / 2] >> (select % 2 * 32));
}

uint32_t registers_device_features(const struct registers *registers)
{
    return features_window(&nic_of(registers)->offered, registers->device_feature_select);
}

uint32_t registers_driver_features(const struct registers *registers)
{
    const struct features *offered = &nic_of(registers)->offered;
    uint32_t select = registers->driver_feature_select;

    return features_window(&registers->accepted, select) & features_window(offered, select);
}

void registers_write_driver_features(struct registers *registers, uint32_t bits)
{
    uint32_t select = registers->driver_feature_select;
    unsigned shift = select % 2 * 32;
    uint64_t *word;

    if (select >= 4 || nic_of(registers)->status & NIC_STATUS_FEATURES_OK)
        return;
    word = &registers->accepted.word[select / 2];
    *word = (*word & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)bits << shift;
}

/* ---- queue registers ---------------------------------------------------------------------- */

struct registers_queue *registers_selected(struct registers *registers)
{
    if (registers->queue_select >= registers->queue_count)
        return NULL;
    return &registers->queue[registers->queue_select];
}

struct registers_queue *registers_selected_writable(struct registers *registers)
{
    struct registers_queue *queue = registers_selected(registers);

    return queue == NULL || queue->ready || is_suspended(registers) ? NULL : queue;
}

void registers_put_half(uint64_t *address, enum registers_half half, uint32_t bits)
{
    unsigned shift = half == REGISTERS_HIGH ? 32 : 0;

    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)bits << shift;
}

void registers_queue_enable(struct registers_queue *queue)
{
    struct registers *registers = queue->owner;
    struct virtqueue_config config = ring_of(queue);
    struct error err;

    if (queue->ready || is_suspended(registers))
        return;
    if (coordinator_check_queue(registers->coordinator, queue->index, &config, &err) < 0) {
        log_debug("%s: %s", coordinator_name(registers->coordinator), err.text);
        needs_reset(registers);
        return;
    }
    queue->ready = 1;
    queues_update(registers); /* a control queue brings the other pairs */
}

void registers_queue_disable(struct registers_queue *queue)
{
    if (is_suspended(queue->owner))
        return;
    queue->ready = 0;
    queues_update(queue->owner);
    queue->base = 0;
    queue->begun = 0;
}

int registers_queue_reset(struct registers_queue *queue)
{
    struct registers *registers = queue->owner;

    if (!features_has(&nic_of(registers)->agreed, F_RING_RESET) || is_suspended(registers))
        return 0;
    registers_queue_disable(queue);
    queue_forget(queue);
    return 1;
}

void registers_notify(struct registers *registers, uint32_t word)
{
    unsigned index = word & UINT16_MAX;
    uint64_t one = 1;

    if (index >= registers->queue_count || !registers->queue[index].running)
        return; /* GEN-NT-03; what starts later is looked at then */
    counter_add(&registers->queue[index].notifies, 1);
    if (write(registers->queue[index].kick_fd, &one, sizeof(one)) < 0)
        return; /* full: it is readable */
}

/* ---- config space, kicks, inspect --------------------------------------------------------- */

uint64_t registers_read_config(struct registers *registers, uint64_t offset, unsigned width)
{
    uint8_t bytes[8] = {0};
    uint64_t value = 0;

    if ((width != 1 && width != 2 && width != 4 && width != 8) || offset >= NIC_CONFIG_LEN)
        return 0;
    if (!is_suspended(registers))
        nic_read_config(nic_of(registers), (uint32_t)offset, bytes, width);
    else
        memcpy(bytes, &registers->frozen[offset], MIN(width, NIC_CONFIG_LEN - offset));
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint32_t registers_generation(struct registers *registers)
{
    struct nic *nic = nic_of(registers);

    return is_suspended(registers) ? nic->generation : nic_config_generation(nic);
}

int registers_kick_fd(const struct registers *registers, unsigned queue)
{
    return queue < registers->queue_count ? registers->queue[queue].kick_fd : -1;
}

void registers_hold(struct registers *registers, unsigned queue) ROLE_UNCHECKED
{
    coordinator_hold_queue(registers->coordinator, queue);
}

void registers_release(struct registers *registers, unsigned queue) ROLE_UNCHECKED
{
    coordinator_release_queue(registers->coordinator, queue);
}

static void queue_inspect(const struct registers_queue *queue, struct inspect *visitor)
{
    inspect_enter_index(visitor, queue->index);
    inspect_number(visitor, "size", queue->size);
    inspect_flag(visitor, "running", queue->running);
    inspect_hex(visitor, "desc", queue->desc);
    inspect_hex(visitor, "driver", queue->driver);
    inspect_hex(visitor, "device", queue->device);
    inspect_counter(visitor, "notifies", &queue->notifies);
    inspect_leave(visitor);
}

void registers_inspect(struct registers *registers, struct inspect *visitor)
{
    features_inspect(&registers->accepted, "accepted_features", visitor);
    inspect_flag(visitor, "bus_master", registers->bus == REGISTERS_BUS_ON);
    inspect_number(visitor, "queue_count", registers->queue_count);
    inspect_number(visitor, "queue_size_max", registers->size_max);
    inspect_enter(visitor, "ready_queues");
    for (unsigned i = 0; i < registers->queue_count; i++) {
        if (registers->queue[i].ready)
            queue_inspect(&registers->queue[i], visitor);
    }
    inspect_leave(visitor);
}
