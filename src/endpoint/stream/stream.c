/* SPDX-License-Identifier: MIT */
/* Options and life of the endpoint `stream`, and what it shows. */
#include "endpoint/stream/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/fd.h"
#include "endpoint/spec.h"

/* ---- options ---------------------------------------------------------------------------- */

static int stream_parse_path(struct stream *stream, const char *path, struct error *err)
{
    if (*path == '\0' || strlen(path) >= sizeof(stream->path.sun_path))
        return error_set(err, ENAMETOOLONG, "endpoint stream: path=%s is no path of 1 to %zu bytes",
                         path, sizeof(stream->path.sun_path) - 1);
    stream->path.sun_family = AF_UNIX;
    memcpy(stream->path.sun_path, path, strlen(path) + 1);
    snprintf(stream->peer, sizeof(stream->peer), "%s", path);
    return 0;
}

/* HOST:PORT, [IPV6]:PORT, or :PORT for every address of a server's host. The name is looked up
 * here, once. */
static int stream_parse_address(struct stream *stream, const char *address, struct error *err)
{
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM,
                              .ai_flags = stream->mode == STREAM_SERVER ? AI_PASSIVE : 0};
    char text[sizeof(stream->peer)];
    char *host = text;
    char *port;
    int rc;

    snprintf(text, sizeof(text), "%s", address);
    port = strrchr(text, ':');
    if (strlen(address) >= sizeof(text) || port == NULL || port[1] == '\0')
        return error_set(err, EINVAL,
                         "endpoint stream: address=%s must be written HOST:PORT or [IPV6]:PORT",
                         address);
    *port++ = '\0';
    if (*host == '[' && strlen(host) > 1 && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = '\0';
        host++;
    }
    rc = getaddrinfo(*host != '\0' ? host : NULL, port, &wanted, &stream->addresses);
    if (rc != 0) {
        stream->addresses = NULL;
        return error_set(err, EINVAL, "endpoint stream: address=%s can't be found: %s", address,
                         gai_strerror(rc));
    }
    stream->next = stream->addresses;
    snprintf(stream->peer, sizeof(stream->peer), "%s", address);
    return 0;
}

static int stream_parse_mode(struct stream *stream, const char *mode, struct error *err)
{
    if (mode == NULL || strcmp(mode, "client") == 0)
        stream->mode = STREAM_CLIENT;
    else if (strcmp(mode, "server") == 0)
        stream->mode = STREAM_SERVER;
    else
        return error_set(err, EINVAL, "endpoint stream: mode=%s must be mode=client or mode=server",
                         mode);
    return 0;
}

static int stream_parse_fd(struct stream *stream, const struct endpoint_spec *spec, int *ret_fd,
                           struct error *err)
{
    uint64_t fd = 0;
    int rc = endpoint_spec_number(spec, "fd", 0, INT32_MAX, &fd, err);

    if (rc < 0)
        return rc;
    if (endpoint_spec_get(spec, "mode") != NULL)
        return error_set(err, EINVAL,
                         "endpoint stream: fd= is a socket that is connected or listens already; "
                         "leave mode= out");
    stream->mode = STREAM_PASSED;
    *ret_fd = (int)fd;
    snprintf(stream->peer, sizeof(stream->peer), "fd=%d", *ret_fd);
    return 0;
}

static int stream_parse(struct stream *stream, const struct endpoint_spec *spec, int *ret_fd,
                        struct error *err)
{
    static const char *const keys[] = {"path", "address", "mode", "reconnect", "fd", NULL};
    const char *path = endpoint_spec_get(spec, "path");
    const char *address = endpoint_spec_get(spec, "address");
    int has_fd = endpoint_spec_get(spec, "fd") != NULL;
    uint64_t reconnect_ms = STREAM_RECONNECT_MS;
    int rc = endpoint_spec_allow(spec, keys, err);

    if (rc == 0)
        rc = stream_parse_mode(stream, endpoint_spec_get(spec, "mode"), err);
    if (rc == 0)
        rc =
            endpoint_spec_number(spec, "reconnect", 1, STREAM_RECONNECT_MAX_MS, &reconnect_ms, err);
    if (rc < 0)
        return rc;
    stream->reconnect_ms = (uint32_t)reconnect_ms;
    if ((path != NULL) + (address != NULL) + has_fd != 1)
        return error_set(err, EINVAL,
                         "endpoint stream: its socket is missing or named twice; give one of "
                         "path=, address= and fd=");
    if (path != NULL)
        return stream_parse_path(stream, path, err);
    if (address != NULL)
        return stream_parse_address(stream, address, err);
    return stream_parse_fd(stream, spec, ret_fd, err);
}

