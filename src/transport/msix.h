/* SPDX-License-Identifier: MIT */
/*
 * MSI-X of a PCI function (PCI Local Bus 3.0, 6.8.2): the vector table, the pending bits, and when
 * a message may go out. Knows nothing of virtio.
 *
 * msix_fire is for any thread. Everything that is marked "held" is called while no other thread is
 * in msix_fire for a vector that it is about: then a masked vector is silent when the write that
 * masked it returns, and a message is never half old and half new.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    MSIX_ENTRY_LEN = 16,
    MSIX_ENTRY_MASKED = 1, /* of its last word */
};

struct msix_entry {
    uint32_t word[MSIX_ENTRY_LEN / 4]; /* address low, high, data, control */
};

enum msix_state {
    MSIX_ENABLED = 1u << 0, /* by message control */
    MSIX_MASKED = 1u << 1,  /* the whole function, by message control */
    MSIX_ALLOWED = 1u << 2, /* the function may write to memory: it is a bus master */
};

struct msix {
    unsigned vectors;
    struct msix_entry *entry;  /* owned */
    _Atomic uint64_t *pending; /* owned; a bit a vector */
    unsigned state;            /* MSIX_… */
    void (*send)(void *context, uint64_t address, uint32_t data);
    void *context; /* borrowed */
};

/* -ENOMEM */
int msix_init(struct msix *msix, unsigned vectors);
/* Fine for a struct of zeroes. */
void msix_free(struct msix *msix);
/* As after power-up; held. */
void msix_reset(struct msix *msix);

/* A message, or a pending bit, or nothing for a vector that is none. */
void msix_fire(struct msix *msix, unsigned vector);
/* What waited and may go out now goes out; held. */
void msix_set_state(struct msix *msix, unsigned state);
/* Held. */
void msix_forget_pending(struct msix *msix);

/* Any offset and width; bytes behind the end are 0. */
uint64_t msix_read_table(const struct msix *msix, uint64_t offset, unsigned width);
uint64_t msix_read_pending(const struct msix *msix, uint64_t offset, unsigned width);
/* Whole aligned words, one or two; others are ignored, as the specification leaves them undefined.
 * Held, for the vector that offset is in. */
void msix_write_table(struct msix *msix, uint64_t offset, unsigned width, uint64_t value);
