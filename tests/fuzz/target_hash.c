/* SPDX-License-Identifier: MIT */
/*
 * The receive hash and the receive filter over any frame.
 *
 *     hash types, tunnels, modes of the filter and its switches, two halves of a key, the frame
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "nic/hash.h"
#include "nic/rx_filter.h"

enum {
    KEY_LEN = 8, /* of input; the rest of a key follows from it */
    FRAME_LEN_MIN = 14,
};

static void key_read(struct fuzz_input *input, uint8_t key[HASH_KEY_MAX])
{
    for (unsigned i = 0; i < KEY_LEN; i++)
        key[i] = fuzz_u8(input);
    for (unsigned i = KEY_LEN; i < HASH_KEY_MAX; i++)
        key[i] = (uint8_t)(key[i - KEY_LEN] * 5 + i);
}

static struct frame_hash hash_with(struct hash_config *config, const uint8_t key[HASH_KEY_MAX],
                                   const uint8_t *bytes, uint32_t len)
{
    struct frame_hash hash;

    hash_set_key(config, key, HASH_KEY_MAX);
    hash = hash_compute(config, bytes, len);
    FUZZ_CHECK(hash.report <= 9, "report %u", hash.report);
    FUZZ_CHECK(hash.report == HASH_REPORT_NONE || config->types >> (hash.report - 1) & 1,
               "report %u of types %#x", hash.report, config->types);
    FUZZ_CHECK(hash.report != HASH_REPORT_NONE || hash.value == 0, "a value without a report");
    return hash;
}

/* Toeplitz is linear in the key, and the key has no say in what is hashed. */
static void check_hash(struct fuzz_input *input, uint16_t types, uint16_t tunnels)
{
    struct hash_config config = {.types = types & HASH_TYPES_ALL,
                                 .tunnels = tunnels & HASH_TUNNELS_ALL};
    uint8_t key[2][HASH_KEY_MAX], sum[HASH_KEY_MAX];
    struct frame_hash a, b, both, peek;
    uint32_t len;

    key_read(input, key[0]);
    key_read(input, key[1]);
    for (unsigned i = 0; i < HASH_KEY_MAX; i++)
        sum[i] = key[0][i] ^ key[1][i];
    len = (uint32_t)input->left;
    a = hash_with(&config, key[0], input->at, len);
    b = hash_with(&config, key[1], input->at, len);
    both = hash_with(&config, sum, input->at, len);
    FUZZ_CHECK(a.report == b.report && a.report == both.report, "reports differ by key");
    FUZZ_CHECK((a.value ^ b.value) == both.value, "%08x ^ %08x != %08x", a.value, b.value,
               both.value);
    peek = hash_with(&config, sum, input->at, len < HASH_PEEK_LEN ? len : HASH_PEEK_LEN);
    FUZZ_CHECK(peek.report == both.report && peek.value == both.value,
               "bytes behind the peek count");
}

static void check_filter(struct fuzz_input *input, uint8_t modes, uint8_t switches)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
    uint8_t exact[RX_FILTER_PEEK_LEN];
    struct rx_filter filter;
    uint32_t len = input->left < sizeof(exact) ? (uint32_t)input->left : sizeof(exact);
    uint8_t *bytes = malloc(len + 1); /* a read behind the end is seen by the sanitizer */
    int passes;

    FUZZ_CHECK(bytes != NULL, "no memory");
    memcpy(bytes + 1, input->at, len);
    rx_filter_init(&filter, mac);
    filter.modes = modes & 0x3f;
    filter.by_address = switches & 1;
    filter.by_vlan = switches >> 1 & 1;
    rx_filter_set_table(switches & 4 ? &filter.multicast : &filter.unicast, bytes + 1, 1);
    rx_filter_add_vlan(&filter, (uint16_t)(bytes[len] << 4));
    passes = rx_filter_passes(&filter, bytes + 1, len);
    FUZZ_CHECK(passes == 0 || passes == 1, "passes %d", passes);
    FUZZ_CHECK(passes || filter.by_address || filter.by_vlan, "dropped by nothing");
    FUZZ_CHECK(passes || !filter.by_address || !(modes & RX_MODE_PROMISC),
               "dropped by promiscuous");
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint16_t types = fuzz_u16(&input);
    uint16_t tunnels = fuzz_u16(&input);
    uint8_t modes = fuzz_u8(&input);
    uint8_t switches = fuzz_u8(&input);

    check_hash(&input, types, tunnels);
    if (input.left >= FRAME_LEN_MIN)
        check_filter(&input, modes, switches);
    return 0;
}