/* ---- life ------------------------------------------------------------------------------- */

static void stream_close(struct endpoint *endpoint)
{
    struct stream *stream = (struct stream *)endpoint;

    if (stream == NULL)
        return;
    stream_flow_end(&stream->flow);
    stream_link_close(stream);
    event_bits_free(&stream->events);
    if (stream->addresses != NULL)
        freeaddrinfo(stream->addresses);
    free(stream);
}

static struct stream *stream_new(void)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL)
        return NULL;
    stream->base.ops = &stream_endpoint_ops;
    stream->events.fd = -1;
    stream->event_fd = -1;
    stream->timer_fd = -1;
    stream->listen_fd = -1;
    stream->connecting_fd = -1;
    stream->fresh_fd = -1;
    stream->flow.fd = -1;
    return stream;
}

static int stream_make_fds(struct stream *stream)
{
    int rc = event_bits_init(&stream->events);

    if (rc < 0)
        return rc;
    stream->event_fd = epoll_create1(EPOLL_CLOEXEC);
    stream->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return stream->event_fd < 0 || stream->timer_fd < 0 ? -errno : 0;
}

/* gift: what another process had; NULL: nothing. */
static int stream_begin(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                        struct endpoint **ret_endpoint, struct error *err)
{
    struct stream *stream = stream_new();
    int passed_fd = -1;
    int rc;

    if (stream == NULL)
        return error_set(err, ENOMEM, "endpoint stream: out of memory");
    rc = stream_parse(stream, spec, &passed_fd, err);
    if (rc < 0)
        goto fail;
    rc = stream_make_fds(stream);
    if (rc < 0) {
        error_set(err, -rc, "endpoint stream: no more file descriptors: %s", strerror(-rc));
        goto fail;
    }
    stream->given = gift != NULL;
    if (gift != NULL)
        rc = stream_state_read(stream, gift, err);
    if (rc == 0)
        rc = gift != NULL ? stream_link_resume(stream, err)
                          : stream_link_open(stream, passed_fd, err);
    if (rc < 0)
        goto fail;
    *ret_endpoint = &stream->base;
    return 0;
fail:
    stream_close(&stream->base);
    return rc;
}

static int stream_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                       struct error *err)
{
    return stream_begin(spec, NULL, ret_endpoint, err);
}

static void stream_give(struct endpoint *endpoint, struct records_writer *writer,
                        struct fd_list *fds)
{
    struct stream *stream = (struct stream *)endpoint;

    stream_state_write(stream, writer, fds);
    stream->given = 1;
}

static int stream_take(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                       struct endpoint **ret_endpoint, struct error *err)
{
    return stream_begin(spec, gift, ret_endpoint, err);
}

static void stream_keep(struct endpoint *endpoint)
{
    ((struct stream *)endpoint)->given = 0;
}

static void stream_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    (void)endpoint;
    *ret_caps = (struct endpoint_caps){.queue_pairs_max = 1};
}

/* Nothing is offered. */
static int stream_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    (void)endpoint;
    (void)rx_offloads;
    return 0;
}

static int stream_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                             struct endpoint_queue **ret_queue, struct error *err)
{
    struct stream *stream = (struct stream *)endpoint;

    if (index != 0)
        return error_set(err, ERANGE, "endpoint stream: it has one queue pair, not %u", index + 1);
    if (stream->queue.is_open)
        return error_set(err, EBUSY, "endpoint stream: its queue pair is open already");
    stream_link_adopt(stream);
    stream->queue = (struct stream_queue){
        .base = {.endpoint = endpoint, .unfinished = stream->flow.rest_len != 0},
        .rx = rx,
        .is_open = 1};
    *ret_queue = &stream->queue.base;
    return 0;
}

/* The connection stays, with what is half sent and half received. */
static void stream_queue_close(struct endpoint_queue *queue)
{
    struct stream *stream;

    if (queue == NULL)
        return;
    stream = (struct stream *)queue->endpoint;
    stream->queue.is_open = 0;
    stream->queue.rx = NULL;
    stream_link_watch_idle(stream);
}

static int stream_wait_fd(struct endpoint_queue *queue)
{
    return ((struct stream *)queue->endpoint)->flow.fd;
}

