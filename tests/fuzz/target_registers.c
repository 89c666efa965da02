/* SPDX-License-Identifier: MIT */
/*
 * Registers of virtio-mmio and virtio-pci: accesses of any offset, width and value, by a VMM and
 * its guest, with anything in guest memory. The data plane runs inside the control loop, so an
 * input always does the same.
 *
 * After a reset the status is 0, no line is up, no message comes and memory stays as it is,
 * whatever went before; and a driver that keeps the rules can negotiate.
 */
#include <string.h>
#include <sys/eventfd.h>

#include "base/checked.h"
#include "base/log.h"
#include "endpoint/spec.h"
#include "fuzz.h"
#include "run/coordinator.h"
#include "transport/mmio.h"
#include "transport/pci.h"

enum {
    OPS_MAX = 200,
    MEMORY_GPA = 0x10000,
    MEMORY_LEN = 0x10000,
    WRITE_MAX = 64,
    PAIRS_MAX = 2,
    QUEUE_SIZE = 256,
    RING_SPACING = 0x1000, /* between the rings that op_start lays */

    /* Of the input's first byte. */
    CHOOSE_PCI = 1,
    CHOOSE_TWO_PAIRS = 2,
    CHOOSE_SMALL_QUEUES = 4,

    COMMON_RUNNING = 0xf,
    BEFORE_QUEUES = 0xb,
    NOTIFY = 0x3000, /* in the BAR */
};

struct card {
    struct fuzz_input input;
    struct loop *loop;
    struct worker_pool *pool;
    struct coordinator *coordinator;
    struct guest_memory *memory;
    struct mmio *mmio; /* or … */
    struct pci *pci;
    uint8_t *ram;
    int line;
    unsigned messages;
};

/* ---- the VMM ----------------------------------------------------------------------------------
 */

static void set_line(void *context, int level)
{
    struct card *card = context;

    card->line = level;
}

static void send_msi(void *context, uint64_t address, uint32_t data)
{
    struct card *card = context;

    (void)address;
    (void)data;
    card->messages++;
}

static void memory_give(struct card *card)
{
    struct memory_region region = {.gpa = MEMORY_GPA, .size = MEMORY_LEN, .hva = card->ram};

    if (card->memory != NULL)
        return;
    FUZZ_CHECK(guest_memory_create(&card->memory) == 0 &&
                   guest_memory_add(card->memory, &region, NULL) == 0,
               "no memory");
    coordinator_set_memory(card->coordinator, card->memory);
}

static void memory_take(struct card *card)
{
    coordinator_set_memory(card->coordinator, NULL);
    guest_memory_free(card->memory);
    card->memory = NULL;
}

static void dispatch(struct card *card)
{
    for (unsigned i = 0; i < 4; i++)
        FUZZ_CHECK(loop_dispatch(card->loop, 0) == 0, "the loop is broken");
}

static void card_open(struct card *card)
{
    static const struct pci_ops ops = {.send_msi = send_msi, .set_intx = set_line};
    uint8_t choice = fuzz_u8(&card->input);
    struct worker_pool_config pool = {.queue_size_max = QUEUE_SIZE};
    struct endpoint_spec spec;
    struct coordinator_config config = {
        .name = "fuzz",
        .nic = {.mac = {2, 0, 0, 0, 0, 1},
                .queue_pairs = choice & CHOOSE_TWO_PAIRS ? PAIRS_MAX : 1,
                .queue_size_max = choice & CHOOSE_SMALL_QUEUES ? 8 : QUEUE_SIZE},
        .endpoint.spec = &spec,
    };
    struct error err;

    log_set_level(LOG_LEVEL_ERROR);
    card->ram = calloc(1, MEMORY_LEN);
    FUZZ_CHECK(card->ram != NULL && loop_create(&card->loop) == 0, "no loop");
    pool.loop = config.loop = card->loop;
    FUZZ_CHECK(worker_pool_create(&pool, &card->pool) == 0, "no worker");
    FUZZ_CHECK(endpoint_spec_parse(&spec, "loopback", &err) == 0, "%s", err.text);
    config.pool = card->pool;
    FUZZ_CHECK(coordinator_open(&config, &card->coordinator, &err) == 0, "%s", err.text);
    endpoint_spec_clear(&spec);
    memory_give(card);
    if (choice & CHOOSE_PCI) {
        struct pci_settings settings = {card->coordinator, &ops, card, 0};

        FUZZ_CHECK(pci_open(&settings, &card->pci, &err) == 0, "%s", err.text);
        pci_write_config(card->pci, 4, 2, 6);
    } else {
        struct mmio_settings settings = {card->coordinator, set_line, card};

        FUZZ_CHECK(mmio_open(&settings, &card->mmio, &err) == 0, "%s", err.text);
    }
}

static void card_close(struct card *card)
{
    mmio_close(card->mmio);
    pci_close(card->pci);
    FUZZ_CHECK(card->line == 0, "the line is up after the end");
    coordinator_close(card->coordinator);
    worker_pool_free(card->pool);
    loop_free(card->loop);
    guest_memory_free(card->memory);
    free(card->ram);
}

