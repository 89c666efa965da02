/* SPDX-License-Identifier: MIT */
#include "nic/hash.h"

#include <string.h>

#include "base/checked.h"
#include "nic/hash_headers.h"

enum {
    ADDRESS_V4_LEN = 4,
    ADDRESS_V6_LEN = 16,
    PORTS_LEN = 4, /* both */
};

/* Three bits of enum hash_type, by their first one: IP alone, TCP, UDP. */
enum family {
    FAMILY_V4 = 0,
    FAMILY_V6 = 3,
    FAMILY_V6_EX = 6,
};

/* What is hashed, within a family. */
enum level {
    LEVEL_NONE,
    LEVEL_IP,
    LEVEL_TCP,
    LEVEL_UDP,
};

/* The 32 bits of the key that begin with its bit `at`. */
static uint32_t key_window(const uint8_t *key, unsigned at)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < 5; i++)
        bits = bits << 8 | key[at / 8 + i];
    return (uint32_t)(bits >> (8 - at % 8));
}

void hash_set_key(struct hash_config *config, const uint8_t *key, unsigned key_len)
{
    memset(config->key, 0, sizeof(config->key));
    if (key_len != 0)
        memcpy(config->key, key, MIN(key_len, HASH_KEY_MAX));
    for (unsigned half = 0; half < ARRAY_COUNT(config->window); half++) {
        uint32_t *window = config->window[half];

        window[0] = 0;
        for (unsigned value = 1; value < 16; value++) /* its lowest bit and the others */
            window[value] = key_window(config->key, half * 4 + 3 - (unsigned)__builtin_ctz(value)) ^
                            window[value & (value - 1)];
    }
}

/* What len bytes of input add that stand behind `at` others. */
static inline uint32_t toeplitz(const struct hash_config *config, unsigned at, const uint8_t *bytes,
                                unsigned len)
{
    const uint32_t(*window)[16] = config->window + 2 * (size_t)at;
    uint32_t sum = 0;

    for (unsigned i = 0; i < len; i++)
        sum ^= window[2 * i][bytes[i] >> 4] ^ window[2 * i + 1][bytes[i] & 0xf];
    return sum;
}

static uint32_t hash_addresses(const struct hash_config *config, const struct hash_headers *headers,
                               enum family family)
{
    switch (family) {
    case FAMILY_V4:
        return toeplitz(config, 0, headers->address, 2 * ADDRESS_V4_LEN);
    case FAMILY_V6:
        return toeplitz(config, 0, headers->address, 2 * ADDRESS_V6_LEN);
    default:
        return toeplitz(config, 0, headers->home, ADDRESS_V6_LEN) ^
               toeplitz(config, ADDRESS_V6_LEN, headers->routed, ADDRESS_V6_LEN);
    }
}

/* The most that the frame has and an enabled type of the family asks for. */
static enum level choose_level(uint32_t types, const struct hash_headers *headers,
                               enum family family)
{
    uint32_t enabled = types >> family;
    uint32_t transport_len = headers->end - MIN(headers->transport, headers->end);

    if (headers->protocol == IP_PROTOCOL_TCP && enabled & HASH_TCPV4 &&
        transport_len >= TCP_HEADER_MIN)
        return LEVEL_TCP;
    if (headers->protocol == IP_PROTOCOL_UDP && enabled & HASH_UDPV4 &&
        transport_len >= UDP_HEADER_LEN)
        return LEVEL_UDP;
    return enabled & HASH_IPV4 ? LEVEL_IP : LEVEL_NONE;
}

struct frame_hash hash_compute(const struct hash_config *config, const uint8_t *bytes, uint32_t len)
{
    struct frame_hash hash = {0, HASH_REPORT_NONE};
    struct hash_headers headers, inner;
    enum family family = FAMILY_V4;
    enum level level;

    if (config->types == 0)
        return hash;
    hash_headers_read(bytes, MIN(len, HASH_PEEK_LEN), &headers);
    if (config->tunnels != 0 && hash_headers_read_inner(bytes, &headers, config->tunnels, &inner))
        headers = inner;
    if (headers.version == 0)
        return hash;
    if (headers.version == 6)
        family = headers.extended ? FAMILY_V6_EX : FAMILY_V6;
    level = choose_level(config->types, &headers, family);
    if (level == LEVEL_NONE && family == FAMILY_V6_EX) { /* as if without extension headers */
        family = FAMILY_V6;
        level = choose_level(config->types, &headers, family);
    }
    if (level == LEVEL_NONE)
        return hash;
    hash.report = (uint16_t)(family + level);
    hash.value = hash_addresses(config, &headers, family);
    if (level != LEVEL_IP)
        hash.value ^=
            toeplitz(config, family == FAMILY_V4 ? 2 * ADDRESS_V4_LEN : 2 * ADDRESS_V6_LEN,
                     bytes + headers.transport, PORTS_LEN);
    return hash;
}
