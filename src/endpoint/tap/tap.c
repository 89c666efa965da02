/* SPDX-License-Identifier: MIT */
/* Options, life and events of the endpoint `tap`. */
#include "endpoint/tap/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "endpoint/spec.h"
#include "endpoint/tap/device.h"
#include "endpoint/tap/netns.h"
#include "endpoint/tap/vnet.h"

enum tap_up {
    TAP_UP_IF_CREATED, /* nothing was said: bring up what we made, if we may */
    TAP_UP_ON,
    TAP_UP_OFF,
};

/* What the operator asked for, and the place for the answer of the helper thread. */
struct tap_request {
    const struct endpoint_spec *spec; /* borrowed */
    struct tap *tap;                  /* borrowed */
    struct error *err;                /* borrowed */
    uint64_t mtu;                     /* 0: leave it */
    enum tap_up up;
    int fd[TAP_PAIRS_MAX]; /* borrowed, fd_count of them */
    unsigned fd_count;
};

/* ---- options ---------------------------------------------------------------------------- */

static int tap_parse_fds(struct tap_request *request)
{
    const struct endpoint_spec *spec = request->spec;

    for (unsigned i = 0; i < spec->option_count; i++) {
        char *end;
        long fd;

        if (strcmp(spec->option[i].key, "fd") != 0)
            continue;
        fd = strtol(spec->option[i].value, &end, 10);
        if (end == spec->option[i].value || *end != '\0' || fd < 0 || fd > INT32_MAX)
            return error_set(request->err, EINVAL,
                             "endpoint tap: fd=%s is not the number of an open tap",
                             spec->option[i].value);
        if (request->fd_count == TAP_PAIRS_MAX)
            return error_set(request->err, E2BIG, "endpoint tap: more than %d fd=", TAP_PAIRS_MAX);
        request->fd[request->fd_count++] = (int)fd;
    }
    if (request->fd_count == 0 || request->fd_count == spec->queue_pairs)
        return 0;
    return error_set(request->err, EINVAL,
                     "endpoint tap: %u times fd= for %u queue pairs; give one fd= for each pair",
                     request->fd_count, spec->queue_pairs);
}

static int tap_parse_names(struct tap_request *request)
{
    const char *ifname = endpoint_spec_get(request->spec, "ifname");
    const char *netns = endpoint_spec_get(request->spec, "netns");
    struct tap *tap = request->tap;

    if (request->fd_count > 0 && (ifname != NULL || netns != NULL))
        return error_set(request->err, EINVAL,
                         "endpoint tap: fd= names the interface already; leave %s= out",
                         ifname != NULL ? "ifname" : "netns");
    if (ifname != NULL &&
        (*ifname == '\0' || strlen(ifname) >= IFNAMSIZ || strpbrk(ifname, "/ \t\n:") != NULL))
        return error_set(request->err, EINVAL,
                         "endpoint tap: ifname=%s is no name for an interface; use 1 to %d "
                         "characters without '/', ':' and spaces",
                         ifname, IFNAMSIZ - 1);
    if (netns != NULL && (*netns == '\0' || strlen(netns) >= sizeof(tap->netns)))
        return error_set(request->err, EINVAL,
                         "endpoint tap: netns= takes a name that 'ip netns list' shows, or a path "
                         "of at most %zu characters",
                         sizeof(tap->netns) - 1);
    snprintf(tap->ifname, sizeof(tap->ifname), "%s", ifname != NULL ? ifname : "");
    snprintf(tap->netns, sizeof(tap->netns), "%s", netns != NULL ? netns : "");
    return 0;
}

static int tap_parse(struct tap_request *request)
{
    static const char *const keys[] = {"ifname", "fd", "netns", "mtu", "up", NULL};
    const struct endpoint_spec *spec = request->spec;
    int up = -1;
    int rc = endpoint_spec_allow(spec, keys, request->err);

    if (rc == 0)
        rc = endpoint_spec_number(spec, "mtu", TAP_MTU_MIN, TAP_MTU_MAX, &request->mtu,
                                  request->err);
    if (rc == 0)
        rc = endpoint_spec_switch(spec, "up", &up, request->err);
    if (rc == 0)
        rc = tap_parse_fds(request);
    if (rc == 0)
        rc = tap_parse_names(request);
    if (rc == 0 && (spec->queue_pairs < 1 || spec->queue_pairs > TAP_PAIRS_MAX))
        rc = error_set(request->err, EINVAL, "endpoint tap: %u queue pairs; a tap has 1 to %d",
                       spec->queue_pairs, TAP_PAIRS_MAX);
    request->up = up < 0 ? TAP_UP_IF_CREATED : up ? TAP_UP_ON : TAP_UP_OFF;
    return rc;
}

