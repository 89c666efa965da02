/* SPDX-License-Identifier: MIT */
/* The life of the connection: connect or accept, until it is lost, and again. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/local_socket.h"
#include "endpoint/stream/stream.h"

enum {
    WAIT_MAX_MS = 5000, /* of a client whose server does not come */
    CONNECT_MS = 5000,  /* before a connect that nobody answers is given up */
    SETTLED_MS = 1000,  /* a connection that held so long begins with the first wait again */
    BACKLOG = 1,        /* one peer at a time; the next one may wait */
    KEEP_IDLE_S = 10,   /* TCP: a peer that vanished is found … */
    KEEP_INTERVAL_S = 5,
    KEEP_COUNT = 3,
    UNANSWERED_MS = 30 * 1000 /* … also while there are bytes on their way to it */
};

/* Whose news an event is. */
enum watch {
    WATCH_BITS,
    WATCH_TIMER,
    WATCH_LISTENER,
    WATCH_CONNECTING,
    WATCH_IDLE,
};

static int watch_add(struct stream *stream, int fd, uint32_t events, enum watch watch)
{
    struct epoll_event wanted = {.events = events, .data.u32 = watch};

    return epoll_ctl(stream->event_fd, EPOLL_CTL_ADD, fd, &wanted) < 0 ? -errno : 0;
}

static void watch_remove(struct stream *stream, int fd)
{
    epoll_ctl(stream->event_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* 0: off. */
static void timer_set(struct stream *stream, uint32_t ms)
{
    struct itimerspec at = {
        .it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * (long)CLOCK_MILLISECOND_NS}};

    timerfd_settime(stream->timer_fd, 0, &at, NULL);
}

/* ---- a connection is there, and gone ----------------------------------------------------- */

/* Fails on a unix socket, where nothing of this is needed. */
static void tcp_prepare(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS},
    };

    for (unsigned i = 0; i < ARRAY_COUNT(options); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value,
                   sizeof(options[i].value));
}

/* Takes the fd. */
static void link_up(struct stream *stream, int fd)
{
    tcp_prepare(fd);
    timer_set(stream, 0);
    stream->fresh_fd = fd;
    stream->up = 1;
    stream->connected_ns = clock_now_ns();
    counter_add(&stream->connections, 1);
    watch_add(stream, fd, EPOLLRDHUP, WATCH_IDLE);
    atomic_store_explicit(&stream->coming, 1, memory_order_relaxed);
    event_bits_raise(&stream->events, STREAM_EVENT_FRESH);
}

static void link_try_later(struct stream *stream)
{
    uint32_t most = MAX((uint32_t)WAIT_MAX_MS, stream->reconnect_ms);

    timer_set(stream, stream->wait_ms);
    if (stream->mode == STREAM_CLIENT)
        stream->wait_ms = MIN(2 * stream->wait_ms, most);
}

static void link_down(struct stream *stream)
{
    stream->up = 0;
    counter_add(&stream->connections_lost, 1);
    if (stream->mode == STREAM_PASSED)
        return;
    if (clock_now_ns() - stream->connected_ns >= SETTLED_MS * CLOCK_MILLISECOND_NS)
        stream->wait_ms = stream->reconnect_ms;
    link_try_later(stream);
}

/* The peer has gone, and no queue is open to find out. */
static void link_idle_lost(struct stream *stream)
{
    atomic_store_explicit(&stream->last_loss, STREAM_LOSS_CLOSED, memory_order_relaxed);
    if (stream->fresh_fd >= 0) {
        watch_remove(stream, stream->fresh_fd);
        fd_close(&stream->fresh_fd);
        atomic_store_explicit(&stream->coming, 0, memory_order_relaxed);
    } else {
        watch_remove(stream, stream->flow.fd);
        stream_flow_end(&stream->flow);
    }
    link_down(stream);
}

void stream_link_watch_idle(struct stream *stream)
{
    if (stream->flow.lost)
        stream_flow_end(&stream->flow);
    else if (stream->flow.fd >= 0)
        watch_add(stream, stream->flow.fd, EPOLLRDHUP, WATCH_IDLE);
}

void stream_link_adopt(struct stream *stream)
{
    atomic_store_explicit(&stream->coming, 0, memory_order_relaxed);
    if (stream->fresh_fd >= 0) {
        watch_remove(stream, stream->fresh_fd);
        stream_flow_begin(&stream->flow, fd_take(&stream->fresh_fd));
    } else if (stream->flow.fd >= 0) {
        watch_remove(stream, stream->flow.fd);
    }
}

/* ---- client ------------------------------------------------------------------------------ */

