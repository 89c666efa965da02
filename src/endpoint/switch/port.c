/* SPDX-License-Identifier: MIT */
/* Ports and their queues come and go, each while its own worker is paused; the others run on. */
#include "endpoint/switch/port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "endpoint/spec.h"
#include "endpoint/switch/lan.h"

static struct lan_port *port_of(struct endpoint *endpoint)
{
    return (struct lan_port *)endpoint;
}

static int out_of_memory(struct error *err)
{
    return error_set(err, ENOMEM, "endpoint switch: out of memory");
}

/* ---- options ---------------------------------------------------------------------------- */

/* `what` is set if the option is on; an option that is not there leaves it as it is. */
static int flag_read(const struct endpoint_spec *spec, const char *key, uint32_t what,
                     uint32_t *flags, struct error *err)
{
    int on = (*flags & what) != 0;
    int result = endpoint_spec_switch(spec, key, &on, err);

    *flags = on ? *flags | what : *flags & ~what;
    return result;
}

static int full_read(const struct endpoint_spec *spec, uint32_t *flags, struct error *err)
{
    const char *text = endpoint_spec_get(spec, "full");

    if (text == NULL || strcmp(text, "drop") == 0)
        return 0;
    if (strcmp(text, "wait") != 0)
        return error_set(err, EINVAL, "endpoint switch: full=%s must be full=drop or full=wait",
                         text);
    *flags |= LAN_PORT_WAIT;
    return 0;
}

int lan_read_settings(const struct endpoint_spec *spec, struct lan_port_settings *ret_settings,
                      struct error *err)
{
    static const char *const keys[] = {"name", "isolated", "anti-spoof", "full", "pin", NULL};
    struct lan_port_settings settings = {
        .nic_name = spec->nic_name == NULL ? "" : spec->nic_name,
        .mac = mac_from_bytes(spec->mac),
        .flags = LAN_PORT_PINNED,
    };
    int result = endpoint_spec_allow(spec, keys, err);

    if (result == 0 && endpoint_spec_get(spec, "name") == NULL)
        result = error_set(err, EINVAL,
                           "endpoint switch: name= is missing; name the switch, such as "
                           "switch:name=lan0");
    if (result == 0)
        result = flag_read(spec, "isolated", LAN_PORT_ISOLATED, &settings.flags, err);
    if (result == 0)
        result = flag_read(spec, "anti-spoof", LAN_PORT_GUARDED, &settings.flags, err);
    if (result == 0)
        result = flag_read(spec, "pin", LAN_PORT_PINNED, &settings.flags, err);
    if (result == 0)
        result = full_read(spec, &settings.flags, err);
    *ret_settings = settings;
    return result;
}

/* ---- ports ------------------------------------------------------------------------------ */

/* One that was open before, or a new one; not yet used. */
static int port_find_free(struct lan *lan, struct lan_port **ret_port, struct error *err)
{
    for (unsigned i = 0; i < LAN_PORTS_MAX; i++) {
        struct lan_port *port = atomic_load_explicit(&lan->port[i], memory_order_relaxed);

        if (port != NULL && port->used)
            continue;
        if (port == NULL) {
            port = calloc(1, sizeof(*port));
            if (port == NULL)
                return out_of_memory(err);
            port->base.ops = &switch_endpoint_ops;
            port->lan = lan;
            port->index = i;
            port->timer_fd = -1;
            atomic_store_explicit(&lan->port[i], port, memory_order_release);
        }
        *ret_port = port;
        return 0;
    }
    return error_set(err, ENOSPC, "endpoint switch: %s has %d ports, which is the most", lan->name,
                     LAN_PORTS_MAX);
}

/* Statistics are of the card that has the port now. */
static void port_forget_stats(struct lan_port *port)
{
    for (unsigned i = 0; i < LAN_PAIRS_MAX; i++) {
        struct lan_queue *queue = atomic_load_explicit(&port->queue[i], memory_order_relaxed);

        if (queue == NULL)
            continue;
        lan_stats_add(&port->lan->past, &queue->stats);
        memset(&queue->stats, 0, sizeof(queue->stats));
        port->lan->past_lost += atomic_exchange_explicit(&queue->lost, 0, memory_order_relaxed);
    }
}

static void port_pin(struct lan_port *port, uint64_t mac)
{
    struct lan *lan = port->lan;

    if (mac == 0 || !(atomic_load_explicit(&port->flags, memory_order_relaxed) & LAN_PORT_PINNED))
        return;
    if (mac_table_pin(&lan->table, mac, port->index) < 0)
        log_warning("switch %s: no room to keep the address of %s; it is learned like others",
                    lan->name, port->nic_name);
}