/* ---- open ------------------------------------------------------------------------------- */

static int tap_adopt_ports(struct tap *tap, const struct tap_request *request)
{
    for (unsigned i = 0; i < tap->port_count; i++) {
        char ifname[IFNAMSIZ];
        enum device_queues queues;
        int rc = device_check_passed(request->fd[i], ifname, &queues, request->err);

        if (rc < 0)
            return rc;
        if (i > 0 && strcmp(ifname, tap->ifname) != 0)
            return error_set(request->err, EINVAL,
                             "endpoint tap: fd=%d is %s but fd=%d is %s; pass queues of one tap",
                             request->fd[0], tap->ifname, request->fd[i], ifname);
        memcpy(tap->ifname, ifname, sizeof(ifname));
        tap->multi_queue = queues == DEVICE_MULTI_QUEUE;
        tap->port[i].fd = fcntl(request->fd[i], F_DUPFD_CLOEXEC, 3);
        if (tap->port[i].fd < 0)
            return error_set(request->err, errno, "endpoint tap: fd=%d: %s", request->fd[i],
                             strerror(errno));
        rc = device_prepare(tap->port[i].fd, request->err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int tap_open_ports(struct tap *tap, const struct tap_request *request)
{
    enum device_queues queues = tap->port_count > 1 ? DEVICE_MULTI_QUEUE : DEVICE_SINGLE_QUEUE;
    int rc;

    tap->origin =
        *tap->ifname != '\0' && if_nametoindex(tap->ifname) != 0 ? TAP_ATTACHED : TAP_CREATED;
    if (request->spec->only_if_there && tap->origin == TAP_CREATED)
        return error_set(request->err, ENODEV,
                         "endpoint tap: %s has gone; make it again with 'ip tuntap add'",
                         tap->ifname);
    rc = device_open(tap->ifname, queues, &tap->port[0].fd, request->err);
    if (rc == -EINVAL && queues == DEVICE_SINGLE_QUEUE && tap->origin == TAP_ATTACHED) {
        /* Somebody made it for several queues; one of them will do. */
        queues = DEVICE_MULTI_QUEUE;
        rc = device_open(tap->ifname, queues, &tap->port[0].fd, request->err);
    }
    for (unsigned i = 1; rc == 0 && i < tap->port_count; i++)
        rc = device_open(tap->ifname, queues, &tap->port[i].fd, request->err);
    tap->multi_queue = queues == DEVICE_MULTI_QUEUE;
    return rc;
}

static int tap_configure(struct tap *tap, const struct tap_request *request)
{
    int rc = request->mtu != 0 ? device_set_mtu(tap->ifname, (uint32_t)request->mtu) : 0;

    if (rc < 0)
        return error_set(request->err, -rc, "endpoint tap: can't set mtu=%u on %s: %s",
                         (unsigned)request->mtu, tap->ifname, strerror(-rc));
    if (request->up == TAP_UP_OFF || (request->up != TAP_UP_ON && tap->origin != TAP_CREATED))
        return 0;
    rc = device_set_up(tap->ifname);
    if (rc < 0 && request->up == TAP_UP_ON)
        return error_set(request->err, -rc,
                         "endpoint tap: can't bring %s up: %s; say up=off and let an administrator "
                         "do it",
                         tap->ifname, strerror(-rc));
    return 0;
}

static int tap_watch_link(struct tap *tap)
{
    struct epoll_event wanted = {.events = EPOLLIN};
    int rc = link_open(&tap->link, tap->ifname);

    if (rc == 0 && epoll_ctl(tap->event_fd, EPOLL_CTL_ADD, tap->link.fd, &wanted) < 0)
        rc = -errno;
    if (rc < 0)
        link_close(&tap->link);
    atomic_store_explicit(&tap->mtu, tap->link.mtu, memory_order_relaxed);
    return rc;
}

/* What has to happen in the namespace of the interface. */
static int tap_set_up(void *context)
{
    struct tap_request *request = context;
    struct tap *tap = request->tap;
    int rc = tap->origin == TAP_PASSED || tap->given ? 0 : tap_open_ports(tap, request);

    if (rc == 0 && !tap->given)
        rc = tap_configure(tap, request);
    if (rc < 0)
        return rc;
    rc = tap_watch_link(tap);
    if (rc < 0)
        return error_set(request->err, -rc, "endpoint tap: can't watch the state of %s: %s",
                         tap->ifname, strerror(-rc));
    return 0;
}

static int tap_enter_and_set_up(struct tap *tap, struct tap_request *request)
{
    int netns_fd = -1;
    int rc;

    if (*tap->netns != '\0') {
        netns_fd = netns_open(tap->netns, request->err);
        if (netns_fd < 0)
            return netns_fd;
    } else if (tap->origin == TAP_PASSED || tap->given) {
        netns_fd = device_netns(tap->port[0].fd); /* needs CAP_NET_ADMIN */
        /* Passed from a place where we may not go: it works, but nobody tells us of its state. */
        if (netns_fd < 0 && !device_is_here(tap->port[0].fd))
            return 0;
    }
    if (request->err != NULL)
        *request->err->text = '\0';
    rc = netns_run(netns_fd, tap_set_up, request);
    fd_close(&netns_fd);
    if (rc == -EPERM && (tap->given || (tap->origin == TAP_PASSED && request->mtu == 0)) &&
        tap->link.fd < 0)
        return 0;
    if (rc < 0 && request->err != NULL && *request->err->text == '\0')
        error_set(request->err, -rc, "endpoint tap: can't enter the network namespace %s: %s",
                  tap->netns, strerror(-rc));
    return rc;
}

static int tap_make_fds(struct tap *tap)
{
    struct epoll_event wanted = {.events = EPOLLIN};
    int rc;

    rc = event_bits_init(&tap->events);
    if (rc < 0)
        return rc;
    tap->idle_fd = epoll_create1(EPOLL_CLOEXEC);
    tap->event_fd = epoll_create1(EPOLL_CLOEXEC);
    if (tap->idle_fd < 0 || tap->event_fd < 0 ||
        epoll_ctl(tap->event_fd, EPOLL_CTL_ADD, tap->events.fd, &wanted) < 0)
        return -errno;
    return 0;
}

static struct tap *tap_new(unsigned port_count)
{
    struct tap *tap = calloc(1, sizeof(*tap));

    if (tap == NULL)
        return NULL;
    tap->base.ops = &tap_endpoint_ops;
    tap->idle_fd = -1;
    tap->event_fd = -1;
    tap->events.fd = -1;
    tap->link.fd = -1;
    tap->link.running = 1;
    tap->port = aligned_alloc(_Alignof(struct tap_port), port_count * sizeof(*tap->port));
    if (tap->port == NULL) {
        free(tap);
        return NULL;
    }
    memset(tap->port, 0, port_count * sizeof(*tap->port));
    tap->port_count = port_count;
    for (unsigned i = 0; i < port_count; i++)
        tap->port[i].fd = -1;
    return tap;
}

static void tap_close(struct endpoint *endpoint)
{
    struct tap *tap = (struct tap *)endpoint;

    if (tap == NULL)
        return;
    link_close(&tap->link);
    for (unsigned i = 0; i < tap->port_count; i++) {
        fd_close(&tap->port[i].fd);
        free(tap->port[i].inherited);
    }
    free(tap->port);
    fd_close(&tap->event_fd);
    fd_close(&tap->idle_fd);
    event_bits_free(&tap->events);
    free(tap);
}

static int tap_finish(struct tap *tap, struct error *err)
{
    enum {
        ALWAYS = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN | ENDPOINT_UFO,
        KNOWN = ENDPOINT_USO4 | ENDPOINT_USO6 | ENDPOINT_UDP_TUNNELS,
    };

    tap->rx_offloads = device_probe_offloads(tap->port[0].fd);
    tap->header_len = VNET_HDR_LEN;
    if (tap->rx_offloads & ENDPOINT_UDP_TUNNEL) {
        if (device_set_header_len(tap->port[0].fd, VNET_HDR_LEN_TUNNEL) == 0)
            tap->header_len = VNET_HDR_LEN_TUNNEL;
        else
            tap->rx_offloads &= ~(uint32_t)ENDPOINT_UDP_TUNNELS;
    }
    /* Written frames may use the header whatever TUNSETOFFLOAD says, but USO and tunnels only where
     * they are known. */
    tap->tx_offloads = ALWAYS | (tap->rx_offloads & KNOWN);
    for (unsigned i = 0; tap->multi_queue && i < tap->port_count; i++) {
        int rc = device_detach(tap->port[i].fd);

        /* EINVAL: a passed fd that is detached already. */
        if (rc < 0 && !(rc == -EINVAL && tap->origin == TAP_PASSED))
            return error_set(err, -rc, "endpoint tap: can't detach queue %u of %s: %s", i,
                             tap->ifname, strerror(-rc));
    }
    return 0;
}

/* gift: what another process had; NULL: nothing. */
static int tap_begin(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                     struct endpoint **ret_endpoint, struct error *err)
{
    struct tap_request *request = calloc(1, sizeof(*request));
    struct tap *tap = tap_new(spec->queue_pairs < 1 ? 1 : spec->queue_pairs);
    int rc;

    if (request == NULL || tap == NULL) {
        rc = error_set(err, ENOMEM, "endpoint tap: out of memory");
        goto out;
    }
    *request = (struct tap_request){.spec = spec, .tap = tap, .err = err};
    rc = tap_parse(request);
    if (rc < 0)
        goto out;
    rc = tap_make_fds(tap);
    if (rc < 0) {
        error_set(err, -rc, "endpoint tap: no more file descriptors: %s", strerror(-rc));
        goto out;
    }
    if (gift != NULL) {
        tap->given = 1;
        rc = tap_state_read(tap, gift, request->fd_count > 0, err);
    } else if (request->fd_count > 0) {
        tap->origin = TAP_PASSED;
        rc = tap_adopt_ports(tap, request);
    }
    if (rc == 0)
        rc = tap_enter_and_set_up(tap, request);
    if (rc == 0 && gift == NULL)
        rc = tap_finish(tap, err);
    if (rc == 0) {
        *ret_endpoint = &tap->base;
        tap = NULL;
    }
out:
    free(request);
    tap_close((struct endpoint *)tap);
    return rc;
}

static int tap_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                    struct error *err)
{
    return tap_begin(spec, NULL, ret_endpoint, err);
}

static void tap_give(struct endpoint *endpoint, struct records_writer *writer, struct fd_list *fds)
{
    struct tap *tap = (struct tap *)endpoint;

    tap_state_write(tap, writer, fds);
    tap->given = 1;
}

static int tap_take(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                    struct endpoint **ret_endpoint, struct error *err)
{
    return tap_begin(spec, gift, ret_endpoint, err);
}

static void tap_keep(struct endpoint *endpoint)
{
    struct tap *tap = (struct tap *)endpoint;

    tap->given = 0;
    for (unsigned i = 0; i < tap->port_count; i++) {
        struct tap_port *port = &tap->port[i];

        /* It was in use there and is not here. */
        if (port->inherited != NULL && port->queue == NULL && tap->multi_queue)
            device_detach(port->fd);
        free(port->inherited);
        port->inherited = NULL;
    }
}

/* ---- the rest of the contract ----------------------------------------------------------- */

static void tap_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    const struct tap *tap = (struct tap *)endpoint;

    *ret_caps = (struct endpoint_caps){
        .tx_offloads = tap->tx_offloads,
        .rx_offloads = tap->rx_offloads,
        .queue_pairs_max = tap->port_count,
        .mtu = atomic_load_explicit(&tap->mtu, memory_order_relaxed),
    };
}

static int tap_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    struct tap *tap = (struct tap *)endpoint;
    int rc = tap->given ? 0 : device_set_offloads(tap->port[0].fd, rx_offloads);

    if (rc == 0)
        atomic_store_explicit(&tap->rx_agreed, rx_offloads, memory_order_relaxed);
    if (rc == 0 || device_alive(tap->port[0].fd))
        return rc;
    event_bits_raise(&tap->events, ENDPOINT_EVENT_GONE); /* no refusal: there is nothing any more */
    return 0;
}

