/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "nic/saved_state.h"
#include "transport/vhost_user_session.h"

enum {
    ANSWER_MS = 3000,       /* then the channel is given up */
    MESSAGES_IN_A_ROW = 64, /* then others have their turn */
};

struct message {
    struct vhost_user_header header;
    union {
        struct vhost_user_vring_state state;
        uint8_t iotlb[sizeof(struct vhost_user_iotlb)]; /* it would be aligned otherwise */
    };
    unsigned ring; /* whose it is; not on the wire */
};

static void channel_shut(struct vhost_user *vhost_user)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    loop_timer_stop(vhost_user->loop, &channel->patience);
    if (channel->source.fd >= 0)
        loop_remove(vhost_user->loop, &channel->source);
    fd_close(&channel->source.fd);
    channel->awaited = 0;
    channel->answered = 0;
}

static void channel_give_up(struct vhost_user *vhost_user, const char *why)
{
    channel_shut(vhost_user);
    vhost_user->channel.lost++;
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: the front-end's channel for notices is given up: %s",
                    coordinator_name(vhost_user->coordinator), why);
}

/* ---- what to say ------------------------------------------------------------------------ */

/* VU-BR-02: while all rings are stopped, nothing is said. To its front-end a ring that waits for
 * its mappings was started by the kick. */
static int any_ring_runs(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        if (vhost_user_ring_running(ring) || (vhost_user->iommu.agreed && ring->has_kick))
            return 1;
    }
    return 0;
}

int vhost_user_channel_take_notice(struct vhost_user_ring *ring, enum vhost_user_ring_notice notice)
{
    /* Pairs with tell_ring: what the worker did before is done. */
    return (atomic_fetch_and_explicit(&ring->notices, (uint8_t)~notice, memory_order_acquire) &
            notice) != 0;
}

static void message_of_ring(const struct vhost_user *vhost_user, unsigned ring, uint32_t request,
                            struct message *ret_message)
{
    int answer = vhost_user->channel.is_socket &&
                 vhost_user->protocol_features & VHOST_USER_PROTOCOL_REPLY_ACK;

    *ret_message = (struct message){
        .header = {.request = request,
                   .flags = VHOST_USER_VERSION | (answer ? VHOST_USER_NEED_REPLY : 0),
                   .size = sizeof(ret_message->state)},
        .state = {.index = ring},
        .ring = ring,
    };
}

/* What is due for one ring. 0: nothing is. Whoever is asked for a mapping takes its time: that has
 * no answer but the mapping. */
static int ring_next(struct vhost_user *vhost_user, unsigned index, struct message *ret_message)
{
    struct vhost_user_ring *ring = &vhost_user->ring[index];
    struct vhost_user_iotlb iotlb;

    if (vhost_user_channel_take_notice(ring, VHOST_USER_RING_ERR)) {
        message_of_ring(vhost_user, index, VHOST_USER_BACKEND_VRING_ERR, ret_message);
        return 1;
    }
    if (vhost_user_iommu_next(ring, &iotlb)) {
        *ret_message = (struct message){.header = {.request = VHOST_USER_BACKEND_IOTLB_MSG,
                                                   .flags = VHOST_USER_VERSION,
                                                   .size = sizeof(iotlb)},
                                        .ring = index};
        memcpy(ret_message->iotlb, &iotlb, sizeof(iotlb));
        return 1;
    }
    if (!vhost_user_channel_take_notice(ring, VHOST_USER_RING_CALL))
        return 0;
    message_of_ring(vhost_user, index, VHOST_USER_BACKEND_VRING_CALL, ret_message);
    return 1;
}

/* Takes the next thing out of what is due. 0: nothing is. */
static int message_next(struct vhost_user *vhost_user, struct message *ret_message)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    if (channel->config_due && vhost_user->protocol_features & VHOST_USER_PROTOCOL_CONFIG) {
        channel->config_due = 0;
        *ret_message = (struct message){.header = {.request = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
                                                   .flags = VHOST_USER_VERSION}};
        return 1;
    }
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        if (ring_next(vhost_user, channel->next_ring++ % vhost_user->ring_count, ret_message))
            return 1;
    }
    return 0;
}

static void message_give_back(struct vhost_user *vhost_user, const struct message *message)
{
    struct vhost_user_ring *ring = &vhost_user->ring[message->ring];

    if (message->header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG)
        vhost_user->channel.config_due = 1;
    else if (message->header.request == VHOST_USER_BACKEND_IOTLB_MSG)
        vhost_user_iommu_give_back(ring, message->iotlb);
    else if (message->header.request == VHOST_USER_BACKEND_VRING_CALL)
        atomic_fetch_or(&ring->notices, VHOST_USER_RING_CALL);
    else
        atomic_fetch_or(&ring->notices, VHOST_USER_RING_ERR);
}

/* ---- saying it -------------------------------------------------------------------------- */

