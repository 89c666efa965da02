/* SPDX-License-Identifier: MIT */
#include "endpoint/user/network.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/checksum.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/span_copy.h"
#include "endpoint/user/opening.h"

/* ---- towards the guest ------------------------------------------------------------------ */

/* 0: the frame is done. -EAGAIN: no room yet. */
static int network_deliver(struct user *user, const void *bytes, uint32_t len)
{
    struct segments_frame described;

    segments_give(&user->segments, bytes, len, &described);
    if (user->rx->ops->deliver(user->rx, &described.frame, 1) == 0)
        return -EAGAIN;
    user->budget--;
    user->delivered++;
    return 0;
}

static void network_keep(struct user *user, const void *bytes, uint32_t len)
{
    if (backlog_push(&user->backlog, bytes, len) < 0)
        counter_add(&user->rx_dropped_backlog, 1);
    else
        counter_add(&user->rx_backlogged, 1);
}

static void network_pass(struct user *user, const void *bytes, uint32_t len)
{
    if (user->backlog.count > 0 || user->budget == 0 || network_deliver(user, bytes, len) < 0)
        network_keep(user, bytes, len);
}

static void network_pass_fragments(struct user *user, const void *bytes, uint32_t len)
{
    uint32_t part = segments_fragment(&user->segments, bytes, len, 0, user->fragment);

    for (unsigned i = 1; part != 0; i++) {
        network_pass(user, user->fragment, part);
        part = segments_fragment(&user->segments, bytes, len, i, user->fragment);
    }
}

static ssize_t network_send_packet(const void *bytes, size_t len, void *opaque)
{
    struct user *user = opaque;

    if (user->rx == NULL || len < FRAME_LEN_MIN || len > FRAME_LEN_MAX)
        counter_add(&user->rx_dropped_backlog, 1);
    else if (segments_too_large(&user->segments, bytes, (uint32_t)len))
        network_pass_fragments(user, bytes, (uint32_t)len);
    else
        network_pass(user, bytes, (uint32_t)len);
    return (ssize_t)len;
}

static void network_flush_backlog(struct user *user)
{
    const void *frame;
    uint32_t len;

    while (user->budget > 0 && (frame = backlog_peek(&user->backlog, &len)) != NULL) {
        if (network_deliver(user, frame, len) < 0)
            return;
        backlog_pop(&user->backlog);
    }
}

/* ---- out of files --------------------------------------------------------------------------

 * A listening socket stays ready while no file is left for its connection, and libslirp does not
 * tell: who polls it spins.
 */

enum {
    IDLE_POLLS = 64, /* in a row, before files are looked at */
    REST_NS = 100000000,
};

static int files_have_run_out(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return 1;
    fd_close(&fd);
    return 0;
}

/* Behind a poll: `delivered` says whether something came of it. */
static void network_judge_poll(struct user *user)
{
    if (user->pollset.ready_count == 0 || user->delivered != 0) {
        user->idle_polls = 0;
        return;
    }
    if (++user->idle_polls < IDLE_POLLS)
        return;
    user->idle_polls = 0;
    if (!files_have_run_out())
        return;
    counter_add(&user->out_of_files, 1);
    pollset_rest(&user->pollset);
    user->rest_until_ns = clock_now_ns() + REST_NS;
}

static void network_rouse(struct user *user, uint64_t now)
{
    if (user->rest_until_ns == 0)
        return;
    if (now >= user->rest_until_ns) {
        user->rest_until_ns = 0;
        pollset_rouse(&user->pollset);
        return;
    }
    pollset_alarm(&user->pollset, user->rest_until_ns);
}

/* ---- libslirp's other callbacks --------------------------------------------------------- */

static void network_guest_error(const char *message, void *opaque)
{
    struct user *user = opaque;

    (void)message;
    counter_add(&user->guest_errors, 1);
}

static int64_t network_clock(void *opaque)
{
    (void)opaque;
    return (int64_t)clock_now_ns();
}

static void *network_timer_new(SlirpTimerId id, void *cookie, void *opaque)
{
    struct user *user = opaque;

    user->timer[id].cookie = cookie;
    return &user->timer[id];
}

static void network_timer_free(void *timer, void *opaque)
{
    (void)opaque;
    ((struct user_timer *)timer)->armed = 0;
}

