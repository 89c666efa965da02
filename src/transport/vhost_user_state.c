/* SPDX-License-Identifier: MIT */
/*
 * The card's own state on its way to another back-end, or from one (DEVICE_STATE): what the
 * driver's commands have set, and the counters, as records (nic/saved_state.h). Where rings stand
 * goes another way, by the front-end.
 *
 * It travels through a pipe whose other end is the front-end's or another machine's. That may take
 * its time or never be heard of again: the pipe is a source of the control loop, what comes has a
 * longest length, and the end of the session is the end of it.
 */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"
#include "nic/saved_state.h"

enum {
    DIRECTION_SAVE = 0,
    DIRECTION_LOAD = 1,
    PHASE_STOPPED = 0,
    NO_FD_BACK = 0x100, /* in the answer: the front-end's own pipe is used */
};

static struct vhost_user *owner_of(struct vhost_user_transfer *transfer)
{
    return CONTAINER_OF(transfer, struct vhost_user, transfer);
}

static void transfer_close(struct vhost_user_transfer *transfer)
{
    if (transfer->source.fd < 0)
        return;
    loop_remove(owner_of(transfer)->loop, &transfer->source);
    fd_close(&transfer->source.fd);
    free(transfer->bytes);
    transfer->bytes = NULL;
}

static void transfer_end(struct vhost_user_transfer *transfer, int result, const struct error *err)
{
    struct vhost_user *vhost_user = owner_of(transfer);
    uint64_t *counted;

    transfer_close(transfer);
    transfer->verdict = result == 0 ? VHOST_USER_TRANSFER_DONE : VHOST_USER_TRANSFER_FAILED;
    if (result == 0) {
        counted = transfer->direction == DIRECTION_SAVE ? &transfer->saved : &transfer->loaded;
        (*counted)++;
        return;
    }
    transfer->failed++;
    memcpy(vhost_user->last_error, err->text, sizeof(vhost_user->last_error));
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: device state: %s", coordinator_name(vhost_user->coordinator), err->text);
}

/* The peer shares the open file, and may make it blocking again at any time. So it is asked first,
 * and gets no more than a pipe has room for that says so; where the kernel knows how, it is told
 * not to wait as well. */
static ssize_t move_some(struct vhost_user_transfer *transfer, struct iovec *iov)
{
    int saves = transfer->direction == DIRECTION_SAVE;
    struct pollfd ready = {.fd = transfer->source.fd, .events = saves ? POLLOUT : POLLIN};
    ssize_t moved;

    if (poll(&ready, 1, 0) != 1)
        return -EAGAIN;
    iov->iov_len = MIN(iov->iov_len, (size_t)PIPE_BUF);
    moved = saves ? pwritev2(ready.fd, iov, 1, -1, RWF_NOWAIT)
                  : preadv2(ready.fd, iov, 1, -1, RWF_NOWAIT);
    if (moved < 0 && errno == EOPNOTSUPP)
        moved = saves ? writev(ready.fd, iov, 1) : readv(ready.fd, iov, 1);
    return moved < 0 ? -errno : moved;
}

/* ---- out ---------------------------------------------------------------------------------- */

static void save_some(struct vhost_user_transfer *transfer)
{
    struct error err;

    while (transfer->done < transfer->len) {
        struct iovec iov = {.iov_base = transfer->bytes + transfer->done,
                            .iov_len = transfer->len - transfer->done};
        ssize_t moved = move_some(transfer, &iov);

        if (moved == -EAGAIN || moved == -EINTR)
            return;
        if (moved < 0) {
            error_set(&err, (int)-moved, "it can't be sent: %s", strerror((int)-moved));
            transfer_end(transfer, -EIO, &err);
            return;
        }
        transfer->done += (size_t)moved;
    }
    transfer_end(transfer, 0, NULL);
}