static int message_send(const struct vhost_user_channel *channel, const struct message *message)
{
    size_t len = sizeof(message->header) + message->header.size;
    ssize_t sent = channel->is_socket
                       ? send(channel->source.fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                       : fd_write_now(channel->source.fd, message, len);

    if (sent < 0)
        return -errno;
    return (size_t)sent == len ? 0 : -EPIPE; /* half of one: nobody could go on from there */
}

static void await_answer(struct vhost_user *vhost_user, uint32_t request)
{
    vhost_user->channel.awaited = request;
    if (request != 0)
        loop_timer_start(vhost_user->loop, &vhost_user->channel.patience,
                         ANSWER_MS * CLOCK_MILLISECOND_NS);
}

static void message_sent(struct vhost_user *vhost_user, const struct message *message)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    if (message->header.request == VHOST_USER_BACKEND_CONFIG_CHANGE_MSG)
        channel->config_notices++;
    else if (message->header.request != VHOST_USER_BACKEND_IOTLB_MSG)
        channel->ring_notices++;
    if (!(message->header.flags & VHOST_USER_NEED_REPLY))
        return;
    channel->answered = 0;
    await_answer(vhost_user, message->header.request);
}

static void channel_watch(struct vhost_user *vhost_user, uint32_t wanted)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    if (channel->source.fd < 0 || channel->watched == wanted)
        return;
    if (loop_modify(vhost_user->loop, &channel->source, wanted) == 0)
        channel->watched = wanted;
}

void vhost_user_channel_look(struct vhost_user *vhost_user)
{
    struct vhost_user_channel *channel = &vhost_user->channel;
    struct message message;

    if (vhost_user->given) /* nothing is said before the session is ours */
        return;
    for (unsigned i = 0; i < MESSAGES_IN_A_ROW; i++) {
        int result;

        if (channel->source.fd < 0)
            vhost_user_iommu_unheard(vhost_user);
        if (channel->source.fd < 0 || channel->awaited != 0 || !any_ring_runs(vhost_user) ||
            !message_next(vhost_user, &message)) {
            channel_watch(vhost_user, channel->awaited != 0 ? EPOLLIN : 0);
            return;
        }
        result = message_send(channel, &message);
        if (result == 0) {
            message_sent(vhost_user, &message);
            continue;
        }
        message_give_back(vhost_user, &message);
        if (result != -EAGAIN) {
            channel_give_up(vhost_user, strerror(-result));
            return;
        }
        break;
    }
    channel_watch(vhost_user, EPOLLOUT);
}

void vhost_user_channel_tell_config(struct vhost_user *vhost_user)
{
    vhost_user->channel.config_due = 1;
    vhost_user_channel_look(vhost_user);
}

/* Pairs with take_notice. Whoever finds the notice there already knows that it will be looked at.
 */
void vhost_user_channel_tell_ring(struct vhost_user_ring *ring, enum vhost_user_ring_notice notice)
{
    uint8_t before =
        atomic_fetch_or_explicit(&ring->notices, (uint8_t)notice, memory_order_release);

    if (!(before & notice))
        event_bits_raise(&ring->owner->channel.due, 1);
}

/* ---- answers ---------------------------------------------------------------------------- */

/* NULL: all is well so far. */
static const char *answer_receive(struct vhost_user_channel *channel)
{
    struct vhost_user_header header;
    ssize_t len = recv(channel->source.fd, channel->answer + channel->answered,
                       sizeof(channel->answer) - channel->answered, MSG_DONTWAIT);

    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? NULL : strerror(errno);
    if (len == 0)
        return "it was closed";
    channel->answered += (size_t)len;
    if (channel->answered < sizeof(channel->answer))
        return NULL;
    memcpy(&header, channel->answer, sizeof(header));
    if (header.request != channel->awaited || header.size != sizeof(uint64_t) ||
        header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY))
        return "what came is not the answer";
    channel->awaited = 0;
    return NULL;
}

static void channel_ready(struct loop_source *source, uint32_t events)
{
    struct vhost_user *vhost_user = CONTAINER_OF(source, struct vhost_user, channel.source);
    const char *wrong = NULL;

    if (vhost_user->channel.awaited != 0 && events & EPOLLIN)
        wrong = answer_receive(&vhost_user->channel);
    else if (events & (EPOLLHUP | EPOLLERR))
        wrong = "it was closed";
    if (wrong != NULL) {
        channel_give_up(vhost_user, wrong);
        return;
    }
    if (vhost_user->channel.awaited == 0)
        loop_timer_stop(vhost_user->loop, &vhost_user->channel.patience);
    vhost_user_channel_look(vhost_user);
}

static void patience_ends(struct loop_timer *timer)
{
    struct vhost_user *vhost_user = CONTAINER_OF(timer, struct vhost_user, channel.patience);

    channel_give_up(vhost_user, "no answer came in time");
}

static void due_ready(struct loop_source *source, uint32_t events)
{
    struct vhost_user *vhost_user = CONTAINER_OF(source, struct vhost_user, channel.due_source);

    (void)events;
    event_bits_take(&vhost_user->channel.due);
    vhost_user_channel_look(vhost_user);
}