int lan_open_port(struct lan *lan, const struct lan_port_settings *settings,
                  struct lan_port **ret_port, struct error *err)
{
    struct lan_port *port;
    int result = port_find_free(lan, &port, err);

    if (result < 0)
        return result;
    if (settings->flags & LAN_PORT_WAIT) {
        port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (port->timer_fd < 0)
            return error_set(err, errno, "endpoint switch: no timer for full=wait: %s",
                             strerror(errno));
    }
    snprintf(port->nic_name, sizeof(port->nic_name), "%s", settings->nic_name);
    atomic_store_explicit(&port->flags, settings->flags, memory_order_relaxed);
    atomic_store_explicit(&port->mac, settings->mac, memory_order_relaxed);
    port->used = 1;
    lan->ports_used++;
    port_pin(port, settings->mac);
    *ret_port = port;
    return 0;
}

void lan_port_set_mac(struct lan_port *port, uint64_t mac)
{
    uint64_t before = atomic_load_explicit(&port->mac, memory_order_relaxed);

    mac_table_unpin(&port->lan->table, before, port->index);
    atomic_store_explicit(&port->mac, mac, memory_order_relaxed);
    port_pin(port, mac);
}

static void port_close(struct endpoint *endpoint)
{
    struct lan_port *port = port_of(endpoint);

    mac_table_forget(&port->lan->table, port->index);
    port_forget_stats(port);
    fd_close(&port->timer_fd);
    port->used = 0;
    port->lan->ports_used--;
    switches_port_closed(port->lan);
}

static void port_free(struct lan_port *port)
{
    if (port == NULL)
        return;
    for (unsigned i = 0; i < LAN_PAIRS_MAX; i++) {
        struct lan_queue *queue = atomic_load_explicit(&port->queue[i], memory_order_relaxed);

        if (queue == NULL)
            continue;
        inbox_free(queue->inbox);
        free(queue->guard);
        free(queue);
    }
    free(port);
}

void lan_free(struct lan *lan)
{
    if (lan == NULL)
        return;
    for (unsigned i = 0; i < LAN_PORTS_MAX; i++)
        port_free(atomic_load_explicit(&lan->port[i], memory_order_relaxed));
    free(lan);
}

/* ---- queues ----------------------------------------------------------------------------- */

static struct lan_queue *queue_create(struct lan_port *port, unsigned index)
{
    struct lan_queue *queue = aligned_alloc(64, (sizeof(*queue) + 63) / 64 * 64);

    if (queue == NULL)
        return NULL;
    memset(queue, 0, sizeof(*queue));
    queue->base.endpoint = &port->base;
    queue->port = port;
    queue->index = index;
    if (inbox_create(&queue->inbox) < 0) {
        free(queue);
        return NULL;
    }
    return queue;
}

static int queue_find(struct lan_port *port, unsigned index, struct lan_queue **ret_queue,
                      struct error *err)
{
    struct lan_queue *queue = atomic_load_explicit(&port->queue[index], memory_order_relaxed);

    if (queue == NULL)
        queue = queue_create(port, index);
    if (queue == NULL)
        return out_of_memory(err);
    atomic_store_explicit(&port->queue[index], queue, memory_order_release);
    if (queue->guard == NULL &&
        atomic_load_explicit(&port->flags, memory_order_relaxed) & LAN_PORT_GUARDED)
        queue->guard = malloc(sizeof(*queue->guard));
    if (queue->guard == NULL &&
        atomic_load_explicit(&port->flags, memory_order_relaxed) & LAN_PORT_GUARDED)
        return out_of_memory(err);
    *ret_queue = queue;
    return 0;
}

static int port_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                           struct endpoint_queue **ret_queue, struct error *err)
{
    struct lan_port *port = port_of(endpoint);
    struct lan_queue *queue;
    int result = queue_find(port, index, &queue, err);

    if (result < 0)
        return result;
    /* Another endpoint of the card may have had the address meanwhile. */
    port_pin(port, atomic_load_explicit(&port->mac, memory_order_relaxed));
    lan_inbox_clear(queue);
    queue->rx = rx;
    atomic_fetch_add_explicit(&queue->generation, 1, memory_order_relaxed);
    atomic_store_explicit(&queue->full, 0, memory_order_relaxed);
    atomic_store_explicit(&queue->blocked, 0, memory_order_relaxed);
    atomic_store_explicit(&queue->waker, rx->waker, memory_order_release);
    atomic_store_explicit(&queue->worker, rx->worker, memory_order_release);
    atomic_fetch_or_explicit(&port->open[index / 64], 1ull << index % 64, memory_order_release);
    atomic_fetch_or_explicit(&port->lan->active[port->index / 64], 1ull << port->index % 64,
                             memory_order_release);
    *ret_queue = &queue->base;
    return 0;
}