/* QEMU 7.2's order, status 0 before all else, would leave nothing to save. */
static int save_begin(struct vhost_user *vhost_user, struct error *err)
{
    const struct nic *nic = vhost_user->left_nic != NULL ? vhost_user->left_nic
                                                         : coordinator_nic(vhost_user->coordinator);
    struct vhost_user_transfer *transfer = &vhost_user->transfer;
    struct records_writer writer;
    int result;

    records_begin(&writer);
    saved_nic_write(&writer, nic);
    coordinator_save_stats(vhost_user->coordinator, &writer);
    result = records_end(&writer, &transfer->bytes, &transfer->len);
    return result == 0 ? 0 : error_set(err, -result, "out of memory");
}

/* ---- in ----------------------------------------------------------------------------------- */

static int any_ring_runs(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (vhost_user_ring_running(&vhost_user->ring[i]))
            return 1;
    }
    return 0;
}

/* The status is the front-end's to say, but for the bit that is ours. */
static int state_take(struct vhost_user *vhost_user, const struct records *records,
                      struct nic *next, struct error *err)
{
    const struct nic *nic = coordinator_nic(vhost_user->coordinator);
    int result;

    if (any_ring_runs(vhost_user))
        return error_set(err, EBUSY, "rings were started before it was whole");
    result = saved_nic_read(records, nic, next, err);
    if (result < 0)
        return result;
    next->status = (uint8_t)(nic->status | (next->status & NIC_STATUS_NEEDS_RESET));
    return coordinator_restore(vhost_user->coordinator, next, records, err);
}

static int state_load(struct vhost_user *vhost_user, const uint8_t *bytes, size_t len,
                      struct error *err)
{
    struct nic *next = malloc(sizeof(*next));
    struct records records;
    int result;

