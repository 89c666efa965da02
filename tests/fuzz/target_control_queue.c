/* SPDX-License-Identifier: MIT */
/*
 * The control queue of a device model, alone: messages of any bytes in any cut. Each is answered
 * within its room, a refused one changes nothing, and what the device believes stays possible.
 *
 *     2 bytes: features left out, 1 byte: switches, then messages: a seed of cuts, room in a byte,
 *     how often a page of zeros follows, length in a byte, bytes
 */
#include <endian.h>
#include <string.h>

#include "base/checked.h"
#include "fuzz.h"
#include "nic/control.h"

enum {
    PAIRS = 4,
    RING_SIZE = 64,
    MESSAGES_MAX = 64,
    PIECES_MAX = 16,
    PAGES_MAX = 20, /* more than 64 KiB */

    DESC_AT = 0, /* places in guest memory, which begins at 0 */
    AVAIL_AT = 0x400,
    USED_AT = 0x800,
    DATA_AT = 0x1000,
    ROOM_AT = 0x1200,
    ZEROS_AT = 0x2000,
    MEMORY_LEN = 0x3000,
    UNWRITTEN = 0xee,

    BIG_ENDIAN_LEGACY = 1, /* switches */
    NOTHING_READY = 2,
    RESET_BETWEEN = 4,

    NEXT = 1,
    WRITE = 2,
};

static const enum feature_bit optional[] = {
    NET_F_CTRL_RX,      NET_F_CTRL_RX_EXTRA, NET_F_CTRL_VLAN,   NET_F_CTRL_MAC_ADDR,
    NET_F_MQ,           NET_F_RSS,           NET_F_HASH_REPORT, NET_F_HASH_TUNNEL,
    NET_F_NOTF_COAL,    NET_F_VQ_NOTF_COAL,  NET_F_GUEST_TSO4,  NET_F_CTRL_GUEST_OFFLOADS,
    NET_F_DEVICE_STATS, NET_F_GUEST_ANNOUNCE};

struct control_case {
    uint8_t *memory; /* owned: a block of its own, so that its ends are near */
    struct guest_memory *table;
    struct nic nic;
    struct nic_control control;
    struct pair pairs[PAIRS];
    enum byte_order order;
    uint8_t switches;
    uint16_t next; /* descriptor to use next */
    uint16_t avail, used;
};

/* ---- the device's surroundings --------------------------------------------------------------- */

static void apply(void *context)
{
    (void)context;
}

static int queue_ready(void *context, unsigned queue)
{
    const struct control_case *it = context;

    return queue < 2 * PAIRS && !(it->switches & NOTHING_READY);
}

static const struct pair *pair_of(void *context, unsigned index)
{
    const struct control_case *it = context;

    FUZZ_CHECK(index < PAIRS, "pair %u is asked for", index);
    return &it->pairs[index];
}

static void fire(void *context)
{
    (void)context;
}

static const struct nic_control_ops ops = {apply, queue_ready, pair_of};

static void agree(struct control_case *it, uint16_t without)
{
    struct features features = it->nic.offered;

    for (unsigned i = 0; i < ARRAY_COUNT(optional); i++) {
        if (without & 1u << i)
            features_remove(&features, optional[i]);
    }
    for (unsigned bit = F_VERSION_1; it->order == BYTE_ORDER_BIG && bit <= F_RING_RESET; bit++)
        features_remove(&features, bit);
    features_close(&features);
    FUZZ_CHECK(nic_agree(&it->nic, &features, NULL) == 0, "an offer that can't be agreed on");
    it->nic.order = it->order;
    it->nic.status = NIC_STATUS_DRIVER_OK;
}

