/* SPDX-License-Identifier: MIT */
#include "ring_input.h"

#include <endian.h>

#include "base/checked.h"
#include "pair_bed.h"

enum {
    OPS_MAX = 256,
    LIST_MAX = 8,
    WRITE_MAX = 64,
    TABLE_MAX = 1100,
    TABLE_DESC_LEN = 16,
    BUDGET_MAX = 64,
};

struct ring_run {
    struct pair_bed bed;
    struct fuzz_input input;
};

/* Raw bytes anywhere: rings, tables, headers. */
static void op_write(struct ring_run *run)
{
    uint64_t gpa = fuzz_u16(&run->input);
    uint8_t len = fuzz_u8(&run->input) % (WRITE_MAX + 1);
    const uint8_t *bytes;
    size_t count = fuzz_bytes(&run->input, len, &bytes);

    pair_bed_write(&run->bed, gpa, bytes, count);
}

/* One word of a ring: flags, indices, events, wherever they are. */
static void op_word(struct ring_run *run)
{
    const struct virtqueue_config *config = &run->bed.config[fuzz_u8(&run->input) & 1];
    uint8_t where = fuzz_u8(&run->input);
    uint16_t value = htole16(fuzz_u16(&run->input));
    uint64_t base = where & 1 ? config->driver_gpa : config->device_gpa;
    uint64_t at = where & 2 ? base + 4 + 2ull * config->size : base + (where >> 2 & 3) * 2u;

    pair_bed_write(&run->bed, at, &value, sizeof(value));
}

/* Three bits choose a place, so that borders are common. */
static uint64_t input_address(struct fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input);
    uint16_t low = fuzz_u16(input);

    switch (kind & 7) {
    case 0:
        return UINT64_MAX - (low & 0x1ff);
    case 1:
        return BED_NEXT_GPA - (low & 0x3f);
    case 2:
        return BED_ROM_GPA + (low & 0x1ff);
    case 3:
        return fuzz_u64(input);
    default:
        return BED_DATA_GPA + low % (BED_MAIN_LEN + BED_NEXT_LEN - BED_DATA_GPA);
    }
}

static uint32_t input_len(struct fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input);

    if (kind < 0xf0)
        return kind;
    return kind < 0xf8 ? fuzz_u16(input) : fuzz_u32(input);
}

static void op_offer(struct ring_run *run)
{
    uint8_t what = fuzz_u8(&run->input);
    enum bed_queue queue = what & 1 ? BED_TX : BED_RX;
    unsigned count = 1 + (what >> 1) % LIST_MAX;
    struct bed_desc desc[LIST_MAX];

    for (unsigned i = 0; i < count; i++) {
        desc[i].addr = input_address(&run->input);
        desc[i].len = input_len(&run->input);
        desc[i].flags = fuzz_u8(&run->input) & 0xf;
        if (queue == BED_RX)
            desc[i].flags ^= 2; /* 0 is what a driver would write */
    }
    pair_bed_offer(&run->bed, queue, desc, count);
}

/* A table of many entries of one shape: longer than the rest of the input could write. */
static void op_table(struct ring_run *run)
{
    uint64_t gpa = BED_DATA_GPA + (fuzz_u16(&run->input) & 0x3fff);
    unsigned count = fuzz_u16(&run->input) % TABLE_MAX;
    uint64_t addr = input_address(&run->input);
    uint32_t len = input_len(&run->input);
    uint8_t step = fuzz_u8(&run->input);
    uint8_t flags = fuzz_u8(&run->input);
    int packed = (run->bed.config[BED_TX].features & VIRTQUEUE_PACKED) != 0;

    for (unsigned i = 0; i < count; i++) {
        uint16_t bits = (uint16_t)(flags | (!packed && i + 1 < count ? 1 : 0));
        struct {
            uint64_t addr;
            uint32_t len;
            uint16_t word[2];
        } desc = {htole64(addr + (uint64_t)i * step),
                  htole32(len),
                  {htole16(packed ? 0 : bits), htole16(packed ? bits : (uint16_t)(i + 1))}};

        pair_bed_write(&run->bed, gpa + (uint64_t)i * TABLE_DESC_LEN, &desc, sizeof(desc));
    }
}

/* Stop, and start where it stopped, somewhere else, or with other words altogether. */
static void op_restart(struct ring_run *run)
{
    uint8_t what = fuzz_u8(&run->input);
    enum bed_queue queue = what & 1 ? BED_TX : BED_RX;
    struct virtqueue_config *config = &run->bed.config[queue];

    config->base = pair_bed_stop(&run->bed, queue);
    if (what & 2)
        config->base = fuzz_u32(&run->input);
    if (what & 4)
        config->size = fuzz_u16(&run->input);
    if (what & 8)
        config->desc_gpa = input_address(&run->input);
    if (what & 16)
        config->driver_gpa = input_address(&run->input);
    if (what & 32)
        config->device_gpa = input_address(&run->input);
    config->size = MIN(config->size, run->bed.size_max[queue]);
    if (!(what & 64))
        pair_bed_start(&run->bed, queue);
}