/* ---- a driver's registers, whatever the transport ---------------------------------------------
 */

enum name {
    REGISTER_STATUS,
    REGISTER_FEATURE_SELECT,
    REGISTER_FEATURES,
    REGISTER_QUEUE_SELECT,
    REGISTER_QUEUE_SIZE,
    REGISTER_DESC,
    REGISTER_DRIVER,
    REGISTER_DEVICE,
    REGISTER_READY,
    REGISTER_RESET,
    REGISTER_NAMES,
};

static const struct {
    uint16_t mmio, pci;
    uint8_t pci_width;
} places[REGISTER_NAMES] = {
    [REGISTER_STATUS] = {0x070, 0x14, 1},     [REGISTER_FEATURE_SELECT] = {0x024, 0x08, 4},
    [REGISTER_FEATURES] = {0x020, 0x0c, 4},   [REGISTER_QUEUE_SELECT] = {0x030, 0x16, 2},
    [REGISTER_QUEUE_SIZE] = {0x038, 0x18, 2}, [REGISTER_DESC] = {0x080, 0x20, 4},
    [REGISTER_DRIVER] = {0x090, 0x28, 4},     [REGISTER_DEVICE] = {0x0a0, 0x30, 4},
    [REGISTER_READY] = {0x044, 0x1c, 2},      [REGISTER_RESET] = {0x0c0, 0x3a, 2},
};

static void put(struct card *card, enum name name, uint32_t value)
{
    if (card->mmio != NULL)
        mmio_write(card->mmio, places[name].mmio, 4, value);
    else
        pci_write_bar(card->pci, places[name].pci, places[name].pci_width, value);
}

static uint8_t status(struct card *card)
{
    if (card->mmio != NULL)
        return (uint8_t)mmio_read(card->mmio, places[REGISTER_STATUS].mmio, 4);
    return (uint8_t)pci_read_bar(card->pci, places[REGISTER_STATUS].pci, 1);
}

static void features_put(struct card *card, uint64_t features)
{
    put(card, REGISTER_FEATURE_SELECT, 0);
    put(card, REGISTER_FEATURES, (uint32_t)features);
    put(card, REGISTER_FEATURE_SELECT, 1);
    put(card, REGISTER_FEATURES, (uint32_t)(features >> 32));
}

/* ---- operations -------------------------------------------------------------------------------
 */

static uint64_t value_take(struct fuzz_input *input, unsigned width)
{
    return width == 8 ? fuzz_u64(input) : width == 4 ? fuzz_u32(input) : fuzz_u16(input);
}

static unsigned width_take(struct fuzz_input *input)
{
    static const unsigned widths[] = {4, 1, 2, 8, 4, 2, 3, 0};

    return widths[fuzz_u8(input) % ARRAY_COUNT(widths)];
}

/* MMIO, or the BAR. */
static void op_access(struct card *card)
{
    unsigned width = width_take(&card->input);
    uint32_t offset = fuzz_u16(&card->input);
    uint64_t value = value_take(&card->input, width);

    if (card->mmio != NULL) {
        mmio_write(card->mmio, offset & 0x3ff, width, value);
        mmio_read(card->mmio, offset & 0x3ff, width);
    } else {
        pci_write_bar(card->pci, offset, width, value);
        pci_read_bar(card->pci, offset, width);
    }
}

static void op_config(struct card *card)
{
    unsigned width = width_take(&card->input);
    uint32_t offset = fuzz_u8(&card->input);
    uint64_t value = value_take(&card->input, width);

    if (card->pci == NULL)
        return;
    pci_write_config(card->pci, offset, width, (uint32_t)value);
    pci_read_config(card->pci, offset, width);
}

static void op_register(struct card *card)
{
    enum name name = (enum name)(fuzz_u8(&card->input) % REGISTER_NAMES);

    put(card, name, fuzz_u32(&card->input));
}

static void op_status(struct card *card)
{
    put(card, REGISTER_STATUS, fuzz_u8(&card->input));
}

static void op_kick(struct card *card)
{
    uint32_t word = fuzz_u16(&card->input);

    if (card->mmio != NULL)
        mmio_write(card->mmio, MMIO_NOTIFY, 4, word & 0x80ff);
    else
        pci_write_bar(card->pci, NOTIFY + (word >> 8 & 15) * 4, 2, word & 0xff);
    dispatch(card);
}

static void op_kick_fd(struct card *card)
{
    unsigned queue = fuzz_u8(&card->input) % (2 * PAIRS_MAX + 2);
    int fd = card->mmio != NULL ? mmio_kick_fd(card->mmio, queue) : pci_kick_fd(card->pci, queue);

    FUZZ_CHECK(fd < 0 || eventfd_write(fd, 1) == 0, "queue %u can't be kicked", queue);
    dispatch(card);
}

