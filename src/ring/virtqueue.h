/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues, device side, in batches: pop chains, push used entries, flush once, sleep with arm.
 * The format, split or packed, is chosen once a call; callers never see it.
 *
 *   start ─> [ pop* ─> (push | unpop)* ─> flush ]* ─> arm ─> … ─> stop
 *
 * One thread at a time uses a queue: the worker that owns its pair, or the control thread while
 * that worker is paused. Nothing here knows what the buffers mean.
 *
 * Faults (virtio gives no answer to most, so the outcome is ours): a chain that can't be used has
 * `fault` set and no spans, and its owner completes it with length 0. A ring whose state can't be
 * trusted any more latches: virtqueue_pop returns 0 for ever, `fault` says why, until the queue is
 * stopped and started.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/byteorder.h"
#include "base/counter.h"
#include "base/error.h"
#include "memory/dirty_log.h"
#include "memory/guest_memory.h"

enum {
    VIRTQUEUE_SIZE_MAX = 32768,
    /* Longest chain, in descriptors, that a queue of up to this many entries takes; a larger queue
     * takes chains as long as itself (virtio 1.4, 2.7.5.3: a driver must not exceed the queue size,
     * but an indirect table may be longer than a small queue). */
    VIRTQUEUE_CHAIN_MIN = 1024,
};

enum virtqueue_features {
    VIRTQUEUE_INDIRECT = 1u << 0,
    VIRTQUEUE_EVENT_IDX = 1u << 1,
    VIRTQUEUE_PACKED = 1u << 2,
    /* IN_ORDER, and all completions have length 0: one used entry stands for a batch. */
    VIRTQUEUE_BATCH_USED = 1u << 3,
    /* A ring that was never used, whatever base says and whatever lies in its memory. */
    VIRTQUEUE_FROM_ZERO = 1u << 4,
};

/* Why a queue latched. */
enum queue_fault {
    QUEUE_FAULT_NONE,
    QUEUE_FAULT_AVAIL_JUMP, /* more new buffers than the ring holds, or the index went backwards */
    QUEUE_FAULT_HEAD_RANGE, /* a head beyond the table */
    QUEUE_FAULT_LIST_PARTIAL, /* packed: a list was made available before its end was */
    QUEUE_FAULT_LIST_ENDLESS, /* packed: a list as long as the ring that does not end */
    QUEUE_FAULT_MEMORY,       /* the ring's own memory was taken away */
    QUEUE_FAULT_COUNT,
};

/* Why a chain was not usable. */
enum chain_fault {
    CHAIN_FAULT_NONE,
    CHAIN_FAULT_NEXT_RANGE,        /* next beyond the table */
    CHAIN_FAULT_TOO_LONG,          /* a loop, or more descriptors than we take */
    CHAIN_FAULT_TOO_LARGE,         /* more than 4 GiB in all */
    CHAIN_FAULT_ADDRESS,           /* not in guest memory, wraps, or runs into a hole */
    CHAIN_FAULT_ORDER,             /* a readable descriptor behind a writable one */
    CHAIN_FAULT_INDIRECT_UNAGREED, /* INDIRECT was not negotiated */
    CHAIN_FAULT_INDIRECT_FLAGS,    /* INDIRECT with NEXT, or inside a table */
    CHAIN_FAULT_INDIRECT_LEN,      /* empty, not a multiple of 16, or longer than we take */
    CHAIN_FAULT_INDIRECT_ADDRESS,  /* the table is not in guest memory */
    CHAIN_FAULT_COUNT,
};

const char *queue_fault_name(enum queue_fault fault);
const char *chain_fault_name(enum chain_fault fault);

/* What most chains are, so that one look tells. */
enum chain_kind {
    CHAIN_KIND_ANY,
    CHAIN_KIND_READABLE, /* one span, which is readable; no fault */
    CHAIN_KIND_WRITABLE,
};

/* One buffer of the driver: host spans, readable ones first. */
struct chain {
    struct iovec *iov; /* borrowed from the chain_batch; the owner of the batch may change it */
    uint32_t readable_count;
    uint32_t writable_count;
    uint32_t readable_len; /* bytes */
    uint32_t writable_len; /* bytes */
    uint32_t token;        /* names the buffer to push: its head or id, and what the format adds */
    uint16_t fault;        /* enum chain_fault; no spans then */
    uint16_t kind;         /* enum chain_kind; CHAIN_KIND_ANY says nothing */
};

/* Where pop puts chains and their spans: pop appends to both arrays, reset empties them. */
struct chain_batch {
    struct iovec *iov;   /* owned */
    struct chain *chain; /* owned */
    uint32_t iov_capacity;
    uint32_t iov_used;
    uint32_t capacity; /* chains */
    uint32_t count;
    uint8_t peek; /* of readable chains the first bytes are wanted soon */
};

/* Room for `capacity` chains, and for the spans of at least one of the longest of a queue of
 * queue_size entries. -ENOMEM. */
