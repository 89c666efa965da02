/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <poll.h>
#include <string.h>

enum {
    FILES_WATCHED = 256,
};

size_t fuzz_bytes(struct fuzz_input *input, size_t len, const uint8_t **ret_bytes)
{
    size_t part = len < input->left ? len : input->left;

    *ret_bytes = input->at;
    input->at += part;
    input->left -= part;
    return part;
}

/* Little-endian on every machine, so that a corpus means the same everywhere. */
static uint64_t word(struct fuzz_input *input, size_t len)
{
    const uint8_t *bytes;
    size_t count = fuzz_bytes(input, len, &bytes);
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint8_t fuzz_u8(struct fuzz_input *input)
{
    return (uint8_t)word(input, 1);
}

uint16_t fuzz_u16(struct fuzz_input *input)
{
    return (uint16_t)word(input, 2);
}

uint32_t fuzz_u32(struct fuzz_input *input)
{
    return (uint32_t)word(input, 4);
}

uint64_t fuzz_u64(struct fuzz_input *input)
{
    return word(input, 8);
}

unsigned fuzz_open_files(void)
{
    struct pollfd watched[FILES_WATCHED];
    unsigned count = 0;

    for (int i = 0; i < FILES_WATCHED; i++)
        watched[i] = (struct pollfd){.fd = i};
    poll(watched, FILES_WATCHED, 0);
    for (unsigned i = 0; i < FILES_WATCHED; i++)
        count += !(watched[i].revents & POLLNVAL);
    return count;
}
