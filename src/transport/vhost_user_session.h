/* SPDX-License-Identifier: MIT */
/* What the files of the vhost-user back-end share. Included by src/transport/vhost_user*.c only. */
#pragma once

#include <stdatomic.h>

#include "base/log.h"
#include "transport/vhost_user.h"
#include "transport/vhost_user_channel.h"
#include "transport/vhost_user_connection.h"
#include "transport/vhost_user_inflight.h"
#include "transport/vhost_user_iommu.h"
#include "transport/vhost_user_share.h"

/* A ring as the front-end set it up. Stopped, started and enabled are independent: it starts when
 * it has a kick, a size and addresses inside guest memory, and stops on GET_VRING_BASE. */
struct vhost_user_ring {
    struct vhost_user *owner; /* back-pointer */
    unsigned index;
    uint16_t size;    /* 0: not set */
    uint32_t base;    /* in the ring format's encoding */
    uint32_t left_at; /* where a reset found it, if it was not set up since */
    uint8_t left;
    uint8_t was_started; /* in this session, since the last reset */
    uint8_t has_addr;
    uint8_t has_kick; /* a kick came, with an fd or with the word that there is none */
    uint8_t enabled;
    uint8_t in_band; /* fixed while it runs: notices go over the channel if no fd was given */
    /* The front-end spoke of its call or err fd in this session, if only to say that there is none.
     * It would not understand notices in band. call_given changes only while the queue is held. */
    uint8_t call_given, err_given;
    _Atomic uint8_t notices; /* VHOST_USER_RING_…: due over the channel; or-ed by any thread */
    /* Pages, each with an access: what the ring waits for, as told with its notice; what the
     * front-end was asked for and has not answered; what it does not allow and is to be told of. */
    _Atomic uint64_t missing;
    uint64_t asked, failed;
    struct vhost_user_vring_addr addr;
    int kick_fd; /* owned */
    int call_fd; /* owned; changed only while the queue is held */
    int err_fd;  /* owned */
};

/* Of the guest to its network. */
struct vhost_user_announce {
    unsigned left; /* RARP frames that may be sent at once */
    uint64_t refilled_ns;
    uint8_t due;                    /* the guest came from elsewhere and was not asked yet */
    uint64_t sent, unsent, limited; /* frames; unsent: the endpoint did not take them */
};

enum vhost_user_transfer_verdict {
    VHOST_USER_TRANSFER_NONE, /* nothing was on its way, or it still is */
    VHOST_USER_TRANSFER_DONE,
    VHOST_USER_TRANSFER_FAILED,
};

/* The device's state on its way. */
struct vhost_user_transfer {
    struct loop_source source; /* its fd is owned; -1: nothing is on its way */
    uint32_t direction;
    enum vhost_user_transfer_verdict verdict; /* of the last one, until it was asked for */
    uint8_t *bytes;                           /* owned, while it is on its way */
    size_t len;                               /* all of it, or what has come so far */
    size_t done;                              /* that was sent */
    uint64_t saved, loaded, failed;
};

enum vhost_user_postcopy_stage {
    VHOST_USER_POSTCOPY_NONE,
    VHOST_USER_POSTCOPY_ADVISED,
    VHOST_USER_POSTCOPY_LISTENING,
};

struct vhost_user_postcopy {
    enum vhost_user_postcopy_stage stage;
    int device_fd;             /* owned: /dev/userfaultfd; -1: the system call */
    int uffd;                  /* owned; -1 once memory is registered */
    struct guest_memory *next; /* owned: nobody may touch it yet */
};

struct vhost_user {
    char *path; /* owned */
    enum vhost_user_mode mode;
    enum vhost_user_queue_unit queue_unit;
    struct vhost_user_limits limits;
    uint64_t protocol_features_more; /* offered beside the usual ones */
    struct coordinator *coordinator; /* borrowed */
    struct loop *loop;               /* borrowed */

    struct loop_source listener;   /* its fd is owned; waited for while there is no session */
    int given;                     /* all of this belongs to another process */
    int owns_path;                 /* the socket's file is ours to remove */
    struct loop_source connection; /* the session's socket; -1: no session */
    struct loop_timer again;       /* what waits: to connect, to listen, to be read from */
    struct loop_timer patience;    /* runs while a message has begun and is not whole */
    struct vhost_user_connection peer;
    struct vhost_user_share share; /* outlives a session: who comes and goes takes time too */
    uint8_t away;                  /* the connection is not read from until `again` */

    /* The session. */
    uint64_t features;          /* acked, as on the wire */
    int features_refused;       /* the last SET_FEATURES was */
    uint64_t protocol_features; /* acked */
    struct vhost_user_channel channel;
    struct vhost_user_postcopy postcopy;
    struct guest_memory *memory; /* owned; the coordinator borrows it, or the IOMMU's view of it */
    struct vhost_user_iommu iommu;
    struct vhost_user_ring *ring; /* owned, ring_count of them */
    unsigned ring_count;
    struct dirty_log *log; /* owned; the queues borrow it. NULL: none was shared */
    struct vhost_user_announce announce;
    struct vhost_user_transfer transfer;
    struct nic *left_nic;   /* owned: the device model as a reset found it, until a ring starts */
    struct nic *loaded_nic; /* owned: as it arrived, until the session or its driver ends */
    int log_fd;             /* owned; the log borrows it: signalled when it was written to */
    struct vhost_user_area area;          /* as the front-end gave it, for this session */
    int area_made[VHOST_USER_AREAS_MADE]; /* owned: files of areas that were made here; -1: none */