static void op_write(struct card *card)
{
    uint32_t at = fuzz_u16(&card->input) % MEMORY_LEN;
    uint8_t len = fuzz_u8(&card->input) % (WRITE_MAX + 1);
    const uint8_t *bytes;
    size_t count = fuzz_bytes(&card->input, MIN((uint32_t)len, MEMORY_LEN - at), &bytes);

    if (count != 0)
        memcpy(card->ram + at, bytes, count);
}

static void op_dispatch(struct card *card)
{
    dispatch(card);
}

/* A driver that knows what it does, with features of the input's choice: all rings where a test of
 * memory writes finds them, one behind the other. */
static void op_start(struct card *card)
{
    uint64_t features = fuzz_u64(&card->input) | 1ull << 32;
    uint32_t size = 1u << fuzz_u8(&card->input) % 6;

    put(card, REGISTER_STATUS, 0);
    features_put(card, features);
    put(card, REGISTER_STATUS, BEFORE_QUEUES);
    for (uint32_t queue = 0; queue < 2 * PAIRS_MAX + 1; queue++) {
        uint32_t at = MEMORY_GPA + queue * RING_SPACING;

        put(card, REGISTER_QUEUE_SELECT, queue);
        put(card, REGISTER_QUEUE_SIZE, size);
        put(card, REGISTER_DESC, at);
        put(card, REGISTER_DRIVER, at + 0x400);
        put(card, REGISTER_DEVICE, at + 0x800);
        put(card, REGISTER_READY, 1);
    }
    put(card, REGISTER_STATUS, COMMON_RUNNING);
}

static void op_vmm_reset(struct card *card)
{
    if (card->mmio != NULL) {
        mmio_reset(card->mmio);
        return;
    }
    pci_reset(card->pci);
    pci_write_config(card->pci, 4, 2, 6);
}

static void op_link(struct card *card)
{
    coordinator_set_link(card->coordinator,
                         fuzz_u8(&card->input) & 1 ? NIC_LINK_UP : NIC_LINK_DOWN);
}

static void op_memory(struct card *card)
{
    if (fuzz_u8(&card->input) & 1)
        memory_take(card);
    else
        memory_give(card);
}

static void see_name(void *context, const char *name)
{
    size_t *bytes = context;

    *bytes += strlen(name);
}

static void see_leave(void *context)
{
    (void)context;
}

static void see_text(void *context, const char *name, const char *value)
{
    see_name(context, name);
    see_name(context, value);
}

static void see_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    (void)value;
    (void)style;
    see_name(context, name);
}

static void see_flag(void *context, const char *name, int value)
{
    (void)value;
    see_name(context, name);
}

static void op_inspect(struct card *card)
{
    static const struct inspect_ops ops = {see_name, see_leave, see_text, see_number, see_flag};
    size_t bytes = 0;
    struct inspect visitor = {&ops, &bytes};

    if (card->mmio != NULL)
        mmio_inspect(card->mmio, &visitor);
    else
        pci_inspect(card->pci, &visitor);
    FUZZ_CHECK(bytes != 0, "nothing to see");
}

static void (*const operations[])(struct card *) = {
    op_access, op_register, op_register,  op_status, op_write,  op_write,   op_kick,    op_dispatch,
    op_start,  op_config,   op_vmm_reset, op_link,   op_memory, op_kick_fd, op_inspect,
};

/* ---- what has to hold afterwards --------------------------------------------------------------
 */

/* A reset by the driver, if it reaches the registers. */
static void check_reset(struct card *card)
{
    static uint8_t before[MEMORY_LEN];
    unsigned messages;

    if (card->pci != NULL)
        pci_write_config(card->pci, 4, 2, 6);
    put(card, REGISTER_STATUS, 0);
    FUZZ_CHECK(status(card) == 0, "status 0x%x after a reset", status(card));
    FUZZ_CHECK(card->line == 0, "the line is up after a reset");
    memcpy(before, card->ram, MEMORY_LEN);
    messages = card->messages;
    dispatch(card);
    FUZZ_CHECK(status(card) == 0, "status 0x%x some time after a reset", status(card));
    FUZZ_CHECK(card->messages == messages && card->line == 0, "an interrupt after a reset");
    FUZZ_CHECK(memcmp(before, card->ram, MEMORY_LEN) == 0, "memory was written after a reset");
}

static void check_new_life(struct card *card)
{
    memory_give(card);
    features_put(card, 1ull << 32);
    put(card, REGISTER_STATUS, BEFORE_QUEUES);
    FUZZ_CHECK(status(card) == BEFORE_QUEUES, "status 0x%x: the next driver can't negotiate",
               status(card));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card card = {.input = {data, size}};

    card_open(&card);
    for (unsigned i = 0; i < OPS_MAX && card.input.left != 0; i++)
        operations[fuzz_u8(&card.input) % ARRAY_COUNT(operations)](&card);
    check_reset(&card);
    check_new_life(&card);
    card_close(&card);
    return 0;
}
