/* SPDX-License-Identifier: MIT */
#include "transport/mmio.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "nic/saved_state.h"
#include "transport/registers_state.h"

/* virtio 1.4, 4.2.2 */
enum mmio_register {
    MAGIC_VALUE = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    QUEUE_SEL = 0x030,
    QUEUE_SIZE_MAX = 0x034,
    QUEUE_SIZE = 0x038,
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = MMIO_NOTIFY,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC_LOW = 0x080,
    QUEUE_DESC_HIGH = 0x084,
    QUEUE_DRIVER_LOW = 0x090,
    QUEUE_DRIVER_HIGH = 0x094,
    QUEUE_DEVICE_LOW = 0x0a0,
    QUEUE_DEVICE_HIGH = 0x0a4,
    SHM_LEN_LOW = 0x0b0,
    SHM_LEN_HIGH = 0x0b4,
    SHM_BASE_LOW = 0x0b8,
    SHM_BASE_HIGH = 0x0bc,
    QUEUE_RESET = 0x0c0,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,
};

enum {
    MAGIC = 0x74726976, /* "virt" */
    MODERN = 2,
    NETWORK_DEVICE = 1,
    VENDOR = 0x6e6f6976, /* "vion" */

    INTERRUPT_USED = 1,
    INTERRUPT_CONFIG = 2,
    INTERRUPT_ALL = INTERRUPT_USED | INTERRUPT_CONFIG,
    UNREAD_SHIFT = 8,
};

struct mmio {
    struct registers registers;
    struct mmio_settings settings;
    /* Low byte: InterruptStatus. Next byte: those of its bits that were set (again) since the
     * driver read it last. */
    _Atomic uint32_t interrupts;
};

/* ---- the line (MMIO-02, MMIO-03) ---------------------------------------------------------- */

/* Threads may overtake each other between looking and telling: whoever tells looks again, so the
 * last word is the right one. */
static void line_tell(struct mmio *mmio)
{
    int level;

    do {
        level = (atomic_load(&mmio->interrupts) & INTERRUPT_ALL) != 0;
        mmio->settings.set_line(mmio->settings.context, level);
    } while (level != ((atomic_load(&mmio->interrupts) & INTERRUPT_ALL) != 0));
}

static void interrupt_raise(struct mmio *mmio, uint32_t bit)
{
    uint32_t before = atomic_fetch_or(&mmio->interrupts, bit | bit << UNREAD_SHIFT);

    if (!(before & INTERRUPT_ALL))
        line_tell(mmio);
}

static uint32_t interrupt_read(struct mmio *mmio)
{
    uint32_t unread = (uint32_t)INTERRUPT_ALL << UNREAD_SHIFT;

    return atomic_fetch_and(&mmio->interrupts, ~unread) & INTERRUPT_ALL;
}

/* Drivers look at their rings before or after this: what came since they read the status is not
 * what they acknowledge. It stays, once: a driver that never reads must get rid of it too. */
static void interrupt_acknowledge(struct mmio *mmio, uint32_t mask)
{
    uint32_t before = atomic_load(&mmio->interrupts);
    uint32_t after;

    do {
        uint32_t unread = before >> UNREAD_SHIFT & mask;

        after = before & ~(mask & INTERRUPT_ALL & ~unread) & ~(unread << UNREAD_SHIFT);
    } while (!atomic_compare_exchange_weak(&mmio->interrupts, &before, after));
    if (before & INTERRUPT_ALL)
        line_tell(mmio);
}

static void interrupt_forget(struct mmio *mmio)
{
    if (atomic_exchange(&mmio->interrupts, 0) & INTERRUPT_ALL)
        line_tell(mmio);
}

static void queue_event(void *context, unsigned queue)
{
    (void)queue;
    interrupt_raise(context, INTERRUPT_USED);
}

static void config_event(void *context)
{
    interrupt_raise(context, INTERRUPT_CONFIG);
}

