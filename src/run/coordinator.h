/* SPDX-License-Identifier: MIT */
/*
 * The coordinator of one NIC: its control plane. Owns the device model, the endpoint and the pairs,
 * and is the only one that pauses workers to change them. Runs on the control thread; what it knows
 * of the transport is the two notices below.
 *
 *   open ─> [ agree ─> set_memory ─> start_queue* … stop_queue* ]* ─> close
 *
 * Queues may be started, stopped, enabled and disabled one by one, in any order, while others run.
 */
#pragma once

#include "base/fd_list.h"
#include "base/loop.h"
#include "base/records.h"
#include "nic/control.h"
#include "nic/nic.h"
#include "run/worker.h"

/* How the transport hears of changes; both optional. Called on the control thread. */
struct coordinator_listener {
    /* The driver can see a change in config space. */
    void (*config_changed)(void *context);
    /* A ring latched; the device status has NEEDS_RESET. */
    void (*queue_broken)(void *context, unsigned queue);
    void *context; /* borrowed */
};

/* How the endpoint comes to be, now and after it went away; endpoint_open (endpoint/catalog.h) has
 * the same shape, but for the context. */
struct endpoint_opener {
    int (*open)(void *context, const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                struct error *err);
    void *context; /* borrowed */
};

/* An endpoint, and who opens it. */
struct coordinator_endpoint {
    const struct endpoint_spec *spec; /* copied */
    struct endpoint_opener opener;    /* zeroes: the catalog opens what the spec names */
};

/* What another process gave of the card; only while it is opened. */
struct coordinator_inheritance {
    const struct records *records; /* borrowed */
    struct fd_list *fds;           /* borrowed; what is taken out is the card's */
};

struct coordinator_config {
    const char *name; /* copied */
    struct nic_config nic;
    struct coordinator_endpoint endpoint;
    const struct coordinator_inheritance *inherited; /* borrowed while opening; NULL: nothing */
    struct worker_pool *pool;                        /* borrowed */
    struct worker_wish workers;                      /* one of them is in the pool */
    struct loop *loop;                               /* borrowed */
};

struct coordinator;

int coordinator_open(const struct coordinator_config *config, struct coordinator **ret_coordinator,
                     struct error *err) CONTROL_ONLY;
/* Stops everything; buffers go back to the guest. NULL is fine. */
void coordinator_close(struct coordinator *coordinator) CONTROL_ONLY;

const char *coordinator_name(const struct coordinator *coordinator);
/* The device model, for config space, features and status. */
struct nic *coordinator_nic(struct coordinator *coordinator);
void coordinator_listen(struct coordinator *coordinator,
                        const struct coordinator_listener *listener) CONTROL_ONLY;

/* The driver's choice of features; -EINVAL and a sentence if it can't be. */
int coordinator_agree(struct coordinator *coordinator, const struct features *accepted,
                      struct error *err) CONTROL_ONLY;
/* Byte order of a legacy driver. */
void coordinator_set_order(struct coordinator *coordinator, enum byte_order order) CONTROL_ONLY;
/* Borrowed until the next call; NULL: none. Rings that are no longer in memory latch. */
void coordinator_set_memory(struct coordinator *coordinator,
                            const struct guest_memory *memory) CONTROL_ONLY;

/* Of a memory table behind an IOMMU (memory/iotlb.h) the translations change between these two:
 * nobody uses any, no endpoint holds a frame, and rings that lie from the first address to the last
 * were published and are left alone until they are mapped again. */
void coordinator_hold_translations(struct coordinator *coordinator, uint64_t first,
                                   uint64_t last) TAKES_DATA;
void coordinator_release_translations(struct coordinator *coordinator) DROPS_DATA;
/* 0: a driver may set it up, and nothing comes of it. */
int coordinator_queue_is_used(const struct coordinator *coordinator, unsigned queue);
/* 1: it was mapped, and rests until it is again. */
int coordinator_queue_unmapped(struct coordinator *coordinator, unsigned queue);
/* 1: the IOMMU is to be asked for this access before the queue can start, or go on. */
int coordinator_queue_missing(struct coordinator *coordinator, unsigned queue,
                              const struct virtqueue_config *config, uint64_t *ret_gpa,
                              enum memory_access *ret_access) CONTROL_ONLY;

/* Could the queue start like this, with what was agreed and the memory that there is? */
int coordinator_check_queue(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue_config *config, struct error *err) CONTROL_ONLY;
/* Of config->features only VIRTQUEUE_FROM_ZERO is the caller's to say.
 * kick_fd is borrowed until the queue is stopped; -1: the ring is polled for ever. */
int coordinator_start_queue(struct coordinator *coordinator, unsigned queue,
                            const struct virtqueue_config *config, int kick_fd,
                            struct error *err) CONTROL_ONLY;
/* Returns the base to go on from (virtqueue_stop). A queue that does not run: what it was stopped
 * with last. */
uint32_t coordinator_stop_queue(struct coordinator *coordinator, unsigned queue) CONTROL_ONLY;
/* All queues, at one moment. */
void coordinator_stop_all(struct coordinator *coordinator) CONTROL_ONLY;
int coordinator_queue_running(struct coordinator *coordinator, unsigned queue) CONTROL_ONLY;
enum queue_fault coordinator_queue_fault(struct coordinator *coordinator,
                                         unsigned queue) CONTROL_ONLY;