/* The interface was moved to another namespace. Frames still flow; its state is watched there, if
 * we may look, and counts as up if not. */
static int tap_watch_there(void *context)
{
    struct tap *tap = context;
    enum device_queues queues;
    int rc = device_check(tap->port[0].fd, tap->ifname, &queues, NULL); /* it may be renamed */

    return rc < 0 ? rc : tap_watch_link(tap);
}

static void tap_follow(struct tap *tap)
{
    int netns_fd = device_netns(tap->port[0].fd); /* needs CAP_NET_ADMIN */

    link_close(&tap->link);
    if (netns_fd < 0)
        return;
    if (netns_run(netns_fd, tap_watch_there, tap) < 0)
        link_close(&tap->link);
    fd_close(&netns_fd);
}

static int tap_link_up(struct endpoint *endpoint)
{
    return ((struct tap *)endpoint)->link.running;
}

static int tap_event_fd(struct endpoint *endpoint)
{
    return ((struct tap *)endpoint)->event_fd;
}

static uint32_t tap_events(struct endpoint *endpoint)
{
    struct tap *tap = (struct tap *)endpoint;
    unsigned changed = link_read(&tap->link);
    uint32_t bits = event_bits_take(&tap->events);

    if ((changed & LINK_CHANGE_STATE) != 0) {
        atomic_store_explicit(&tap->mtu, tap->link.mtu, memory_order_relaxed);
        bits |= ENDPOINT_EVENT_LINK;
    }
    if ((changed & LINK_CHANGE_GONE) == 0)
        return bits;
    if (!device_alive(tap->port[0].fd))
        return bits | ENDPOINT_EVENT_GONE;
    tap_follow(tap);
    return bits | ENDPOINT_EVENT_LINK;
}