static void case_start(struct control_case *it, uint16_t without)
{
    struct nic_config config = {.mac = {0x52, 0x54, 0, 0, 0, 1},
                                .queue_pairs = PAIRS,
                                .queue_size_max = RING_SIZE,
                                .software_offloads = 1};
    struct endpoint_caps caps = {0};
    struct virtqueue_config ring = {.size = RING_SIZE,
                                    .order = it->order,
                                    .desc_gpa = DESC_AT,
                                    .driver_gpa = AVAIL_AT,
                                    .device_gpa = USED_AT,
                                    .notifier = {fire, NULL}};
    struct memory_region region = {.gpa = 0, .size = MEMORY_LEN};

    it->memory = calloc(1, MEMORY_LEN);
    region.hva = it->memory;
    FUZZ_CHECK(it->memory != NULL && guest_memory_create(&it->table) == 0, "no memory");
    FUZZ_CHECK(guest_memory_add(it->table, &region, NULL) == 0, "no region");
    nic_init(&it->nic, &config, &caps);
    agree(it, without);
    nic_control_init(&it->control, &it->nic, &ops, it);
    FUZZ_CHECK(nic_control_start(&it->control, &ring, it->table, NULL) == 0, "no ring");
}

static void case_free(struct control_case *it)
{
    virtqueue_stop(&it->control.queue);
    nic_control_free(&it->control);
    guest_memory_free(it->table);
    free(it->memory);
}

/* ---- the driver ------------------------------------------------------------------------------ */

static void put16(struct control_case *it, unsigned at, uint16_t value)
{
    le16 word = word16_make(value, it->order);

    memcpy(it->memory + at, &word, sizeof(word));
}

static uint32_t get(const struct control_case *it, unsigned at, unsigned len)
{
    le32 word = {0};
    le16 half = {0};

    if (len == 2) {
        memcpy(&half, it->memory + at, len);
        return word16_get(half, it->order);
    }
    memcpy(&word, it->memory + at, len);
    return word32_get(word, it->order);
}

static void put_desc(struct control_case *it, uint32_t addr, uint32_t len, uint16_t flags)
{
    unsigned at = DESC_AT + 16u * it->next;
    le64 wide = word64_make(addr, it->order);
    le32 word = word32_make(len, it->order);

    it->next = (uint16_t)((it->next + 1) % RING_SIZE);
    memcpy(it->memory + at, &wide, sizeof(wide));
    memcpy(it->memory + at + 8, &word, sizeof(word));
    put16(it, at + 12, flags | NEXT);
    put16(it, at + 14, it->next);
}

static void end_chain(struct control_case *it)
{
    unsigned last = (it->next + RING_SIZE - 1u) % RING_SIZE;
    unsigned at = DESC_AT + 16u * last + 12;

    put16(it, at, (uint16_t)(get(it, at, 2) & ~(uint32_t)NEXT));
}

/* In up to PIECES_MAX pieces, as the seed has it; some of them empty. */
static void put_cut(struct control_case *it, uint32_t gpa, uint32_t len, uint8_t *seed,
                    uint16_t flags)
{
    for (unsigned i = 0; i < PIECES_MAX && len != 0; i++) {
        uint32_t part = i + 1 == PIECES_MAX || *seed == 0 ? len : MIN(*seed % 5u, len);

        put_desc(it, gpa, part, flags);
        *seed = (uint8_t)(*seed * 5 + 1);
        gpa += part;
        len -= part;
    }
}

static void offer(struct control_case *it, uint32_t len, uint8_t seed, uint8_t pages, uint32_t room)
{
    uint16_t head = it->next;

    memset(it->memory + ROOM_AT, UNWRITTEN, 256);
    put_cut(it, DATA_AT, len, &seed, 0);
    for (unsigned i = 0; i < pages; i++)
        put_desc(it, ZEROS_AT, MEMORY_LEN - ZEROS_AT, 0);
    put_cut(it, ROOM_AT, room, &seed, WRITE);
    if (it->next == head)
        put_desc(it, DATA_AT, 0, 0);
    end_chain(it);
    put16(it, AVAIL_AT + 4 + 2u * (it->avail % RING_SIZE), head);
    put16(it, AVAIL_AT + 2, ++it->avail);
}

/* ---- promises -------------------------------------------------------------------------------- */