static void network_timer_set(void *timer_opaque, int64_t expire_ms, void *opaque)
{
    struct user_timer *timer = timer_opaque;
    struct user *user = opaque;

    timer->armed = 1;
    timer->expire_ms = expire_ms;
    pollset_alarm(&user->pollset, (uint64_t)expire_ms * CLOCK_MILLISECOND_NS);
}

static void network_socket_opened(int fd, void *opaque)
{
    pollset_opened(&((struct user *)opaque)->pollset, fd);
}

static void network_socket_closed(int fd, void *opaque)
{
    pollset_closed(&((struct user *)opaque)->pollset, fd);
}

/* Data for a guestfwd was taken: there is no guestfwd. */
static void network_notify(void *opaque)
{
    (void)opaque;
}

static const SlirpCb network_callbacks = {
    .send_packet = network_send_packet,
    .guest_error = network_guest_error,
    .clock_get_ns = network_clock,
    .timer_free = network_timer_free,
    .timer_mod = network_timer_set,
    .register_poll_fd = network_socket_opened,
    .unregister_poll_fd = network_socket_closed,
    .notify = network_notify,
    .timer_new_opaque = network_timer_new,
};

/* ---- waiting ---------------------------------------------------------------------------- */

static const struct {
    int slirp;
    uint32_t epoll;
} network_poll_bits[] = {
    {SLIRP_POLL_IN, EPOLLIN},   {SLIRP_POLL_OUT, EPOLLOUT}, {SLIRP_POLL_PRI, EPOLLPRI},
    {SLIRP_POLL_ERR, EPOLLERR}, {SLIRP_POLL_HUP, EPOLLHUP},
};

static int network_add_poll(int fd, int events, void *opaque)
{
    struct user *user = opaque;
    uint32_t wanted = 0;

    for (unsigned i = 0; i < ARRAY_COUNT(network_poll_bits); i++) {
        if ((events & network_poll_bits[i].slirp) != 0)
            wanted |= network_poll_bits[i].epoll;
    }
    return pollset_wish(&user->pollset, fd, wanted) < 0 ? -1 : fd;
}

static int network_is_full(const struct user *user)
{
    return counter_get(&user->pollset.open_count) >= user->config.sockets_max;
}

/* A connection to a hostfwd= port that would be one too many ends at once; 0: it is none. */
static int network_turn_away(struct user *user, int fd)
{
    static const struct linger at_once = {.l_onoff = 1};
    int listens = 0, connection;
    socklen_t len = sizeof(listens);

    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
        return 0;
    connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (connection < 0)
        return 1;
    setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(connection);
    counter_add(&user->turned_away, 1);
    return 1;
}

static int network_get_revents(int fd, void *opaque)
{
    struct user *user = opaque;
    uint32_t ready = pollset_ready(&user->pollset, fd);
    int events = 0;

    if (ready != 0 && network_is_full(user) && network_turn_away(user, fd))
        return 0;
    for (unsigned i = 0; ready != 0 && i < ARRAY_COUNT(network_poll_bits); i++) {
        if ((ready & network_poll_bits[i].epoll) != 0)
            events |= network_poll_bits[i].slirp;
    }
    return events;
}

/* Makes the pollset say what libslirp, its timers and the backlog wait for from now on. */
static void network_arm(struct user *user)
{
    uint32_t timeout_ms = UINT32_MAX;
    uint64_t now = clock_now_ns();

    if (user->backlog.count > 0) {
        pollset_alarm(&user->pollset, now);
        return;
    }
    network_rouse(user, now);
    pollset_begin(&user->pollset);
    slirp_pollfds_fill(user->slirp, &timeout_ms, network_add_poll, user);
    pollset_end(&user->pollset);
    pollset_alarm(&user->pollset, now + timeout_ms * CLOCK_MILLISECOND_NS);
    for (unsigned i = 0; i < SLIRP_TIMER_NUM; i++) {
        if (user->timer[i].armed)
            pollset_alarm(&user->pollset,
                          (uint64_t)user->timer[i].expire_ms * CLOCK_MILLISECOND_NS);
    }
}