enum coordinator_enable {
    COORDINATOR_DISABLE,
    COORDINATOR_ENABLE,
};
void coordinator_enable_queue(struct coordinator *coordinator, unsigned queue,
                              enum coordinator_enable enable) CONTROL_ONLY;

/* Writes of the queue are noted there from now on, if it runs; one that starts takes its config's.
 */
void coordinator_set_log(struct coordinator *coordinator, unsigned queue,
                         const struct virtqueue_log *log) CONTROL_ONLY;

/* Between these two the worker of the queue (or nobody, for the control queue) looks at its
 * notifier. */
void coordinator_hold_queue(struct coordinator *coordinator, unsigned queue) TAKES_DATA;
void coordinator_release_queue(struct coordinator *coordinator, unsigned queue) DROPS_DATA;

/* A frame of ours, not the guest's, out of the first pair's endpoint queue, also while its rings
 * are stopped. -ENETDOWN: there is no endpoint or link; -EAGAIN: the endpoint takes nothing now. */
int coordinator_send_frame(struct coordinator *coordinator, const void *bytes,
                           uint32_t len) CONTROL_ONLY;

/* Everything stopped, the device as at power-up; the memory table stays. */
void coordinator_reset(struct coordinator *coordinator) CONTROL_ONLY;
/* Who comes next has read nothing of the device yet: its offer, and its MTU where that is the
 * endpoint's, follow the endpoint that is there now. */
void coordinator_renew(struct coordinator *coordinator) CONTROL_ONLY;

/* ---- coordinator_swap.c ------------------------------------------------------------------- */

/* Another endpoint behind the card that runs. All pairs move over in one pause; each frame that the
 * old one held is completed once. -errno and a sentence: nothing has changed. -EOPNOTSUPP: the
 * driver agreed to what the new one can't do. */
int coordinator_swap_endpoint(struct coordinator *coordinator,
                              const struct coordinator_endpoint *wanted,
                              struct error *err) CONTROL_ONLY;

/* ---- coordinator_set.c: what the operator changes at run time ---------------------------- */

void coordinator_set_link(struct coordinator *coordinator, enum nic_link link) CONTROL_ONLY;
/* 0: unknown. A driver that watches the link sees it go down and up again. */
void coordinator_set_speed(struct coordinator *coordinator, uint32_t mbps) CONTROL_ONLY;
void coordinator_set_duplex(struct coordinator *coordinator, enum nic_duplex duplex) CONTROL_ONLY;
/* -EBUSY and a sentence while a driver goes by the old one. */
int coordinator_set_mtu(struct coordinator *coordinator, uint16_t mtu,
                        struct error *err) CONTROL_ONLY;
int coordinator_set_mac(struct coordinator *coordinator, const uint8_t mac[6],
                        struct error *err) CONTROL_ONLY;
/* Asks the driver to announce itself to the network; a sentence if it can't be asked. */
int coordinator_announce(struct coordinator *coordinator, struct error *err) CONTROL_ONLY;

/* ---- coordinator_state.c: saved state (nic/saved_state.h), all queues stopped ------------ */

void coordinator_save(struct coordinator *coordinator, struct records_writer *writer) CONTROL_ONLY;
/* Of that only the statistics. */
void coordinator_save_stats(struct coordinator *coordinator,
                            struct records_writer *writer) CONTROL_ONLY;
/* The NIC is as after power-up; `next` came from saved_nic_read. -EINVAL and a sentence: nothing
 * has changed. */
int coordinator_restore(struct coordinator *coordinator, const struct nic *next,
                        const struct records *records, struct error *err) CONTROL_ONLY;
/* What the start of a queue forgets, and a link that is not what it was; when they run. */
void coordinator_restored(struct coordinator *coordinator, const struct nic *next) CONTROL_ONLY;

/* The same for one queue, when it runs. */
void coordinator_restore_queue(struct coordinator *coordinator, unsigned queue,
                               const struct nic *next) CONTROL_ONLY;

/* ---- coordinator_handover.c: the card goes on in another process ------------------------- */

/* All workers stand still (worker_pool_hold) from before this until keep or close. What is begun is
 * completed; from here on nothing of the card touches guest memory. */
void coordinator_give(struct coordinator *coordinator, struct records_writer *writer,
                      struct fd_list *fds) CONTROL_ONLY;
/* After give: the card goes on as if nothing had been. After take: it is this process's now. */
void coordinator_keep(struct coordinator *coordinator) CONTROL_ONLY;
/* Where a queue that runs stands. */
uint32_t coordinator_queue_base(struct coordinator *coordinator, unsigned queue) CONTROL_ONLY;
/* The device model and the statistics of a card that was just opened; *ret_next: the NIC that it is
 * now. -EINVAL and a sentence: nothing has changed. */
int coordinator_take(struct coordinator *coordinator, const struct records *records,
                     struct nic *ret_next, struct error *err) CONTROL_ONLY;
/* The rest, once the queues have started that ran. */
int coordinator_take_progress(struct coordinator *coordinator, const struct records *records,
                              const struct nic *next, struct error *err) CONTROL_ONLY;

void coordinator_inspect(struct coordinator *coordinator, struct inspect *visitor) CONTROL_ONLY;