static void op_endpoint(struct ring_run *run)
{
    struct fuzz_endpoint *endpoint = &run->bed.endpoint;
    uint8_t what = fuzz_u8(&run->input);

    endpoint->accept = what & 1 ? fuzz_u8(&run->input) : UINT32_MAX;
    endpoint->loops = what >> 1 & 1;
    endpoint->reaps = what & 32 ? fuzz_u8(&run->input) & 3 : UINT32_MAX;
    if (!(what & 4))
        return;
    endpoint->pending = fuzz_u8(&run->input) & 0x1f;
    endpoint->pending_len = fuzz_u16(&run->input);
    endpoint->pending_extra = what & 8 ? fuzz_u16(&run->input) : 0;
    endpoint->pending_offload = (struct frame_offload){0};
    run->bed.pair.rx_ready = 1;
    if (what & 16)
        endpoint->pending_offload = (struct frame_offload){.flags = fuzz_u8(&run->input) & 3,
                                                           .gso_type = fuzz_u8(&run->input),
                                                           .gso_size = fuzz_u16(&run->input),
                                                           .csum_start = fuzz_u16(&run->input),
                                                           .csum_offset = fuzz_u16(&run->input)};
}

static void op_switches(struct ring_run *run)
{
    uint8_t what = fuzz_u8(&run->input);

    (what & 1 ? virtqueue_rest : virtqueue_rouse)(&run->bed.pair.rx);
    (what & 2 ? virtqueue_rest : virtqueue_rouse)(&run->bed.pair.tx);
    run->bed.pair.rules.link_up = !(what & 4);
    run->bed.pair.parked = what >> 3 & 1;
}

static void op_remap(struct ring_run *run)
{
    pair_bed_remap(&run->bed, fuzz_u8(&run->input));
}

static void op_turn(struct ring_run *run)
{
    pair_bed_turn(&run->bed, fuzz_u8(&run->input) % BUDGET_MAX + 1);
}

static void op_sleep(struct ring_run *run)
{
    pair_bed_sleep(&run->bed);
}

static void (*const operations[])(struct ring_run *) = {
    op_turn,    op_offer,    op_write,    op_word,  op_table, op_sleep,
    op_restart, op_endpoint, op_switches, op_remap, op_turn,  op_offer,
};

static void options_read(struct fuzz_input *input, enum ring_input_format format,
                         struct bed_options *ret_options)
{
    uint8_t what = fuzz_u8(input);
    uint8_t more = fuzz_u8(input);
    int packed = format == RING_INPUT_PACKED;

    *ret_options = (struct bed_options){
        .features = (packed ? VIRTQUEUE_PACKED : 0) | (what & 1 ? VIRTQUEUE_INDIRECT : 0) |
                    (what & 2 ? VIRTQUEUE_EVENT_IDX : 0) | (what & 4 ? VIRTQUEUE_BATCH_USED : 0),
        .order = !packed && what & 8 ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE,
        .mergeable = what & 16,
        .legacy = !packed && what & 32,
        .completion = (enum fuzz_completion)((what >> 6) % 3),
        .tx_offloads = more & 1 ? 0x7f : 0,
        .rx_offloads = more & 2 ? 0x7f : 0,
        .frame_max = more & 4 ? 1514 : FRAME_LEN_MAX,
    };
    for (enum bed_queue queue = BED_RX; queue < BED_QUEUES; queue++) {
        uint8_t size = fuzz_u8(input);

        ret_options->size[queue] = packed ? 1 + size : (uint16_t)(1u << size % 9);
        ret_options->base[queue] =
            more & 8 ? fuzz_u32(input) & (packed ? UINT32_MAX : UINT16_MAX) : 0;
    }
}

int ring_input_run(enum ring_input_format format, const uint8_t *data, size_t size)
{
    struct ring_run run = {.input = {data, size}};
    struct bed_options options;

    options_read(&run.input, format, &options);
    pair_bed_init(&run.bed, &options);
    for (unsigned i = 0; i < OPS_MAX && run.input.left != 0; i++)
        operations[fuzz_u8(&run.input) % ARRAY_COUNT(operations)](&run);
    pair_bed_turn(&run.bed, BUDGET_MAX);
    pair_bed_free(&run.bed);
    return 0;
}