static void port_queue_close(struct endpoint_queue *endpoint_queue)
{
    struct lan_queue *queue = (struct lan_queue *)endpoint_queue;
    struct lan_port *port = queue->port;
    unsigned index = queue->index;
    uint64_t left = 0;

    atomic_fetch_and_explicit(&port->open[index / 64], ~(1ull << index % 64), memory_order_relaxed);
    for (unsigned i = 0; i < LAN_PAIR_WORDS; i++)
        left |= atomic_load_explicit(&port->open[i], memory_order_relaxed);
    if (left == 0)
        atomic_fetch_and_explicit(&port->lan->active[port->index / 64], ~(1ull << port->index % 64),
                                  memory_order_relaxed);
    atomic_store_explicit(&queue->worker, NULL, memory_order_release);
    lan_inbox_clear(queue);
    lan_wake_waiters(queue);
    queue->rx = NULL;
}

static int port_wait_fd(struct endpoint_queue *queue)
{
    (void)queue;
    return -1;
}

/* ---- full=wait -------------------------------------------------------------------------- */

void lan_port_time_full(struct lan_port *port)
{
    const struct itimerspec at = {.it_value.tv_nsec =
                                      (LAN_FULL_MS + 1) * (long)CLOCK_MILLISECOND_NS};

    if (port->timer_fd >= 0)
        timerfd_settime(port->timer_fd, 0, &at, NULL);
}

static int port_event_fd(struct endpoint *endpoint)
{
    return port_of(endpoint)->timer_fd;
}

static uint32_t port_events(struct endpoint *endpoint)
{
    struct lan_port *port = port_of(endpoint);
    uint64_t count;

    if (read(port->timer_fd, &count, sizeof(count)) < 0)
        return 0;
    for (unsigned i = 0; i < LAN_PAIRS_MAX; i++) {
        struct lan_queue *queue = atomic_load_explicit(&port->queue[i], memory_order_relaxed);

        if (queue != NULL)
            lan_wake_waiters(queue);
    }
    return 0;
}

/* ---- the contract ----------------------------------------------------------------------- */

/* Switches are somebody's: switches_open_port. */
static int port_open_alone(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                           struct error *err)
{
    struct lan_port_settings settings;
    int result = lan_read_settings(spec, &settings, err);

    (void)ret_endpoint;
    if (result < 0)
        return result;
    return error_set(err, EINVAL, "endpoint switch: there is nothing here that keeps switches");
}

static void port_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    (void)endpoint;
    *ret_caps = (struct endpoint_caps){
        .tx_offloads = ENDPOINT_OFFLOADS_ALL,
        .rx_offloads = ENDPOINT_OFFLOADS_ALL,
        .queue_pairs_max = LAN_PAIRS_MAX,
    };
}

static int port_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    (void)endpoint;
    (void)rx_offloads;
    return 0;
}

static void port_set_mac(struct endpoint *endpoint, const uint8_t mac[6])
{
    lan_port_set_mac(port_of(endpoint), mac_from_bytes(mac));
}

const struct endpoint_ops switch_endpoint_ops = {
    .kind = "switch",
    .summary = "a port of a switch between the NICs of this process",
    .options_help =
        "name=NAME      the switch (needed); it is there as long as it has ports\n"
        "isolated=on    talk to the switch's uplink only (default: off)\n"
        "anti-spoof=on  drop frames and ARP that the guest sends from another MAC address than the "
        "NIC's "
        "(default: off)\n"
        "full=wait|drop what becomes of frames that the guest has no buffers for (default: drop)\n"
        "pin=off        let the NIC's MAC address be learned behind other ports (default: on)\n",
    .open = port_open_alone,
    .close = port_close,
    .capabilities = port_capabilities,
    .set_offloads = port_set_offloads,
    .set_mac = port_set_mac,
    .queue_open = port_queue_open,
    .queue_close = port_queue_close,
    .send = lan_send,
    .receive = lan_receive,
    .wait_fd = port_wait_fd,
    .event_fd = port_event_fd,
    .events = port_events,
    .inspect = lan_port_inspect,
};