    if (next == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = records_parse(&records, bytes, len, SAVED_TAGS_OF_NIC, err);
    if (result == 0)
        result = state_take(vhost_user, &records, next, err);
    if (result < 0) {
        free(next);
        return result;
    }
    vhost_user_state_forget(vhost_user);
    vhost_user->loaded_nic = next;
    vhost_user->announce.due = 1;
    coordinator_restored(vhost_user->coordinator, next);
    return 0;
}

static void load_some(struct vhost_user_transfer *transfer)
{
    struct error err;
    ssize_t moved;
    int result;

    do {
        struct iovec iov = {.iov_base = transfer->bytes + transfer->len,
                            .iov_len = RECORDS_LEN_MAX + 1 - transfer->len};

        moved = move_some(transfer, &iov);
        if (moved > 0)
            transfer->len += (size_t)moved;
    } while (moved > 0 && transfer->len <= RECORDS_LEN_MAX);
    if (moved == -EAGAIN || moved == -EINTR)
        return;
    if (transfer->len > RECORDS_LEN_MAX)
        result = error_set(&err, EFBIG, "it is longer than %d bytes", RECORDS_LEN_MAX);
    else if (moved < 0)
        result = error_set(&err, (int)-moved, "it can't be read: %s", strerror((int)-moved));
    else
        result = state_load(owner_of(transfer), transfer->bytes, transfer->len, &err);
    transfer_end(transfer, result, &err);
}

/* ---- requests ----------------------------------------------------------------------------- */

static void transfer_ready(struct loop_source *source, uint32_t events)
{
    struct vhost_user_transfer *transfer = CONTAINER_OF(source, struct vhost_user_transfer, source);

    (void)events;
    if (transfer->direction == DIRECTION_SAVE)
        save_some(transfer);
    else
        load_some(transfer);
}

static int request_check(struct vhost_user_call *call)
{
    const struct vhost_user_device_state *request = &call->payload->device_state;
    struct vhost_user *vhost_user = call->vhost_user;

    if (!(vhost_user->protocol_features & VHOST_USER_PROTOCOL_DEVICE_STATE))
        return error_set(call->err, EINVAL, "the protocol feature DEVICE_STATE was not agreed on");
    if (request->direction > DIRECTION_LOAD || request->phase != PHASE_STOPPED)
        return error_set(call->err, EINVAL, "direction %u in phase %u is not known here",
                         request->direction, request->phase);
    if (vhost_user->peer.message.fd_count != 1)
        return error_set(call->err, EINVAL, "%u file descriptors came, not 1",
                         vhost_user->peer.message.fd_count);
    if (vhost_user->transfer.source.fd >= 0)
        return error_set(call->err, EBUSY, "the state is on its way already");
    if (any_ring_runs(vhost_user))
        return error_set(call->err, EBUSY, "all rings have to be stopped first");
    if (!fd_is_bell(vhost_user->peer.message.fd[0]))
        return error_set(call->err, EINVAL, "its fd is no pipe or socket");
    return 0;
}

static int transfer_begin(struct vhost_user_call *call)
{
    struct vhost_user *vhost_user = call->vhost_user;
    struct vhost_user_transfer *transfer = &vhost_user->transfer;
    int saves = call->payload->device_state.direction == DIRECTION_SAVE;
    int result = 0;

    transfer->done = transfer->len = 0;
    transfer->direction = saves ? DIRECTION_SAVE : DIRECTION_LOAD;
    if (saves)
        result = save_begin(vhost_user, call->err);
    else
        transfer->bytes = malloc(RECORDS_LEN_MAX + 1);
    if (result < 0 || transfer->bytes == NULL)
        return error_set(call->err, ENOMEM, "out of memory");
    transfer->source =
        (struct loop_source){.fd = vhost_user->peer.message.fd[0], .ready = transfer_ready};
    fd_set_nonblocking(transfer->source.fd);
    if (loop_add(vhost_user->loop, &transfer->source, saves ? EPOLLOUT : EPOLLIN) < 0) {
        transfer->source.fd = -1;
        free(transfer->bytes);
        transfer->bytes = NULL;
        return error_set(call->err, EINVAL, "its fd is no pipe or socket");
    }
    vhost_user->peer.message.fd[0] = -1;
    transfer->verdict = VHOST_USER_TRANSFER_NONE;
    return 0;
}

int vhost_user_set_device_state_fd(struct vhost_user_call *call)
{
    int result = request_check(call);

    if (result == 0)
        result = transfer_begin(call);
    return result == 0 ? vhost_user_reply_u64(call, NO_FD_BACK) : result;
}

/* The front-end asks when its end of the pipe is closed: all there is to come has come. */
int vhost_user_check_device_state(struct vhost_user_call *call)
{
    struct vhost_user_transfer *transfer = &call->vhost_user->transfer;
    enum vhost_user_transfer_verdict verdict;

    if (!(call->vhost_user->protocol_features & VHOST_USER_PROTOCOL_DEVICE_STATE))
        return error_set(call->err, EINVAL, "the protocol feature DEVICE_STATE was not agreed on");
    if (transfer->source.fd >= 0)
        transfer_ready(&transfer->source, 0);
    if (transfer->source.fd >= 0) {
        transfer_close(transfer);
        transfer->failed++;
        return error_set(call->err, EAGAIN, "the state has not come to its end; it is given up");
    }
    verdict = transfer->verdict;
    transfer->verdict = VHOST_USER_TRANSFER_NONE;
    if (verdict == VHOST_USER_TRANSFER_DONE)
        return vhost_user_reply_u64(call, 0);
    return error_set(call->err, EINVAL, "%s",
                     verdict == VHOST_USER_TRANSFER_FAILED ? call->vhost_user->last_error
                                                           : "no state was on its way");
}

/* ---- the session's other doings ----------------------------------------------------------- */

void vhost_user_state_cancel(struct vhost_user *vhost_user)
{
    transfer_close(&vhost_user->transfer);
    vhost_user->transfer.verdict = VHOST_USER_TRANSFER_NONE;
    vhost_user_state_forget(vhost_user);
}

void vhost_user_state_forget(struct vhost_user *vhost_user)
{
    free(vhost_user->left_nic);
    free(vhost_user->loaded_nic);
    vhost_user->left_nic = vhost_user->loaded_nic = NULL;
    vhost_user->announce.due = 0;
}

void vhost_user_state_leave(struct vhost_user *vhost_user)
{
    const struct nic *nic = coordinator_nic(vhost_user->coordinator);
    static const struct features none;

    if (features_equal(&nic->agreed, &none))
        return; /* another reset: what the first one left still counts */
    vhost_user_state_forget(vhost_user);
    vhost_user->left_nic = malloc(sizeof(*nic));
    if (vhost_user->left_nic != NULL)
        *vhost_user->left_nic = *nic;
}

void vhost_user_state_ring(struct vhost_user_ring *ring)
{
    struct vhost_user *vhost_user = ring->owner;

    free(vhost_user->left_nic);
    vhost_user->left_nic = NULL;
    if (vhost_user->loaded_nic != NULL && !ring->was_started)
        coordinator_restore_queue(vhost_user->coordinator, ring->index, vhost_user->loaded_nic);
}

int vhost_user_state_is_of(const struct vhost_user *vhost_user, const struct features *features)
{
    return vhost_user->loaded_nic == NULL ||
           features_equal(features, &vhost_user->loaded_nic->agreed);
}

void vhost_user_state_inspect(const struct vhost_user *vhost_user, struct inspect *visitor)
{
    inspect_enter(visitor, "device_state");
    inspect_number(visitor, "saved", vhost_user->transfer.saved);
    inspect_number(visitor, "loaded", vhost_user->transfer.loaded);
    inspect_number(visitor, "failed", vhost_user->transfer.failed);
    inspect_leave(visitor);
}

/* ---- the session goes on in another process ------------------------------------------------ */

static void nic_write(const struct nic *nic, enum saved_tag tag, struct records_writer *writer)
{
    struct records_writer inner;
    uint8_t *block;
    size_t len;

    if (nic == NULL)
        return;
    records_begin(&inner);
    saved_nic_write(&inner, nic);
    if (records_end(&inner, &block, &len) < 0) {
        writer->failed = 1;
        return;
    }
    records_open(writer, tag, RECORD_OPTIONAL);
    records_put_bytes(writer, block, len);
    records_close(writer);
    free(block);
}

static void transfer_write(const struct vhost_user_transfer *transfer,
                           struct records_writer *writer, struct fd_list *fds)
{
    int on_its_way = transfer->source.fd >= 0;
    size_t len = on_its_way ? transfer->len : 0;