static void attempt_failed(struct stream *stream, int error)
{
    stream->last_error = error;
    counter_add(&stream->attempts_failed, 1);
    link_try_later(stream);
}

static int client_socket(struct stream *stream, const struct sockaddr **ret_address,
                         socklen_t *ret_len)
{
    const struct addrinfo *next = stream->next;

    if (*stream->path.sun_path != '\0') {
        *ret_address = (const struct sockaddr *)&stream->path;
        *ret_len = sizeof(stream->path);
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    stream->next = next->ai_next != NULL ? next->ai_next : stream->addresses;
    *ret_address = next->ai_addr;
    *ret_len = next->ai_addrlen;
    return socket(next->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void client_try(struct stream *stream)
{
    const struct sockaddr *address;
    socklen_t len;
    int fd = client_socket(stream, &address, &len);
    int rc = fd < 0 || connect(fd, address, len) < 0 ? -errno : 0;

    if (rc == 0) {
        link_up(stream, fd);
        return;
    }
    if (rc == -EINPROGRESS && watch_add(stream, fd, EPOLLOUT, WATCH_CONNECTING) == 0) {
        stream->connecting_fd = fd;
        timer_set(stream, CONNECT_MS);
        return;
    }
    fd_close(&fd);
    attempt_failed(stream, -rc);
}

/* A client that tries a local port often enough happens to get this port for itself, and is
 * connected to itself. */
static int connected_to_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);

    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

static void client_decided(struct stream *stream)
{
    int fd = fd_take(&stream->connecting_fd);
    socklen_t len = sizeof(int);
    int error = 0;

    watch_remove(stream, fd);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 &&
        !connected_to_itself(fd)) {
        link_up(stream, fd);
        return;
    }
    fd_close(&fd);
    attempt_failed(stream, error != 0 ? error : ECONNREFUSED);
}

static void client_give_up(struct stream *stream)
{
    watch_remove(stream, stream->connecting_fd);
    fd_close(&stream->connecting_fd);
    attempt_failed(stream, ETIMEDOUT);
}

/* ---- server ------------------------------------------------------------------------------ */

static int name_free(const struct sockaddr_un *path, struct error *err)
{
    int result = local_socket_free_name(path);

    switch (result) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return error_set(err, EADDRINUSE,
                         "endpoint stream: somebody listens at %s already; choose another path=, "
                         "or mode=client",
                         path->sun_path);
    case -EEXIST:
        return error_set(err, EEXIST,
                         "endpoint stream: %s is there and is no socket; remove it or choose "
                         "another path=",
                         path->sun_path);
    default:
        return error_set(err, -result, "endpoint stream: no socket: %s", strerror(-result));
    }
}

static int server_listen(struct stream *stream, const struct sockaddr *address, socklen_t len,
                         struct error *err)
{
    int one = 1;

    stream->listen_fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (stream->listen_fd < 0)
        return error_set(err, errno, "endpoint stream: no socket: %s", strerror(errno));
    setsockopt(stream->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(stream->listen_fd, address, len) < 0)
        return error_set(err, errno, "endpoint stream: can't listen at %s: %s; %s", stream->peer,
                         strerror(errno),
                         address->sa_family == AF_UNIX
                             ? "its directory has to exist and be writable, and the path be free"
                             : "the address has to be this host's, and the port free");
    stream->owns_path = address->sa_family == AF_UNIX;
    if (listen(stream->listen_fd, BACKLOG) < 0)
        return error_set(err, errno, "endpoint stream: can't listen at %s: %s", stream->peer,
                         strerror(errno));
    return 0;
}

static int server_open(struct stream *stream, struct error *err)
{
    int rc;

    if (*stream->path.sun_path == '\0')
        return server_listen(stream, stream->addresses->ai_addr, stream->addresses->ai_addrlen,
                             err);
    rc = name_free(&stream->path, err);
    return rc < 0 ? rc
                  : server_listen(stream, (const struct sockaddr *)&stream->path,
                                  sizeof(stream->path), err);
}

