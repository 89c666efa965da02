/* SPDX-License-Identifier: MIT */
#include "ring_chains.h"

static uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static uint32_t length_of(uint32_t seed)
{
    static const uint32_t usual[] = {0, 1, 12, 64, 1514, 4096, 0x7000, 100};

    return usual[seed % 8];
}

/* Around the border for some, else somewhere in either region. */
static uint64_t place_of(uint32_t seed, uint32_t len)
{
    if (seed % 4 == 0)
        return MODEL_BORDER_GPA - len / 2;
    return (seed % 4 == 1 ? FORMAT_BED_DATA_GPA : MODEL_BORDER_GPA) + 0x100000 +
           (seed >> 8) % 0x8000;
}

static void spoil(struct model_chain *chain, unsigned how)
{
    struct driver_buffer *last = &chain->buffer[chain->count - 1];

    switch (how) {
    case 0:
        last->gpa = MODEL_HOLE_GPA + 0x1000;
        break;
    case 1:
        last->gpa = UINT64_MAX;
        break;
    case 2:
        last->gpa = MODEL_HOLE_GPA - 8;
        break;
    case 3:
        last->len = UINT32_MAX;
        break;
    case 4:
        chain->buffer[0].access = DEVICE_WRITES;
        last->access = DEVICE_READS;
        break;
    default:
        chain->shape = CHAIN_INDIRECT;
        chain->table = MODEL_TABLE_EMPTY + (how - 5) % (MODEL_TABLE_BORDER - MODEL_TABLE_EMPTY + 1);
        break;
    }
}

struct model_chain ring_chain_make(uint8_t a, uint8_t b, uint8_t c)
{
    struct model_chain chain = {.count = 1 + a % MODEL_BUFFERS_MAX,
                                .shape = a & 0x80 ? CHAIN_INDIRECT : CHAIN_DIRECT};
    unsigned readable = b % (chain.count + 1);

    for (unsigned i = 0; i < chain.count; i++) {
        uint32_t seed = mix(c * 64u + i + 1);

        chain.buffer[i].len = length_of(seed);
        chain.buffer[i].gpa = place_of(seed >> 4, chain.buffer[i].len);
        chain.buffer[i].access = i < readable ? DEVICE_READS : DEVICE_WRITES;
    }
    if (b >= 208)
        spoil(&chain, b % 11);
    if (chain.table == MODEL_TABLE_BORDER) {
        chain.count = 2;
        chain.buffer[0] = device_reads(MODEL_BORDER_GPA + 0x300, 7);
        chain.buffer[1] = device_reads(MODEL_BORDER_GPA + 0x400, 9);
    }
    chain.slots = chain.shape == CHAIN_INDIRECT ? 1 : chain.count;
    if (chain.table == MODEL_TABLE_NEXT)
        chain.slots = 2;
    return chain;
}

static uint64_t table_gpa_of(const struct model_chain *chain)
{
    if (chain->table == MODEL_TABLE_HOLE)
        return MODEL_HOLE_GPA + 0x100;
    return MODEL_BORDER_GPA - 16;
}

static uint32_t table_len_of(const struct model_chain *chain)
{
    static const uint32_t len[] = {
        [MODEL_TABLE_ODD] = 24,    [MODEL_TABLE_LONG] = 16 * (VIRTQUEUE_CHAIN_MIN + 1),
        [MODEL_TABLE_HOLE] = 32,   [MODEL_TABLE_NEXT] = 32,
        [MODEL_TABLE_BORDER] = 32,
    };

    return len[chain->table];
}

uint32_t ring_chain_add_split(struct driver_split *split, const struct model_chain *chain)
{
    uint64_t table = table_gpa_of(chain);
    int next = chain->table == MODEL_TABLE_NEXT;
    struct driver_desc desc = {.addr = table, .len = table_len_of(chain), .flags = DESC_INDIRECT};
    uint16_t head = driver_split_claim(split);

    if (next) {
        struct driver_desc plain = {.addr = MODEL_BORDER_GPA, .len = 1};

        desc.next = driver_split_claim(split);
        desc.flags |= DESC_NEXT;
        driver_split_write_desc(split, desc.next, &plain);
    }
    for (unsigned i = 0; chain->table == MODEL_TABLE_BORDER && i < 2; i++) {
        struct driver_desc entry = {.addr = chain->buffer[i].gpa,
                                    .len = chain->buffer[i].len,
                                    .flags = i == 0 ? DESC_NEXT : 0,
                                    .next = 1};

        driver_split_write_desc_at(split, table + 16 * i, &entry);
    }
    driver_split_write_desc(split, head, &desc);
    split->chain_len[head] = (uint16_t)chain->slots;
    driver_split_offer(split, head);
    driver_order_add(&split->ring.in_order, head);
    return head;
}

uint32_t ring_chain_add_packed(struct driver_packed *packed, const struct model_chain *chain)
{
    uint64_t table = table_gpa_of(chain);
    uint16_t id = driver_packed_claim_id(packed);
    struct packed_slot slot[2] = {
        {.addr = table, .len = table_len_of(chain), .id = id, .flags = SLOT_INDIRECT},
        {.addr = MODEL_BORDER_GPA, .len = 1, .id = id},
    };

    for (unsigned i = 0; chain->table == MODEL_TABLE_BORDER && i < 2; i++) {
        struct packed_slot entry = {.addr = chain->buffer[i].gpa, .len = chain->buffer[i].len};

        driver_packed_write_at(packed, table + 16 * i, &entry);
    }
    return driver_packed_put(packed, slot, chain->slots);
}