    records_open(writer, SAVED_TRANSFER, RECORD_OPTIONAL);
    records_put_u64(writer, transfer->saved);
    records_put_u64(writer, transfer->loaded);
    records_put_u64(writer, transfer->failed);
    records_put_u8(writer, transfer->verdict);
    records_put_u8(writer, transfer->direction == DIRECTION_LOAD);
    records_put_u16(writer, fd_list_add(fds, transfer->source.fd));
    records_put_u32(writer, on_its_way ? (uint32_t)transfer->done : 0);
    records_put_u32(writer, (uint32_t)len);
    if (len != 0)
        records_put_bytes(writer, transfer->bytes, len);
    records_close(writer);
}

void vhost_user_state_give(const struct vhost_user *vhost_user, struct records_writer *writer,
                           struct fd_list *fds)
{
    transfer_write(&vhost_user->transfer, writer, fds);
    nic_write(vhost_user->left_nic, SAVED_LEFT, writer);
    nic_write(vhost_user->loaded_nic, SAVED_LOADED, writer);
}

/* NULL and 0: there is none. -EINVAL: it is not of this card. */
static int nic_read(struct vhost_user *vhost_user, enum saved_tag tag,
                    const struct records *records, struct nic **ret_nic, struct error *err)
{
    struct record_reader reader;
    struct records inner;
    int result;

    if (!records_find(records, tag, &reader))
        return 0;
    *ret_nic = malloc(sizeof(**ret_nic));
    if (*ret_nic == NULL)
        return error_set(err, ENOMEM, "out of memory");
    result = records_parse(&inner, reader.at, reader.left, SAVED_TAGS_OF_NIC, err);
    if (result == 0)
        result = saved_nic_read(&inner, coordinator_nic(vhost_user->coordinator), *ret_nic, err);
    if (result == 0)
        return 0;
    free(*ret_nic);
    *ret_nic = NULL;
    return result;
}

/* The reader is at what came of it so far, or is to be sent. The fd is taken in any case. */
static int transfer_go_on(struct vhost_user *vhost_user, struct record_reader *reader, int fd,
                          struct error *err)
{
    struct vhost_user_transfer *transfer = &vhost_user->transfer;
    int saves = transfer->direction == DIRECTION_SAVE;
    int result = 0;

