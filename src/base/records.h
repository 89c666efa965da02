/* SPDX-License-Identifier: MIT */
/*
 * Tagged records in one block of bytes, which carries its version, its length and a checksum: a
 * format for state that one build writes and another reads. All numbers are little-endian.
 *
 * A reader believes nothing: it walks the records once, within bounds, before anything is looked
 * at. Readers may skip an optional record that they don't know; one that is marked mandatory makes
 * the block unreadable to them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    RECORDS_LEN_MAX = 1 << 20, /* of a block */
    /* Of one that goes from process to process: frames that were read from a tap and not yet
     * delivered, say, one of 64 KB for each of 128 queue pairs. */
    RECORDS_LONG_LEN_MAX = 32 << 20,
    RECORDS_TAGS_MAX = 64, /* known tags are 1 … 63 */
    RECORDS_HEADER_LEN = 24,
    RECORDS_CRC_OFFSET = 20,
};

enum record_need {
    RECORD_OPTIONAL = 0,
    RECORD_MANDATORY = 1,
};

/* CRC-32 (IEEE 802.3) of a block, as if the four bytes of the checksum were 0. */
uint32_t records_crc(const uint8_t *block, size_t len);

/* ---- writing ------------------------------------------------------------------------------ */

struct records_writer {
    uint8_t *bytes; /* owned */
    size_t len, capacity;
    size_t len_max;
    size_t record; /* where the open record begins */
    int failed;    /* no memory: everything that follows is ignored */
    int too_long;  /* likewise */
};

void records_begin(struct records_writer *writer);
/* Of up to RECORDS_LONG_LEN_MAX. */
void records_begin_long(struct records_writer *writer);
void records_open(struct records_writer *writer, uint16_t tag, enum record_need need);
void records_put_u8(struct records_writer *writer, uint8_t value);
void records_put_u16(struct records_writer *writer, uint16_t value);
void records_put_u32(struct records_writer *writer, uint32_t value);
void records_put_u64(struct records_writer *writer, uint64_t value);
void records_put_bytes(struct records_writer *writer, const void *bytes, size_t len);
void records_close(struct records_writer *writer);
/* -ENOMEM, -EFBIG, or 0 and the block, which is the caller's to free. */
int records_end(struct records_writer *writer, uint8_t **ret_block, size_t *ret_len);

/* ---- reading ------------------------------------------------------------------------------ */

struct records {
    const uint8_t *block; /* borrowed */
    size_t len;
    uint32_t offset[RECORDS_TAGS_MAX]; /* of the payload, by tag; 0: there is none */
    uint32_t length[RECORDS_TAGS_MAX];
};

/* One record, read from its start to its end. */
struct record_reader {
    const uint8_t *at; /* borrowed */
    size_t left;
    int failed; /* more was taken than there is */
};

/* `known`: a bit for each tag. -EINVAL and a sentence unless the whole block is sound. */
int records_parse(struct records *records, const void *block, size_t len, uint64_t known,
                  struct error *err);
int records_parse_long(struct records *records, const void *block, size_t len, uint64_t known,
                       struct error *err);
/* 1: the record is there; 0: it is not, and everything that is taken is 0. */
int records_find(const struct records *records, uint16_t tag, struct record_reader *ret_reader);
uint8_t record_take_u8(struct record_reader *reader);
uint16_t record_take_u16(struct record_reader *reader);
uint32_t record_take_u32(struct record_reader *reader);
uint64_t record_take_u64(struct record_reader *reader);
void record_take_bytes(struct record_reader *reader, void *ret_bytes, size_t len);
void record_skip(struct record_reader *reader, size_t len);
/* 1: the record held exactly what was taken. */
int record_is_done(const struct record_reader *reader);
