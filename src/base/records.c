/* SPDX-License-Identifier: MIT */
#include "base/records.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum {
    RECORDS_VERSION = 1,
    RECORD_HEADER_LEN = 8, /* tag, need, length */
    CAPACITY_FIRST = 4096,
};

static const uint8_t magic[8] = {'v', 'i', 'o', 'n', 'i', 'c', 0x1a, '\n'};

/* ---- checksum ----------------------------------------------------------------------------- */

/* Four bits at a time: the table of a CRC whose polynomial is 0xedb88320, reflected. */
static uint32_t crc_add(uint32_t crc, const uint8_t *bytes, size_t len)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };

    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

uint32_t records_crc(const uint8_t *block, size_t len)
{
    static const uint8_t zero[4];
    uint32_t crc = crc_add(UINT32_MAX, block, RECORDS_CRC_OFFSET);

    crc = crc_add(crc, zero, sizeof(zero));
    return ~crc_add(crc, block + RECORDS_HEADER_LEN, len - RECORDS_HEADER_LEN);
}

/* ---- writing ------------------------------------------------------------------------------ */

static void store(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint8_t *extend(struct records_writer *writer, size_t len)
{
    size_t capacity = MAX(writer->capacity, (size_t)CAPACITY_FIRST);
    uint8_t *at;

    writer->too_long |= len > writer->len_max - writer->len;
    if (writer->failed || writer->too_long)
        return NULL;
    while (capacity < writer->len + len)
        capacity *= 2;
    if (capacity > writer->capacity) {
        uint8_t *grown = realloc(writer->bytes, capacity);

        if (grown == NULL) {
            writer->failed = 1;
            return NULL;
        }
        writer->bytes = grown;
        writer->capacity = capacity;
    }
    at = writer->bytes + writer->len;
    writer->len += len;
    return at;
}

static void put(struct records_writer *writer, uint64_t value, unsigned width)
{
    uint8_t *at = extend(writer, width);

    if (at != NULL)
        store(at, value, width);
}

static void begin(struct records_writer *writer, size_t len_max)
{
    *writer = (struct records_writer){.len_max = len_max};
    records_put_bytes(writer, magic, sizeof(magic));
    put(writer, RECORDS_VERSION, 4);
    put(writer, 0, 8); /* length of the block */
    put(writer, 0, 4); /* checksum */
}

void records_begin(struct records_writer *writer)
{
    begin(writer, RECORDS_LEN_MAX);
}

void records_begin_long(struct records_writer *writer)
{
    begin(writer, RECORDS_LONG_LEN_MAX);
}

void records_open(struct records_writer *writer, uint16_t tag, enum record_need need)
{
    writer->record = writer->len;
    put(writer, tag, 2);
    put(writer, need, 2);
    put(writer, 0, 4);
}

void records_put_u8(struct records_writer *writer, uint8_t value)
{
    put(writer, value, 1);
}

void records_put_u16(struct records_writer *writer, uint16_t value)
{
    put(writer, value, 2);
}

void records_put_u32(struct records_writer *writer, uint32_t value)
{
    put(writer, value, 4);
}

void records_put_u64(struct records_writer *writer, uint64_t value)
{
    put(writer, value, 8);
}

void records_put_bytes(struct records_writer *writer, const void *bytes, size_t len)
{
    uint8_t *at = extend(writer, len);

    if (at != NULL)
        memcpy(at, bytes, len);
}

void records_close(struct records_writer *writer)
{
    if (!writer->failed && !writer->too_long)
        store(writer->bytes + writer->record + 4, writer->len - writer->record - RECORD_HEADER_LEN,
              4);
}

int records_end(struct records_writer *writer, uint8_t **ret_block, size_t *ret_len)
{
    if (writer->failed || writer->too_long) {
        free(writer->bytes);
        return writer->failed ? -ENOMEM : -EFBIG;
    }
    store(writer->bytes + 12, writer->len, 8);
    store(writer->bytes + RECORDS_CRC_OFFSET, records_crc(writer->bytes, writer->len), 4);
    *ret_block = writer->bytes;
    *ret_len = writer->len;
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

static uint64_t load(const uint8_t *at, unsigned width)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static int header_check(const uint8_t *block, size_t len, size_t len_max, struct error *err)
{
    if (len < RECORDS_HEADER_LEN || memcmp(block, magic, sizeof(magic)) != 0)
        return error_set(err, EINVAL, "this is no saved state of vionic");
    if (len > len_max)
        return error_set(err, EINVAL, "saved state of %zu bytes is longer than any", len);
    if (load(block + 8, 4) != RECORDS_VERSION)
        return error_set(err, EINVAL, "saved state of version %" PRIu64 "; this build reads %d",
                         load(block + 8, 4), RECORDS_VERSION);
    if (load(block + 12, 8) != len)
        return error_set(err, EINVAL, "saved state of %zu bytes says that it has %" PRIu64, len,
                         load(block + 12, 8));
    if (load(block + RECORDS_CRC_OFFSET, 4) != records_crc(block, len))
        return error_set(err, EINVAL, "the checksum of the saved state is wrong: it was damaged");
    return 0;
}

static int record_note(struct records *records, size_t at, uint64_t known, struct error *err)
{
    unsigned tag = (unsigned)load(records->block + at, 2);
    unsigned need = (unsigned)load(records->block + at + 2, 2);

    if (need > RECORD_MANDATORY)
        return error_set(err, EINVAL, "saved state: record %u is malformed", tag);
    if (tag >= RECORDS_TAGS_MAX || !(known >> tag & 1)) {
        if (need == RECORD_OPTIONAL)
            return 0;
        return error_set(err, EINVAL,
                         "saved state needs something that this build does not have (record %u)",
                         tag);
    }
    if (records->offset[tag] != 0)
        return error_set(err, EINVAL, "saved state: record %u is there twice", tag);
    records->offset[tag] = (uint32_t)(at + RECORD_HEADER_LEN);
    records->length[tag] = (uint32_t)load(records->block + at + 4, 4);
    return 0;
}

/* The header was checked. */
static int records_walk(struct records *records, uint64_t known, struct error *err)
{
    size_t at = RECORDS_HEADER_LEN, len = records->len;
    int result = 0;

    while (result == 0 && at != len) {
        if (len - at < RECORD_HEADER_LEN ||
            load(records->block + at + 4, 4) > len - at - RECORD_HEADER_LEN)
            return error_set(err, EINVAL, "saved state: a record runs over the end");
        result = record_note(records, at, known, err);
        at += RECORD_HEADER_LEN + (size_t)load(records->block + at + 4, 4);
    }
    return result;
}

int records_parse(struct records *records, const void *block, size_t len, uint64_t known,
                  struct error *err)
{
    int result = header_check(block, len, RECORDS_LEN_MAX, err);

    *records = (struct records){.block = block, .len = len};
    return result < 0 ? result : records_walk(records, known, err);
}

int records_parse_long(struct records *records, const void *block, size_t len, uint64_t known,
                       struct error *err)
{
    int result = header_check(block, len, RECORDS_LONG_LEN_MAX, err);

    *records = (struct records){.block = block, .len = len};
    return result < 0 ? result : records_walk(records, known, err);
}

int records_find(const struct records *records, uint16_t tag, struct record_reader *ret_reader)
{
    *ret_reader = (struct record_reader){0};
    if (records->offset[tag] == 0)
        return 0;
    ret_reader->at = records->block + records->offset[tag];
    ret_reader->left = records->length[tag];
    return 1;
}

static uint64_t take(struct record_reader *reader, unsigned width)
{
    uint64_t value;

    if (reader->left < width) {
        reader->failed = 1;
        return 0;
    }
    value = load(reader->at, width);
    reader->at += width;
    reader->left -= width;
    return value;
}

uint8_t record_take_u8(struct record_reader *reader)
{
    return (uint8_t)take(reader, 1);
}

uint16_t record_take_u16(struct record_reader *reader)
{
    return (uint16_t)take(reader, 2);
}

uint32_t record_take_u32(struct record_reader *reader)
{
    return (uint32_t)take(reader, 4);
}

uint64_t record_take_u64(struct record_reader *reader)
{
    return take(reader, 8);
}

void record_take_bytes(struct record_reader *reader, void *ret_bytes, size_t len)
{
    if (reader->left < len) {
        reader->failed = 1;
        memset(ret_bytes, 0, len);
        return;
    }
    memcpy(ret_bytes, reader->at, len);
    reader->at += len;
    reader->left -= len;
}

void record_skip(struct record_reader *reader, size_t len)
{
    reader->failed |= reader->left < len;
    if (reader->failed)
        return;
    reader->at += len;
    reader->left -= len;
}

int record_is_done(const struct record_reader *reader)
{
    return !reader->failed && reader->left == 0;
}