    transfer->source = (struct loop_source){.fd = fd, .ready = transfer_ready};
    transfer->bytes = malloc(RECORDS_LEN_MAX + 1);
    if (transfer->bytes == NULL)
        result = error_set(err, ENOMEM, "out of memory");
    else if (loop_add(vhost_user->loop, &transfer->source, saves ? EPOLLOUT : EPOLLIN) < 0)
        result = saved_refuse(SAVED_TRANSFER, "its fd can't be waited for", err);
    if (result == 0) {
        record_take_bytes(reader, transfer->bytes, transfer->len);
        return 0;
    }
    fd_close(&transfer->source.fd);
    free(transfer->bytes);
    transfer->bytes = NULL;
    return result;
}

static int transfer_read(struct vhost_user *vhost_user, const struct records *records,
                         struct fd_list *fds, struct error *err)
{
    struct vhost_user_transfer *transfer = &vhost_user->transfer;
    struct record_reader reader;
    unsigned verdict, direction;
    int result = 0;
    int fd = -1;

    if (!records_find(records, SAVED_TRANSFER, &reader))
        return 0;
    transfer->saved = record_take_u64(&reader);
    transfer->loaded = record_take_u64(&reader);
    transfer->failed = record_take_u64(&reader);
    verdict = record_take_u8(&reader);
    direction = record_take_u8(&reader);
    if (fd_list_take(fds, record_take_u16(&reader), &fd) < 0)
        return saved_refuse(SAVED_TRANSFER, "malformed", err);
    transfer->done = record_take_u32(&reader);
    transfer->len = record_take_u32(&reader);
    transfer->verdict = (enum vhost_user_transfer_verdict)verdict;
    transfer->direction = direction;
    if (verdict > VHOST_USER_TRANSFER_FAILED || direction > DIRECTION_LOAD ||
        transfer->len > RECORDS_LEN_MAX || transfer->done > transfer->len) {
        fd_close(&fd);
        return saved_refuse(SAVED_TRANSFER, "malformed", err);
    }
    if (verdict == VHOST_USER_TRANSFER_FAILED)
        snprintf(vhost_user->last_error, sizeof(vhost_user->last_error),
                 "device state: it failed in the daemon before");
    if (fd >= 0)
        result = transfer_go_on(vhost_user, &reader, fd, err);
    if (result == 0 && !record_is_done(&reader))
        result = saved_refuse(SAVED_TRANSFER, "malformed", err);
    return result;
}

int vhost_user_state_take(struct vhost_user *vhost_user, const struct records *records,
                          struct fd_list *fds, struct error *err)
{
    int result = transfer_read(vhost_user, records, fds, err);

    /* What a reset left of a card that is another one now would help nobody. */
    if (result == 0 &&
        nic_read(vhost_user, SAVED_LEFT, records, &vhost_user->left_nic, NULL) == -ENOMEM)
        result = error_set(err, ENOMEM, "out of memory");
    if (result == 0)
        result = nic_read(vhost_user, SAVED_LOADED, records, &vhost_user->loaded_nic, err);
    return result;
}
