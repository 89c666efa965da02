/* SPDX-License-Identifier: MIT */
/*
 * Random frames that are to be segmented, and a reference that segments them: byte after byte, from
 * what it knows because it made the frame. Shares nothing with what it checks.
 */
#pragma once

#include <stdint.h>

#include "endpoint/endpoint.h"

struct sample {
    uint8_t bytes[FRAME_LEN_MAX];
    uint32_t len;
    unsigned version;
    unsigned protocol;
    uint32_t network;
    uint32_t next_header; /* of the unfragmentable part's last header */
    uint32_t fragmentable;
    uint32_t transport;
    uint32_t header_len;
    struct frame_offload offload;
};

/* What a sample is to be; the rest is random. */
struct sample_wish {
    uint8_t gso_type;
    unsigned version;
    unsigned tags;   /* VLAN, 0 to 2 */
    unsigned extras; /* words of IPv4 options; IPv6 extension headers */
    uint32_t payload_len;
    uint16_t gso_size;
};

/* Numbers that are the same in each run. */
uint32_t sample_random(void);
/* From low to high. */
uint32_t sample_between(uint32_t low, uint32_t high);

void sample_make(struct sample *sample, const struct sample_wish *wish);
/* Any frame that is legal. */
void sample_make_any(struct sample *sample);

unsigned reference_count(const struct sample *sample);
/* The frame that comes at a place, with partial checksums if csum is ENDPOINT_CSUM. Leaves the
 * identification of IPv6 fragments zero. Returns its length. */
uint32_t reference_frame(const struct sample *sample, uint32_t csum, unsigned index,
                         uint8_t *ret_bytes, struct frame_offload *ret_offload);

uint16_t reference_sum(const uint8_t *bytes, uint32_t len, uint32_t before);