static void check_answer(struct control_case *it, uint32_t room)
{
    unsigned entry = USED_AT + 4 + 8u * (it->used % RING_SIZE);
    uint32_t len = get(it, entry + 4, 4);
    const uint8_t *at = it->memory + ROOM_AT;

    FUZZ_CHECK(get(it, USED_AT + 2, 2) == (uint16_t)(it->used + 1), "not answered, or twice");
    it->used++;
    FUZZ_CHECK(len <= room && (len != 0) == (room != 0), "%u bytes of %u written", len, room);
    FUZZ_CHECK(len == 0 || at[0] <= 1 || at[len - 1] <= 1, "no ack");
    for (uint32_t i = len; i < 256; i++)
        FUZZ_CHECK(at[i] == UNWRITTEN, "byte %u is written, though only %u are used", i, len);
}

static void check_possible(const struct nic *nic)
{
    const struct rx_rules *rules = &nic->rx_rules;
    struct pair_rules pair_rules;

    FUZZ_CHECK(nic->active_pairs >= 1 && nic->active_pairs <= nic_pairs_agreed(nic),
               "%u pairs are active", nic->active_pairs);
    FUZZ_CHECK(rules->rss.mask < RSS_TABLE_MAX && is_power_of_two(rules->rss.mask + 1u) &&
                   rules->rss.unclassified < PAIRS,
               "RSS with mask %u, unclassified %u", rules->rss.mask, rules->rss.unclassified);
    for (unsigned i = 0; i <= rules->rss.mask; i++)
        FUZZ_CHECK(rules->rss.table[i] < PAIRS, "RSS to pair %u", rules->rss.table[i]);
    FUZZ_CHECK((rules->hash.types & ~(uint32_t)HASH_TYPES_ALL) == 0 &&
                   (rules->hash.tunnels & ~(uint32_t)HASH_TUNNELS_ALL) == 0,
               "unknown hash types");
    FUZZ_CHECK(rules->filter.unicast.count <= RX_FILTER_TABLE_MAX &&
                   rules->filter.multicast.count <= RX_FILTER_TABLE_MAX,
               "tables above their size");
    FUZZ_CHECK(!(nic->mac[0] & 1) && memcmp(nic->mac, rules->filter.mac, 6) == 0, "wrong address");
    nic_pair_rules(nic, &pair_rules);
    FUZZ_CHECK(pair_rules.rx_offloads == 0 || pair_rules.rx_offloads & ENDPOINT_CSUM,
               "offloads without checksums");
}

static void message_run(struct control_case *it, struct fuzz_input *input)
{
    uint8_t seed = fuzz_u8(input);
    uint32_t room = fuzz_u8(input);
    uint8_t pages = (uint8_t)(fuzz_u8(input) % PAGES_MAX);
    struct nic before = it->nic;
    uint64_t refused;
    const uint8_t *bytes;
    size_t len = fuzz_bytes(input, fuzz_u8(input), &bytes);

    if (len != 0)
        memcpy(it->memory + DATA_AT, bytes, len);
    refused = counter_get(&it->control.failed) + counter_get(&it->control.malformed);
    offer(it, (uint32_t)len, seed, pages, room);
    FUZZ_CHECK(nic_control_serve(&it->control) == 1, "the message was not taken");
    check_answer(it, room);
    if (counter_get(&it->control.failed) + counter_get(&it->control.malformed) != refused)
        FUZZ_CHECK(memcmp(&before, &it->nic, sizeof(before)) == 0, "a refused message worked");
    check_possible(&it->nic);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct control_case it;
    struct fuzz_input input = {data, size};
    uint16_t without = fuzz_u16(&input);

    memset(&it, 0, sizeof(it));
    it.switches = fuzz_u8(&input);
    it.order = it.switches & BIG_ENDIAN_LEGACY ? BYTE_ORDER_BIG : BYTE_ORDER_LITTLE;
    case_start(&it, without);
    for (unsigned i = 0; i < MESSAGES_MAX && input.left != 0; i++) {
        message_run(&it, &input);
        if (it.switches & RESET_BETWEEN && i % 8 == 7) {
            nic_reset(&it.nic);
            agree(&it, without);
        }
    }
    case_free(&it);
    return 0;
}