int chain_batch_init(struct chain_batch *batch, unsigned capacity, unsigned queue_size);
void chain_batch_free(struct chain_batch *batch);
static inline void chain_batch_reset(struct chain_batch *batch)
{
    batch->iov_used = 0;
    batch->count = 0;
}

/* The ring's one way up. Neither call blocks. */
struct virtqueue_notifier {
    void (*fire)(void *context); /* the driver wants an interrupt */
    void *context;               /* borrowed while the queue runs */
    /* An IOMMU is to be asked for this access, and the queue waits for it (VIRTQUEUE_AWAITS). NULL
     * where there is none. */
    void (*missing)(void *context, uint64_t gpa, enum memory_access access);
};

/* Where writes to guest memory are noted (ring_log.h). */
struct virtqueue_log {
    struct dirty_log *log; /* borrowed; NULL: they are not */
    uint8_t ring;          /* not only buffers, but the words of the ring too */
    uint64_t device_gpa;   /* by which the used ring, or device event area, is noted */
    uint64_t slots_gpa;    /* packed: the same of the slots; the queue's own to say */
};

struct virtqueue_config {
    uint16_t size; /* 1 … 32768, a power of two for split */
    /* Where to go on, as virtqueue_stop returned it; 0 or vhost-user's for a new ring. What the
     * ring or its record say about that counts more (virtqueue_start). */
    uint32_t base;
    uint32_t features; /* VIRTQUEUE_… */
    enum byte_order order;
    uint64_t desc_gpa;   /* descriptor table or ring */
    uint64_t driver_gpa; /* available ring, or driver event area */
    uint64_t device_gpa; /* used ring, or device event area */
    struct virtqueue_notifier notifier;
    struct virtqueue_log log;
    /* Borrowed while the queue runs: where its place is recorded (inflight.h). NULL: nowhere. */
    struct inflight_region *record;
};

/* Why a queue that runs takes no buffers; bits, as there may be several reasons. */
enum virtqueue_resting {
    VIRTQUEUE_DISABLED = 1 << 0, /* virtqueue_rest */
    VIRTQUEUE_UNMAPPED = 1 << 1, /* virtqueue_unmap: behind an IOMMU that has to map the ring */
    VIRTQUEUE_AWAITS = 1 << 2,   /* the next buffer is behind one that has to map it */
};

/* Where a packed ring stands: the first used entry that the driver can't see yet, and the one
 * behind the last that was pushed. One word, so that one store moves both. */
union inflight_place {
    struct {
        uint16_t used_idx;
        uint16_t old_used_idx;
        uint8_t used_wrap;
        uint8_t old_used_wrap;
        uint16_t begun; /* slots behind used_idx, of parts whose whole is not pushed yet */
    };
    uint64_t word;
};

struct ring_desc;
struct split_avail;
struct split_used;
struct packed_event;

struct virtqueue {
    /* Fixed by start; host pointers into guest memory, borrowed. */
    union {
        struct {
            const struct ring_desc *desc;
            const struct split_avail *avail;
            struct split_used *used;
        } split;
        struct {
            struct ring_desc *ring;
            const struct packed_event *driver;
            struct packed_event *device;
        } packed;
    };
    const struct guest_memory *memory; /* borrowed */
    struct dirty_log *log;             /* borrowed, config.log's; written while paused */
    struct inflight_region *record;    /* borrowed; packed rings only */
    uint32_t chain_max;                /* descriptors */
    uint16_t size;
    uint16_t features;
    enum byte_order order;
    uint8_t running;
    uint8_t resting; /* VIRTQUEUE_… */
    uint8_t fault;   /* enum queue_fault */

    /* Written by the owning thread only. Positions are free-running indices (split), or slots with
     * a wrap counter (packed). */
    uint16_t next_avail; /* next available entry to take */
    uint16_t seen_avail; /* behind the last entry that was seen: where arm looks */
    uint16_t next_used;  /* next used entry to write */
    uint16_t used_shown; /* split: used index that the driver can see */
    uint8_t avail_wrap, seen_wrap, used_wrap; /* packed */
    uint16_t in_flight;                       /* ring entries popped and not pushed */
    uint16_t first_slot; /* packed: first used slot that was not published, and its words */
    uint64_t first_used;
    uint32_t unshown_slots; /* packed: ring entries pushed and not published */
    uint32_t last_token;    /* batched used entries: the last one pushed */
    uint32_t pushed;        /* buffers since the last interrupt decision */
    uint32_t undecided;     /* ring entries shown since then */
    uint32_t hold_buffers;  /* see virtqueue_hold */
    uint8_t armed;          /* the driver was asked to kick */
    uint8_t writable;       /* the last chain that was not like those before it was for writing */
    uint8_t fresh;          /* nothing was published since start: the first flush always notifies */
    union inflight_place place;      /* as recorded */
    struct memory_cache cache;       /* data buffers */
    struct memory_cache table_cache; /* indirect tables */
    struct memory_cache log_cache;   /* the way back, for the log */