/* ---- life ------------------------------------------------------------------------------- */

void vhost_user_channel_init(struct vhost_user *vhost_user)
{
    vhost_user->channel = (struct vhost_user_channel){
        .source = {.fd = -1, .ready = channel_ready},
        .due.fd = -1,
        .due_source = {.fd = -1, .ready = due_ready},
        .patience.fire = patience_ends,
    };
}

void vhost_user_channel_close(struct vhost_user *vhost_user)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    channel_shut(vhost_user);
    channel->config_due = 0;
    if (channel->due_source.fd >= 0)
        loop_remove(vhost_user->loop, &channel->due_source);
    channel->due_source.fd = -1;
    event_bits_free(&channel->due);
}

int vhost_user_channel_open(struct vhost_user *vhost_user, int *fd, struct error *err)
{
    struct vhost_user_channel *channel = &vhost_user->channel;
    int type = fd_type(*fd);

    if (type != S_IFSOCK && type != S_IFIFO)
        return error_set(err, EINVAL, "a back-end channel is a socket or a pipe");
    channel_shut(vhost_user);
    channel->is_socket = type == S_IFSOCK;
    channel->source.fd = fd_take(fd);
    channel->watched = 0;
    if (loop_add(vhost_user->loop, &channel->source, 0) < 0) {
        fd_close(&channel->source.fd);
        return error_set(err, EINVAL, "the back-end channel can't be waited for");
    }
    vhost_user_iommu_ask_again(vhost_user);
    vhost_user_channel_look(vhost_user);
    return 0;
}

int vhost_user_channel_prepare(struct vhost_user *vhost_user, struct error *err)
{
    struct vhost_user_channel *channel = &vhost_user->channel;

    if (channel->due.fd >= 0)
        return 0;
    if (event_bits_init(&channel->due) < 0)
        return error_set(err, EMFILE, "no eventfd for notices in band");
    channel->due_source.fd = channel->due.fd;
    if (loop_add(vhost_user->loop, &channel->due_source, EPOLLIN) == 0)
        return 0;
    channel->due_source.fd = -1;
    event_bits_free(&channel->due);
    return error_set(err, ENOMEM, "no room for notices in band");
}

/* ---- the session goes on in another process ------------------------------------------------ */

/* What a ring waits for it will miss again. */
enum {
    NOTICES_GIVEN = VHOST_USER_RING_CALL | VHOST_USER_RING_ERR
};

/* A build that does not know of notices in band would leave rings silent. */
void vhost_user_channel_give(const struct vhost_user *vhost_user, struct records_writer *writer)
{
    const struct vhost_user_channel *channel = &vhost_user->channel;
    size_t answered = channel->awaited != 0 ? channel->answered : 0;

    records_open(writer, SAVED_CHANNEL, channel->due.fd >= 0 ? RECORD_MANDATORY : RECORD_OPTIONAL);
    records_put_u64(writer, channel->ring_notices);
    records_put_u64(writer, channel->lost);
    records_put_u32(writer, channel->awaited);
    records_put_u8(writer, (uint8_t)answered);
    records_put_bytes(writer, channel->answer, answered);
    records_put_u8(writer, channel->due.fd >= 0);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        const struct vhost_user_ring *ring = &vhost_user->ring[i];

        records_put_u8(writer, ring->call_given);
        records_put_u8(writer, ring->err_given);
        records_put_u8(writer,
                       atomic_load_explicit(&ring->notices, memory_order_acquire) & NOTICES_GIVEN);
    }
    records_close(writer);
}

int vhost_user_channel_take(struct vhost_user *vhost_user, const struct records *records,
                            struct error *err)
{
    struct vhost_user_channel *channel = &vhost_user->channel;
    struct record_reader reader;
    uint32_t awaited;
    int result = 0;

    if (!records_find(records, SAVED_CHANNEL, &reader))
        return 0;
    channel->ring_notices = record_take_u64(&reader);
    channel->lost = record_take_u64(&reader);
    awaited = record_take_u32(&reader);
    channel->answered = record_take_u8(&reader);
    if (channel->answered >= sizeof(channel->answer) || (awaited != 0 && channel->source.fd < 0))
        return saved_refuse(SAVED_CHANNEL, "malformed", err);
    record_take_bytes(&reader, channel->answer, channel->answered);
    if (record_take_u8(&reader) != 0)
        result = vhost_user_channel_prepare(vhost_user, err);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        struct vhost_user_ring *ring = &vhost_user->ring[i];

        ring->call_given = record_take_u8(&reader) != 0;
        ring->err_given = record_take_u8(&reader) != 0;
        atomic_fetch_or(&ring->notices, record_take_u8(&reader) & NOTICES_GIVEN);
    }
    if (result == 0 && !record_is_done(&reader))
        result = saved_refuse(SAVED_CHANNEL, "malformed", err);
    if (result == 0)
        await_answer(vhost_user, awaited);
    return result;
}