/* ---- open and close ----------------------------------------------------------------------- */

int mmio_open(const struct mmio_settings *settings, struct mmio **ret_mmio, struct error *err)
{
    struct mmio *mmio = calloc(1, sizeof(*mmio));
    struct registers_events events = {queue_event, config_event, mmio};
    int result;

    if (mmio == NULL)
        return error_set(err, ENOMEM, "out of memory");
    mmio->settings = *settings;
    result = registers_init(&mmio->registers, settings->coordinator, &events, err);
    if (result < 0) {
        free(mmio);
        return result;
    }
    *ret_mmio = mmio;
    return 0;
}

void mmio_close(struct mmio *mmio)
{
    if (mmio == NULL)
        return;
    registers_free(&mmio->registers);
    interrupt_forget(mmio);
    free(mmio);
}

void mmio_reset(struct mmio *mmio)
{
    registers_reset(&mmio->registers);
    interrupt_forget(mmio); /* nothing comes any more */
}

/* ---- registers ---------------------------------------------------------------------------- */

static uint32_t queue_read(struct mmio *mmio, enum mmio_register which)
{
    const struct registers_queue *queue = registers_selected(&mmio->registers);

    if (queue == NULL)
        return 0;
    switch (which) {
    case QUEUE_SIZE_MAX:
        return mmio->registers.size_max;
    case QUEUE_READY:
        return queue->ready;
    default:
        return 0; /* QueueReset: it is over when the write returns */
    }
}

static uint32_t register_read(struct mmio *mmio, enum mmio_register which)
{
    switch (which) {
    case MAGIC_VALUE:
        return MAGIC;
    case VERSION:
        return MODERN;
    case DEVICE_ID:
        return NETWORK_DEVICE;
    case VENDOR_ID:
        return VENDOR;
    case DEVICE_FEATURES:
        return registers_device_features(&mmio->registers);
    case QUEUE_SIZE_MAX:
    case QUEUE_READY:
    case QUEUE_RESET:
        return queue_read(mmio, which);
    case INTERRUPT_STATUS:
        return interrupt_read(mmio);
    case STATUS:
        return registers_status(&mmio->registers);
    case SHM_LEN_LOW:
    case SHM_LEN_HIGH:
    case SHM_BASE_LOW:
    case SHM_BASE_HIGH:
        return UINT32_MAX; /* MMIO-07 */
    case CONFIG_GENERATION:
        return registers_generation(&mmio->registers);
    default:
        return 0;
    }
}

/* What describes the ring. */
static void ring_write(struct mmio *mmio, enum mmio_register which, uint32_t value)
{
    struct registers_queue *queue = registers_selected_writable(&mmio->registers);
    enum registers_half half = which & 4 ? REGISTERS_HIGH : REGISTERS_LOW;

    if (queue == NULL)
        return;
    switch (which) {
    case QUEUE_SIZE: /* what has more bits is no size either */
        queue->size = value > UINT16_MAX ? 0 : (uint16_t)value;
        break;
    case QUEUE_DESC_LOW:
    case QUEUE_DESC_HIGH:
        registers_put_half(&queue->desc, half, value);
        break;
    case QUEUE_DRIVER_LOW:
    case QUEUE_DRIVER_HIGH:
        registers_put_half(&queue->driver, half, value);
        break;
    case QUEUE_DEVICE_LOW:
    case QUEUE_DEVICE_HIGH:
        registers_put_half(&queue->device, half, value);
        break;
    default:
        break;
    }
}

/* What starts and stops it. */
static void queue_write(struct mmio *mmio, enum mmio_register which, uint32_t value)
{
    struct registers_queue *queue = registers_selected(&mmio->registers);

    if (queue == NULL)
        return;
    if (which == QUEUE_RESET) {
        if (value == 1)
            registers_queue_reset(queue);
    } else if (value & 1) {
        registers_queue_enable(queue);
    } else {
        registers_queue_disable(queue);
    }
}