static int stream_link_up(struct endpoint *endpoint)
{
    return ((struct stream *)endpoint)->up;
}

static int stream_event_fd(struct endpoint *endpoint)
{
    return ((struct stream *)endpoint)->event_fd;
}

static uint32_t stream_events(struct endpoint *endpoint)
{
    return stream_link_events((struct stream *)endpoint);
}

/* One listens at an address. */
static int stream_stands_in_the_way(struct endpoint *endpoint, const struct endpoint_spec *spec)
{
    const struct stream *stream = (struct stream *)endpoint;
    const char *mode = endpoint_spec_get(spec, "mode");
    const char *path = endpoint_spec_get(spec, "path");
    const char *where = path != NULL ? path : endpoint_spec_get(spec, "address");

    return stream->mode == STREAM_SERVER && mode != NULL && strcmp(mode, "server") == 0 &&
           where != NULL && strcmp(where, stream->peer) == 0;
}

/* ---- inspect ---------------------------------------------------------------------------- */

static const char *stream_state(const struct stream *stream)
{
    if (stream->up)
        return "connected";
    if (stream->mode == STREAM_PASSED)
        return "closed";
    return stream->mode == STREAM_SERVER ? "listening" : "connecting";
}

static const char *stream_loss(int why)
{
    switch (why) {
    case STREAM_LOSS_CLOSED:
        return "the peer closed the connection";
    case STREAM_LOSS_CUT:
        return "the peer closed the connection in the middle of a frame";
    case STREAM_LOSS_LENGTH:
        return "the peer sent a length that no frame has";
    default:
        return strerror(why);
    }
}

static void stream_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    static const char *const modes[] = {"client", "server", "passed"};
    const struct stream *stream = (struct stream *)endpoint;
    const struct stream_flow *flow = &stream->flow;
    int last_loss = atomic_load_explicit(&stream->last_loss, memory_order_relaxed);

    inspect_text(visitor, "peer", "%s", stream->peer);
    inspect_text(visitor, "mode", "%s", modes[stream->mode]);
    inspect_text(visitor, "state", "%s", stream_state(stream));
    inspect_counter(visitor, "connections", &stream->connections);
    inspect_counter(visitor, "connections_lost", &stream->connections_lost);
    inspect_counter(visitor, "attempts_failed", &stream->attempts_failed);
    if (stream->last_error != 0)
        inspect_text(visitor, "last_error", "%s", strerror(stream->last_error));
    if (last_loss != 0)
        inspect_text(visitor, "last_loss", "%s", stream_loss(last_loss));
    inspect_counter(visitor, "tx_dropped_down", &flow->tx_dropped_down);
    inspect_counter(visitor, "tx_dropped_refused", &flow->tx_dropped_refused);
    inspect_counter(visitor, "tx_full", &flow->tx_full);
    inspect_counter(visitor, "tx_cut", &flow->tx_cut);
    inspect_counter(visitor, "rx_reads", &flow->rx_reads);
    inspect_counter(visitor, "rx_bad_length", &flow->rx_bad_length);
    inspect_counter(visitor, "rx_cut", &flow->rx_cut);
}

const struct endpoint_ops stream_endpoint_ops = {
    .kind = "stream",
    .summary = "frames over a socket to passt, gvproxy, QEMU's -netdev stream or another vionic",
    .options_help =
        "path=PATH          a unix socket\n"
        "address=HOST:PORT  a TCP socket instead; a server may leave HOST out\n"
        "mode=client|server connect to it, or listen there for one peer at a time (default: "
        "client)\n"
        "reconnect=MS       wait so long before the next attempt; a client waits twice as long "
        "each\n"
        "                   time, up to 5000 (default: 100)\n"
        "fd=N               an open socket instead, connected or listening\n",
    .open = stream_open,
    .close = stream_close,
    .capabilities = stream_capabilities,
    .set_offloads = stream_set_offloads,
    .queue_open = stream_queue_open,
    .queue_close = stream_queue_close,
    .send = stream_flow_send,
    .receive = stream_flow_receive,
    .wait_fd = stream_wait_fd,
    .link_up = stream_link_up,
    .event_fd = stream_event_fd,
    .events = stream_events,
    .stands_in_the_way = stream_stands_in_the_way,
    .give = stream_give,
    .take = stream_take,
    .keep = stream_keep,
    .inspect = stream_inspect,
};