    struct vhost_user_rings_file rings_file;

    /* For inspect. */
    uint64_t sessions, messages, refused;
    uint64_t partings;        /* front-ends that a takeover left behind */
    struct error parting;     /* why the last one, until it was said; "": nothing is to be said */
    uint64_t memory_refused;  /* regions that were more than the limits allow */
    uint64_t config_changes;  /* that the driver could see */
    uint64_t logs, logs_lost; /* shared; that were truncated while they were used */
    char last_error[ERROR_TEXT_LEN];
    struct log_limit limit;
};

/* ---- vhost_user_requests.c -------------------------------------------------------------- */

/* Handles the whole message that the connection received. -errno: the session must end. */
int vhost_user_handle(struct vhost_user *vhost_user);

/* ---- vhost_user_ring.c ------------------------------------------------------------------ */

void vhost_user_rings_init(struct vhost_user *vhost_user);
/* As after a reset of the device: stopped, not set up. What a front-end says only once stays: its
 * err fds, and how it wants to be called. */
void vhost_user_rings_reset(struct vhost_user *vhost_user);
/* The front-end has gone. */
void vhost_user_rings_forget(struct vhost_user *vhost_user);
/* Starts the ring if it has all it needs and does not run; 0 also when it can't start yet. */
int vhost_user_ring_try_start(struct vhost_user_ring *ring, struct error *err);
void vhost_user_ring_stop(struct vhost_user_ring *ring);
void vhost_user_ring_enable(struct vhost_user_ring *ring, int enabled);
int vhost_user_ring_running(struct vhost_user_ring *ring);
/* The new fd takes the place of the old one, which is closed. Each leaves -1 in *fd. */
void vhost_user_ring_set_call(struct vhost_user_ring *ring, int *fd);
void vhost_user_ring_set_kick(struct vhost_user_ring *ring, int *fd);
void vhost_user_ring_set_err(struct vhost_user_ring *ring, int *fd);
void vhost_user_ring_kick(struct vhost_user_ring *ring);
void vhost_user_ring_broken(struct vhost_user_ring *ring);

/* ---- vhost_user_take.c ----------------------------------------------------------- */

/* -EINVAL and a sentence; what was taken until then is closed with the rest. */
int vhost_user_take_session(struct vhost_user *vhost_user, const struct records *records,
                            struct fd_list *fds, struct error *err);

/* ---- vhost_user.c ---------------------------------------------------------------------- */

/* A session that is no longer, or was not yet, waited for: all that it was is dropped. */
void vhost_user_session_drop(struct vhost_user *vhost_user);

/* ---- vhost_user_memory.c ---------------------------------------------------------------- */

void vhost_user_memory_drop(struct vhost_user *vhost_user);
void vhost_user_memory_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);

/* ---- vhost_user_log.c ------------------------------------------------------------------- */

/* What the ring is to note, by what was agreed and set up so far. */
struct virtqueue_log vhost_user_log_of_ring(const struct vhost_user_ring *ring);
/* A ring that runs, or all of them, go by that; it may have changed. */
void vhost_user_log_update_ring(struct vhost_user_ring *ring);
void vhost_user_log_update(struct vhost_user *vhost_user);
/* -EINVAL and a sentence: the front-end shared a log that has no room for what this ring notes. */
int vhost_user_log_check_ring(const struct vhost_user_ring *ring, struct error *err);
/* A log that was truncated is let go of. */
void vhost_user_log_check(struct vhost_user *vhost_user);
/* It was truncated: counted, and said. */
void vhost_user_log_lost(struct vhost_user *vhost_user);
void vhost_user_log_drop(struct vhost_user *vhost_user);
void vhost_user_log_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);

/* ---- vhost_user_announce.c -------------------------------------------------------------- */

/* The ring has started. */
void vhost_user_announce_ring(struct vhost_user_ring *ring);
/* Asks the driver of a guest that has arrived to announce itself, if it is due and it can be. */
void vhost_user_announce_arrival(struct vhost_user *vhost_user);
void vhost_user_announce_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);

/* ---- vhost_user_state.c ----------------------------------------------------------------- */

/* The session is over. */
void vhost_user_state_cancel(struct vhost_user *vhost_user);
/* Neither what a reset left nor what was loaded counts any more. */
void vhost_user_state_forget(struct vhost_user *vhost_user);
/* Before a reset: what it finds may still be saved. */
void vhost_user_state_leave(struct vhost_user *vhost_user);
/* The ring has started. */
void vhost_user_state_ring(struct vhost_user_ring *ring);
/* 0: a state was loaded, of a driver that agreed to other features. */
int vhost_user_state_is_of(const struct vhost_user *vhost_user, const struct features *features);
/* The session goes on in another process. Taken when the rings are. */
void vhost_user_state_give(const struct vhost_user *vhost_user, struct records_writer *writer,
                           struct fd_list *fds);
int vhost_user_state_take(struct vhost_user *vhost_user, const struct records *records,
                          struct fd_list *fds, struct error *err);
void vhost_user_state_inspect(const struct vhost_user *vhost_user, struct inspect *visitor);

/* ---- vhost_user_postcopy.c -------------------------------------------------------------- */

/* -errno and a sentence: it can't be done on this host. */
int vhost_user_postcopy_open(struct vhost_user_postcopy *postcopy, struct error *err);
void vhost_user_postcopy_close(struct vhost_user_postcopy *postcopy);
/* It is over, or the session is. */
void vhost_user_postcopy_forget(struct vhost_user_postcopy *postcopy);