static void network_fire_timers(struct user *user)
{
    int64_t now_ms = (int64_t)(clock_now_ns() / CLOCK_MILLISECOND_NS);

    for (unsigned i = 0; i < SLIRP_TIMER_NUM; i++) {
        struct user_timer *timer = &user->timer[i];

        if (!timer->armed || timer->expire_ms > now_ms)
            continue;
        timer->armed = 0;
        slirp_handle_timer(user->slirp, (SlirpTimerId)i, timer->cookie);
    }
}

/* libslirp writes to its sockets without MSG_NOSIGNAL. The signal of a broken connection goes to
 * the writing thread, and is of no interest there. */
static void network_block_sigpipe(void)
{
    static _Thread_local int blocked;
    sigset_t set;

    if (blocked)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    blocked = 1;
}

static void network_enter(struct user *user, unsigned budget)
{
    network_block_sigpipe();
    user->rx = user->queue.rx;
    user->budget = budget;
    user->delivered = 0;
}

static void network_leave(struct user *user)
{
    network_arm(user);
    user->rx = NULL;
}

/* ---- the data path ---------------------------------------------------------------------- */

/* Answers to ARP and to neighbour discovery release packets that libslirp sends only when it is
 * polled. */
static int network_frame_releases_others(const uint8_t *frame, uint32_t len)
{
    static const uint8_t arp[2] = {0x08, 0x06}, ipv6[2] = {0x86, 0xdd};

    return memcmp(frame + 12, arp, 2) == 0 ||
           (memcmp(frame + 12, ipv6, 2) == 0 && len > 20 && frame[20] == IPPROTO_ICMPV6);
}

/* In one piece and with its checksum, which libslirp looks at; a TCP segment as large as the guest
 * made it, because libslirp has no use for smaller ones. */
static void network_prepare(struct user *user, const struct frame *frame)
{
    struct iovec whole = {.iov_base = user->frame, .iov_len = frame->len};

    span_copy_out(user->frame, frame->iov, frame->len);
    if (frame->offload.flags & FRAME_NEEDS_CSUM)
        checksum_complete(&whole, 1, frame->len, frame->offload.csum_start,
                          frame->offload.csum_offset);
    segments_take(&user->segments, user->frame, frame->len);
}

/* As many sockets are open as may be: TCP connections go on, and nothing is opened beside them. */
static int network_refuses(struct user *user, uint32_t len)
{
    if (!network_is_full(user) || !frame_may_open_socket(user->frame, len))
        return 0;
    counter_add(&user->over_sockets_max, 1);
    return 1;
}

unsigned network_send(struct user *user, const struct frame *frames, unsigned count)
{
    int poll_soon = 0;

    network_enter(user, UINT32_MAX);
    for (unsigned i = 0; i < count; i++) {
        network_prepare(user, &frames[i]);
        if (network_refuses(user, frames[i].len))
            continue;
        slirp_input(user->slirp, user->frame, (int)frames[i].len);
        poll_soon |= network_frame_releases_others(user->frame, frames[i].len);
    }
    if (poll_soon)
        pollset_alarm(&user->pollset, clock_now_ns());
    network_leave(user);
    return count;
}

unsigned network_receive(struct user *user, unsigned budget)
{
    if (budget == 0)
        return 0;
    network_enter(user, budget);
    network_flush_backlog(user);
    /* While the guest has no room its peers are held back: their data stays in the sockets. */
    if (user->backlog.count == 0) {
        pollset_collect(&user->pollset);
        network_fire_timers(user);
        slirp_pollfds_poll(user->slirp, 0, network_get_revents, user);
        network_judge_poll(user);
        pollset_release(&user->pollset);
    }
    network_leave(user);
    return user->delivered;
}

/* ---- open and close --------------------------------------------------------------------- */

static int network_forward_failed(const struct user_forward *forward, int code, struct error *err)
{
    switch (code) {
    case EADDRINUSE:
        return error_set(err, code,
                         "endpoint user: hostfwd=%s: the host's port is in use; stop what listens "
                         "there ('ss -lp' shows it) or take another port",
                         forward->text);
    case EACCES:
        return error_set(err, code,
                         "endpoint user: hostfwd=%s: no right to listen there; take a port from "
                         "1024 up, or run with CAP_NET_BIND_SERVICE",
                         forward->text);
    case EADDRNOTAVAIL:
        return error_set(err, code,
                         "endpoint user: hostfwd=%s: the host has no such address; take one that "
                         "'ip address' shows, or none for all of them",
                         forward->text);
    default:
        return error_set(err, code == 0 ? EIO : code, "endpoint user: hostfwd=%s: %s",
                         forward->text, code == 0 ? "libslirp refuses it" : strerror(code));
    }
}