static int tap_was_there(struct endpoint *endpoint)
{
    return ((struct tap *)endpoint)->origin == TAP_ATTACHED;
}

/* Without ifname= it would get a new interface. */
static int tap_stands_in_the_way(struct endpoint *endpoint, const struct endpoint_spec *spec)
{
    const struct tap *tap = (struct tap *)endpoint;
    const char *ifname = endpoint_spec_get(spec, "ifname");
    const char *netns = endpoint_spec_get(spec, "netns");

    return ifname != NULL && strcmp(ifname, tap->ifname) == 0 &&
           strcmp(netns == NULL ? "" : netns, tap->netns) == 0;
}

static void tap_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    const struct tap *tap = (struct tap *)endpoint;

    inspect_text(visitor, "ifname", "%s", tap->ifname);
    if (*tap->netns != '\0')
        inspect_text(visitor, "netns", "%s", tap->netns);
    inspect_number(visitor, "mtu", atomic_load_explicit(&tap->mtu, memory_order_relaxed));
    inspect_hex(visitor, "rx_agreed", atomic_load_explicit(&tap->rx_agreed, memory_order_relaxed));
    inspect_enter(visitor, "queues");
    for (unsigned i = 0; i < tap->port_count; i++) {
        inspect_enter_index(visitor, i);
        inspect_counter(visitor, "tx_dropped_down", &tap->port[i].tx_dropped_down);
        inspect_counter(visitor, "tx_dropped_refused", &tap->port[i].tx_dropped_refused);
        inspect_counter(visitor, "rx_dropped_offload", &tap->port[i].rx_dropped_offload);
        inspect_counter(visitor, "rx_held", &tap->port[i].rx_held);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
}