static void server_accept(struct stream *stream)
{
    struct pollfd look = {.fd = stream->listen_fd, .events = POLLIN};
    int fd = -1;

    /* A socket that was passed may block, and its peer be gone again. */
    if (poll(&look, 1, 0) > 0)
        fd = accept4(stream->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    watch_remove(stream, stream->listen_fd); /* the next peer waits in the backlog */
    link_up(stream, fd);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void link_try(struct stream *stream)
{
    if (stream->listen_fd >= 0)
        watch_add(stream, stream->listen_fd, EPOLLIN, WATCH_LISTENER);
    else
        client_try(stream);
}

static void timer_fired(struct stream *stream)
{
    uint64_t expiries;

    if (read(stream->timer_fd, &expiries, sizeof(expiries)) < 0)
        return;
    if (stream->connecting_fd >= 0)
        client_give_up(stream);
    else if (!stream->up)
        link_try(stream);
}

static int socket_option(int fd, int name)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -errno : value;
}

static int passed_open(struct stream *stream, int passed_fd, struct error *err)
{
    struct sockaddr_storage there;
    socklen_t len = sizeof(there);
    int fd;

    if (socket_option(passed_fd, SO_TYPE) != SOCK_STREAM)
        return error_set(err, EINVAL, "endpoint stream: fd=%d is no open stream socket", passed_fd);
    if (socket_option(passed_fd, SO_ACCEPTCONN) > 0)
        stream->mode = STREAM_SERVER;
    else if (getpeername(passed_fd, (struct sockaddr *)&there, &len) < 0)
        return error_set(err, ENOTCONN, "endpoint stream: fd=%d is neither connected nor listening",
                         passed_fd);
    fd = fcntl(passed_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return error_set(err, errno, "endpoint stream: fd=%d: %s", passed_fd, strerror(errno));
    if (stream->mode == STREAM_SERVER)
        stream->listen_fd = fd;
    else
        link_up(stream, fd);
    return 0;
}

static int watches_open(struct stream *stream, struct error *err)
{
    int rc = watch_add(stream, stream->events.fd, EPOLLIN, WATCH_BITS);

    if (rc == 0)
        rc = watch_add(stream, stream->timer_fd, EPOLLIN, WATCH_TIMER);
    return rc < 0 ? error_set(err, -rc, "endpoint stream: can't be set up: %s", strerror(-rc)) : 0;
}

int stream_link_resume(struct stream *stream, struct error *err)
{
    int rc = watches_open(stream, err);

    if (rc < 0)
        return rc;
    if (stream->up)
        watch_add(stream, stream->flow.fd, EPOLLRDHUP, WATCH_IDLE);
    else if (stream->mode != STREAM_PASSED)
        timer_set(stream, 1); /* not before it is ours */
    return 0;
}

int stream_link_open(struct stream *stream, int passed_fd, struct error *err)
{
    int rc = watches_open(stream, err);

    if (rc < 0)
        return rc;
    stream->wait_ms = stream->reconnect_ms;
    if (passed_fd >= 0)
        rc = passed_open(stream, passed_fd, err);
    else if (stream->mode == STREAM_SERVER)
        rc = server_open(stream, err);
    if (rc == 0 && !stream->up)
        link_try(stream);
    return rc;
}

void stream_link_close(struct stream *stream)
{
    if (stream->owns_path && !stream->given)
        unlink(stream->path.sun_path);
    fd_close(&stream->event_fd);
    fd_close(&stream->timer_fd);
    fd_close(&stream->listen_fd);
    fd_close(&stream->connecting_fd);
    fd_close(&stream->fresh_fd);
}

static uint32_t bits_taken(struct stream *stream)
{
    uint32_t bits = event_bits_take(&stream->events);

    if ((bits & STREAM_EVENT_LOST) != 0) {
        link_down(stream);
        return ENDPOINT_EVENT_RESTART | ENDPOINT_EVENT_LINK;
    }
    if ((bits & STREAM_EVENT_FRESH) == 0 || stream->fresh_fd < 0)
        return 0;
    return stream->queue.is_open ? ENDPOINT_EVENT_RESTART : 0;
}

/* The link comes up before the queue has the connection: a queue that reads for a NIC whose link is
 * down would lose the first frames. */
uint32_t stream_link_events(struct stream *stream)
{
    struct epoll_event event[8];
    int count = epoll_wait(stream->event_fd, event, ARRAY_COUNT(event), 0);
    int up = stream->up;
    uint32_t bits = 0;

    for (int i = 0; i < count; i++) {
        if (event[i].data.u32 == WATCH_BITS)
            bits |= bits_taken(stream);
        else if (event[i].data.u32 == WATCH_TIMER)
            timer_fired(stream);
        else if (event[i].data.u32 == WATCH_LISTENER)
            server_accept(stream);
        else if (event[i].data.u32 == WATCH_CONNECTING && stream->connecting_fd >= 0)
            client_decided(stream);
        else if (event[i].data.u32 == WATCH_IDLE && stream->up)
            link_idle_lost(stream);
    }
    return bits | (up != stream->up ? (uint32_t)ENDPOINT_EVENT_LINK : 0u);
}