    struct virtqueue_config config; /* as started, for remapping and inspect */

    counter interrupts;            /* sent */
    counter interrupts_suppressed; /* batches for which the driver wanted none */
    counter kicks;                 /* wake-ups by the driver; written by the worker */
    counter taken_up;              /* starts elsewhere than told: where the ring had been cut off */
    counter completed_late;        /* of these, starts that showed used entries first */
    counter records_refused;       /* starts with a record that could not be true */
};

/* Could a queue start like this? Its memory is not looked at. */
int virtqueue_check(const struct virtqueue_config *config, const struct guest_memory *memory,
                    struct error *err);
/* Checks everything, then starts: at the base, unless the ring was cut off elsewhere. All that was
 * not completed comes again, whoever had it, as completions never overtake each other. On failure
 * the queue stays stopped. */
int virtqueue_start(struct virtqueue *queue, const struct virtqueue_config *config,
                    const struct guest_memory *memory, struct error *err);
/* Publishes what was pushed and forgets the rings. Returns the base to start from again, in
 * vhost-user's encoding: the next available index (split), or both positions (packed). */
uint32_t virtqueue_stop(struct virtqueue *queue);
/* Publishes what was pushed and decides on interrupts that were held back; returns what stop would.
 */
uint32_t virtqueue_settle(struct virtqueue *queue);
/* Publishes what was pushed; from then on the ring's memory is neither read nor written, until
 * virtqueue_rouse. Nothing is in flight. */
void virtqueue_rest(struct virtqueue *queue);
void virtqueue_rouse(struct virtqueue *queue);
/* The rings in a changed memory table. If they are gone the queue latches QUEUE_FAULT_MEMORY; with
 * an IOMMU it goes on when they are there again, and with it one that waited for buffers. */
void virtqueue_remap(struct virtqueue *queue, const struct guest_memory *memory);
/* Publishes what was pushed; from then on the ring's memory is neither read nor written, until
 * virtqueue_remap finds it. Nothing is in flight. */
void virtqueue_unmap(struct virtqueue *queue);
/* Does a part of the ring lie among these addresses? */
int virtqueue_lies_in(const struct virtqueue *queue, uint64_t first, uint64_t last);
/* 1: a queue like this could not start yet: an IOMMU is to be asked for this access first. */
int virtqueue_missing(const struct virtqueue_config *config, const struct guest_memory *memory,
                      uint64_t *ret_gpa, enum memory_access *ret_access);

/* From now on writes are noted there, or not at all. What was written before was not. */
void virtqueue_set_log(struct virtqueue *queue, const struct virtqueue_log *log);

/* Takes up to max buffers, as far as the batch has room; returns how many. 0: none, or the queue
 * latched (queue->fault). Entries not pushed are counted in queue->in_flight. */
unsigned virtqueue_pop(struct virtqueue *queue, struct chain_batch *batch, unsigned max);
/* Gives back the chains of the batch from number `keep` on, which were not pushed: pop returns them
 * again. */
void virtqueue_unpop(struct virtqueue *queue, const struct chain_batch *batch, unsigned keep);
/* Completes a buffer of which len bytes were written. Not visible before the flush. */
void virtqueue_push(struct virtqueue *queue, uint32_t token, uint32_t len);
/* The same, if it is worth nothing without the push that follows: a device that is cut off in
 * between gets both back. */
void virtqueue_push_part(struct virtqueue *queue, uint32_t token, uint32_t len);
/* Completes count chains, each whole, in order; lens is NULL where nothing was written. */
void virtqueue_push_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                         unsigned count);
/* Shows everything pushed, with one store, and fires the notifier if the driver asked for that, or
 * holds it back (virtqueue_hold). */
void virtqueue_flush(struct virtqueue *queue);
/* From now on an interrupt waits until `buffers` were completed; 0 or 1: for none. Whoever sets
 * this looks at virtqueue_holding after a flush, and calls virtqueue_decide in time. */
void virtqueue_hold(struct virtqueue *queue, uint32_t buffers);
/* Fires the notifier if the driver asked for an interrupt for anything that was shown since the
 * last decision. */
void virtqueue_decide(struct virtqueue *queue);
static inline int virtqueue_holding(const struct virtqueue *queue)
{
    return queue->undecided != 0;
}

/* 1: virtqueue_pop would find nothing. One word of the driver's is looked at. */
int virtqueue_is_empty(const struct virtqueue *queue);

/* Asks for a kick when buffers are added to those that pop has seen. 1: there are some already, so
 * don't sleep; 0: none, and a kick will come with the next one. A latched or stopped queue answers
 * 0. */
int virtqueue_arm(struct virtqueue *queue);
/* Asks the driver not to kick: it will be looked at anyway. Advisory. */
void virtqueue_disarm(struct virtqueue *queue);

/* Stops taking buffers and remembers why; the first fault stays. */
void virtqueue_latch(struct virtqueue *queue, enum queue_fault fault);
