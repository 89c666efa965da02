/* SPDX-License-Identifier: MIT */
/*
 * What a queue wrote, told to the log of dirty pages (memory/dirty_log.h) while one is set: the
 * pages of buffers, and, where the front-end asked for it, of the ring itself. Each call comes
 * after the stores that it is about. Knows both formats; the queue's own files know only where to
 * call.
 */
#pragma once

#include "ring/virtqueue.h"

/* The one branch that it all costs while no log is set. */
static inline int ring_log_on(const struct virtqueue *queue)
{
    return __builtin_expect(queue->log != NULL, 0);
}

/* The first len bytes of these spans of popped chains. */
void ring_log_spans(struct virtqueue *queue, const struct iovec *iov, uint32_t len);

/* Bytes of the used ring, or device event area, of a ring. */
uint64_t ring_log_device_area_len(uint16_t size, uint32_t features);

/* ---- for virtqueue.c ------------------------------------------------------------------------ */

/* Where the words of the ring lie in guest-physical memory, by which they are noted: behind an
 * IOMMU only the ring itself knows. When its memory or its log has changed. */
void ring_log_locate(struct virtqueue *queue);
void ring_log_started(struct virtqueue *queue);
void ring_log_pushed(struct virtqueue *queue, uint32_t token);
void ring_log_pushed_each(struct virtqueue *queue, const struct chain *chains, unsigned count);
/* Ring entries, as the format's publish counts them. */
void ring_log_published(struct virtqueue *queue, uint32_t shown);
void ring_log_armed(struct virtqueue *queue);
void ring_log_disarmed(struct virtqueue *queue);
