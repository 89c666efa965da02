/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. A target is one LLVMFuzzerTestOneInput: libFuzzer calls it in the
 * fuzzing build, replay.c calls it for files on the command line in every other build.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that the input broke: the message is what the regression file is about. */
#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken promise: ", __FILE__, __LINE__);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input, consumed from its front; behind its end there are zeroes. */
struct fuzz_input {
    const uint8_t *at; /* borrowed */
    size_t left;
};

uint8_t fuzz_u8(struct fuzz_input *input);
uint16_t fuzz_u16(struct fuzz_input *input);
uint32_t fuzz_u32(struct fuzz_input *input);
uint64_t fuzz_u64(struct fuzz_input *input);
/* Up to len bytes of the input itself; returns how many. */
size_t fuzz_bytes(struct fuzz_input *input, size_t len, const uint8_t **ret_bytes);
/* How many files the process has open. */
unsigned fuzz_open_files(void);