const struct endpoint_ops tap_endpoint_ops = {
    .kind = "tap",
    .summary = "a Linux tap device: every bridge, router and firewall of the host hangs off it",
    .options_help =
        "ifname=NAME  create this interface, or attach to it if it exists (default: tap0, tap1, "
        "...)\n"
        "fd=N         an open tap instead (IFF_TAP|IFF_NO_PI|IFF_VNET_HDR); once for each queue "
        "pair\n"
        "netns=NAME   in this network namespace, a name of `ip netns` or a path\n"
        "mtu=BYTES    set the interface's MTU\n"
        "up=on|off    bring it up or leave it (default: bring up what was created)\n",
    .open = tap_open,
    .close = tap_close,
    .capabilities = tap_capabilities,
    .set_offloads = tap_set_offloads,
    .queue_open = tap_queue_open,
    .queue_close = tap_queue_close,
    .send = tap_queue_send,
    .receive = tap_queue_receive,
    .wait_fd = tap_queue_wait_fd,
    .link_up = tap_link_up,
    .event_fd = tap_event_fd,
    .events = tap_events,
    .was_there = tap_was_there,
    .stands_in_the_way = tap_stands_in_the_way,
    .give = tap_give,
    .take = tap_take,
    .keep = tap_keep,
    .inspect = tap_inspect,
};