static void status_write(struct mmio *mmio, uint32_t value)
{
    if (value == 0)
        mmio_reset(mmio);
    else if ((uint8_t)value != 0) /* bits above the lowest byte mean nothing */
        registers_write_status(&mmio->registers, (uint8_t)value);
}

static void register_write(struct mmio *mmio, enum mmio_register which, uint32_t value)
{
    struct registers *registers = &mmio->registers;

    switch (which) {
    case DEVICE_FEATURES_SEL:
        registers->device_feature_select = value;
        break;
    case DRIVER_FEATURES:
        registers_write_driver_features(registers, value);
        break;
    case DRIVER_FEATURES_SEL:
        registers->driver_feature_select = value;
        break;
    case QUEUE_SEL:
        registers->queue_select = value;
        break;
    case QUEUE_READY:
    case QUEUE_RESET:
        queue_write(mmio, which, value);
        break;
    case QUEUE_NOTIFY:
        registers_notify(registers, value);
        break;
    case INTERRUPT_ACK:
        interrupt_acknowledge(mmio, value);
        break;
    case STATUS:
        status_write(mmio, value);
        break;
    default:
        ring_write(mmio, which, value);
        break;
    }
}

/* MMIO-08 */
static int is_register(uint64_t offset, unsigned width)
{
    return offset < CONFIG && width == 4 && offset % 4 == 0;
}

uint64_t mmio_read(struct mmio *mmio, uint64_t offset, unsigned width)
{
    if (offset >= CONFIG)
        return registers_read_config(&mmio->registers, offset - CONFIG, width);
    return is_register(offset, width) ? register_read(mmio, (enum mmio_register)offset) : 0;
}

void mmio_write(struct mmio *mmio, uint64_t offset, unsigned width, uint64_t value)
{
    if (is_register(offset, width))
        register_write(mmio, (enum mmio_register)offset, (uint32_t)value);
}

unsigned mmio_queue_count(const struct mmio *mmio)
{
    return mmio->registers.queue_count;
}

int mmio_kick_fd(const struct mmio *mmio, unsigned queue)
{
    return registers_kick_fd(&mmio->registers, queue);
}

/* ---- saved state -------------------------------------------------------------------------- */

int mmio_save(struct mmio *mmio, struct records_writer *writer)
{
    int result = registers_save(&mmio->registers, writer);

    records_open(writer, SAVED_MMIO, RECORD_MANDATORY);
    records_put_u32(writer, atomic_load(&mmio->interrupts));
    records_close(writer);
    return result;
}

int mmio_restore(struct mmio *mmio, const struct records *records, struct error *err)
{
    const uint32_t known = INTERRUPT_ALL | INTERRUPT_ALL << UNREAD_SHIFT;
    struct registers_restore restore;
    struct record_reader reader;
    int result = saved_record(records, SAVED_MMIO, &reader, err);
    uint32_t interrupts;

    if (result < 0)
        return result;
    interrupts = record_take_u32(&reader);
    if (!record_is_done(&reader) || interrupts & ~known)
        return saved_refuse(SAVED_MMIO, "malformed", err);
    result = registers_restore_begin(&mmio->registers, records, &restore, err);
    if (result < 0)
        return result;
    atomic_store(&mmio->interrupts, interrupts);
    if (interrupts & INTERRUPT_ALL)
        line_tell(mmio);
    result = registers_restore_end(&mmio->registers, &restore, REGISTERS_BUS_ON, err);
    if (result < 0)
        interrupt_forget(mmio);
    return result;
}

void mmio_inspect(struct mmio *mmio, struct inspect *visitor)
{
    inspect_text(visitor, "transport", "mmio");
    inspect_hex(visitor, "interrupt_status", atomic_load(&mmio->interrupts) & INTERRUPT_ALL);
    registers_inspect(&mmio->registers, visitor);
}