int network_add_forwards(struct user *user, struct error *err)
{
    for (unsigned i = 0; i < user->config.forward_count; i++) {
        const struct user_forward *forward = &user->config.forward[i];
        int is_v6 = forward->host.ss_family == AF_INET6;
        socklen_t len = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        int flags = (forward->protocol == IPPROTO_UDP ? SLIRP_HOSTFWD_UDP : 0) |
                    (is_v6 ? SLIRP_HOSTFWD_V6ONLY : 0);

        errno = 0;
        if (slirp_add_hostxfwd(user->slirp, (const struct sockaddr *)&forward->host, len,
                               (const struct sockaddr *)&forward->guest, len, flags) < 0)
            return network_forward_failed(forward, errno, err);
    }
    return 0;
}

/* libslirp's state of what the guest was told, addresses above all. Its connections stay behind. */
struct network_state {
    struct records_writer *writer; /* borrowed; while it is saved */
    struct record_reader reader;   /* while it is loaded */
};

static ssize_t network_state_put(const void *bytes, size_t len, void *opaque)
{
    records_put_bytes(((struct network_state *)opaque)->writer, bytes, len);
    return (ssize_t)len;
}

static ssize_t network_state_get(void *bytes, size_t len, void *opaque)
{
    struct network_state *state = opaque;

    record_take_bytes(&state->reader, bytes, len);
    return state->reader.failed ? -1 : (ssize_t)len;
}

void network_save(struct user *user, struct records_writer *writer)
{
    records_put_u32(writer, (uint32_t)slirp_state_version());
    slirp_state_save(user->slirp, network_state_put, &(struct network_state){.writer = writer});
}

int network_load(struct user *user, const struct record_reader *reader)
{
    struct network_state state = {.reader = *reader};
    uint32_t version = record_take_u32(&state.reader);

    if (version > INT32_MAX ||
        slirp_state_load(user->slirp, (int)version, network_state_get, &state) < 0)
        return -EINVAL;
    return record_is_done(&state.reader) ? 0 : -EINVAL;
}

void network_remove_forwards(struct user *user)
{
    for (unsigned i = 0; i < user->config.forward_count; i++) {
        const struct user_forward *forward = &user->config.forward[i];
        int is_v6 = forward->host.ss_family == AF_INET6;
        socklen_t len = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

        slirp_remove_hostxfwd(user->slirp, (const struct sockaddr *)&forward->host, len,
                              forward->protocol == IPPROTO_UDP ? SLIRP_HOSTFWD_UDP : 0);
    }
    network_arm(user);
}

int network_open(struct user *user, struct error *err)
{
    const struct user_config *config = &user->config;
    SlirpConfig slirp_config = {
        .version = SLIRP_CONFIG_VERSION_MAX,
        .restricted = config->restricted,
        .in_enabled = 1,
        .vnetwork = config->net,
        .vnetmask = config->mask,
        .vhost = config->host,
        .in6_enabled = config->ipv6 != 0,
        .vprefix_addr6 = config->net6,
        .vprefix_len = (uint8_t)config->net6_len,
        .vhost6 = config->host6,
        .vhostname = *config->hostname != '\0' ? config->hostname : NULL,
        .vdhcp_start = config->dhcp_start,
        .vnameserver = config->dns,
        .vnameserver6 = config->dns6,
        .if_mtu = user->segments.large_mtu,
        .if_mru = user->segments.large_mtu,
        /* libslirp's own documentation calls the code behind it unsafe. */
        .enable_emu = 0,
    };

    user->slirp = slirp_new(&slirp_config, &network_callbacks, user);
    if (user->slirp == NULL)
        return error_set(err, EINVAL, "endpoint user: libslirp %s refuses this configuration",
                         slirp_version_string());
    return 0;
}

void network_close(struct user *user)
{
    if (user->slirp != NULL)
        slirp_cleanup(user->slirp);
    user->slirp = NULL;
}
