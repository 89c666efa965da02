/* SPDX-License-Identifier: MIT */
/*
 * Where a packed ring stands, in memory that outlives this process (vhost-user, "Inflight I/O
 * tracking"): the front-end's, or a file of ours. virtqueue.c calls this; what the memory is, who
 * mapped it and whose ring it speaks of is the transport's business.
 *
 * Buffers are completed in the order in which they came, whatever was agreed: what is not completed
 * is what the ring holds from its used position on. A split ring says that position itself (the
 * index in its used ring), and one store moves it: nothing has to be recorded, a region only gets
 * its header. A packed ring does not say it, and a used entry takes several stores, each of which
 * destroys a part of the descriptor that it replaces. So its region is a log of the used entries
 * that are being written:
 *
 *   push     1 the entry into the log; 2 the place behind it, one store; 3 the ring's own slot
 *   publish  4 the flags of the batch's first slot, as ever; 5 the place: nothing is pending
 *
 * A process may end between any two stores. Before 2 the ring is as the driver left it: buffers
 * come again. From 2 to 4 the pending entries are written once more and shown. After 4 the first
 * slot is no longer available in this lap: the driver has them all. Writing them once more ends
 * like that too, and may be interrupted as often as it likes.
 *
 * A frame in several receive buffers is several entries, of which all or none may be shown. Those
 * in front of its last one are begun only: 1 notes what their slots held, 2 how many slots that
 * are, and who takes over puts it back. The last one's 2 makes all of them pending.
 *
 * All of it is as trustworthy as the peer: every word is read once and bounded, and what does not
 * fit is not used.
 */
#pragma once

#include "ring/virtqueue.h"

struct inflight_region;

enum inflight_format {
    INFLIGHT_SPLIT,
    INFLIGHT_PACKED,
};

enum {
    INFLIGHT_ALIGN = 64
};

/* Bytes from one region of an area to the next. */
size_t inflight_region_len(enum inflight_format format, unsigned queue_size);
/* Zeroed memory becomes a region that no ring was recorded in yet. */
void inflight_region_init(struct inflight_region *region, unsigned queue_size);
/* The ring was stopped and its driver told where, or made anew: nothing in here is true any more.
 */
void inflight_region_close(struct inflight_region *region);
int inflight_region_closed(const struct inflight_region *region);

/* ---- virtqueue.c ------------------------------------------------------------------------ */

/* The queue is mapped and does not run yet. 1: it was cut off; used entries that were pending are
 * shown, *base is where it goes on. 0: the region is empty, or of no use (counted). */
int inflight_take_up(struct virtqueue *queue, struct inflight_region *region, uint32_t *base);
/* The queue is about to start where it stands. */
void inflight_open(struct virtqueue *queue, struct inflight_region *region);
/* Before the ring's slots are written. */
void inflight_pushed(struct virtqueue *queue, uint32_t token, uint32_t len);
void inflight_pushed_part(struct virtqueue *queue, uint32_t token, uint32_t len);
void inflight_pushed_each(struct virtqueue *queue, const struct chain *chains, const uint32_t *lens,
                          unsigned count);
/* After everything pushed was shown. */
void inflight_published(struct virtqueue *queue);
