/* SPDX-License-Identifier: MIT */
/* Life of the endpoint `user`, and what it shows. */
#include "endpoint/user/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "endpoint/user/network.h"

enum {
    STATE_NETWORK = 1, /* tag of what is given */
    KEEP_TRIES = 20,
    KEEP_WAIT_MS = 5,
};

static void user_close(struct endpoint *endpoint)
{
    struct user *user = (struct user *)endpoint;

    if (user == NULL)
        return;
    network_close(user); /* tells the pollset of each socket that it closes */
    backlog_free(&user->backlog);
    pollset_free(&user->pollset);
    free(user);
}

static int gift_read(struct user *user, const struct endpoint_gift *gift, struct error *err)
{
    struct records records;
    struct record_reader reader;
    int rc = records_parse_long(&records, gift->block, gift->len, 1ull << STATE_NETWORK, err);

    if (rc < 0)
        return rc;
    if (records_find(&records, STATE_NETWORK, &reader) && network_load(user, &reader) == 0)
        return 0;
    return error_set(err, EINVAL, "endpoint user: libslirp can't read what was given of it");
}

/* A guest's echo request becomes a socket of a kind that the host may keep from this process. Said
 * once: it is so for all NICs. */
static void ping_look(struct user *user)
{
    static int said;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);

    user->no_ping = fd < 0 && errno == EACCES;
    fd_close(&fd);
    if (!user->no_ping || user->config.restricted || said)
        return;
    said = 1;
    log_info("endpoint user: guests can't ping beyond their network, because the host's sysctl "
             "net.ipv4.ping_group_range leaves this process's group out; "
             "'sysctl net.ipv4.ping_group_range=\"0 2147483647\"' lets all ping");
}

/* gift: what another process had; NULL: nothing. */
static int user_begin(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                      struct endpoint **ret_endpoint, struct error *err)
{
    struct user *user = calloc(1, sizeof(*user));
    int rc;

    if (user == NULL)
        return error_set(err, ENOMEM, "endpoint user: out of memory");
    user->base.ops = &user_endpoint_ops;
    user->pollset.epoll_fd = -1;
    user->pollset.alarm_fd = -1;
    rc = user_config_read(spec, &user->config, err);
    if (rc < 0)
        goto fail;
    segments_init(&user->segments, (uint32_t)user->config.mtu);
    rc = backlog_init(&user->backlog);
    if (rc == 0)
        rc = pollset_init(&user->pollset);
    if (rc < 0) {
        error_set(err, -rc, "endpoint user: can't be set up: %s", strerror(-rc));
        goto fail;
    }
    rc = network_open(user, err);
    if (rc == 0 && gift != NULL)
        rc = gift_read(user, gift, err);
    if (rc == 0)
        rc = network_add_forwards(user, err);
    if (rc < 0)
        goto fail;
    ping_look(user);
    *ret_endpoint = &user->base;
    return 0;
fail:
    user_close(&user->base);
    return rc;
}

static int user_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                     struct error *err)
{
    return user_begin(spec, NULL, ret_endpoint, err);
}

/* Connections of the guest are sockets with libslirp's own state behind them: they end with this
 * process, and the guest makes new ones. Its addresses stay. */
static void user_give(struct endpoint *endpoint, struct records_writer *writer, struct fd_list *fds)
{
    struct user *user = (struct user *)endpoint;

    (void)fds;
    records_open(writer, STATE_NETWORK, RECORD_OPTIONAL);
    network_save(user, writer);
    records_close(writer);
    network_remove_forwards(user);
    user->given = 1;
}

static int user_take(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                     struct endpoint **ret_endpoint, struct error *err)
{
    return user_begin(spec, gift, ret_endpoint, err);
}

/* A process that was killed may hold the ports for another moment. */
static void user_keep(struct endpoint *endpoint)
{
    struct user *user = (struct user *)endpoint;
    struct error err;
    int rc = user->given ? network_add_forwards(user, &err) : 0;

    for (unsigned i = 0; rc == -EADDRINUSE && i < KEEP_TRIES; i++) {
        network_remove_forwards(user);
        poll(NULL, 0, KEEP_WAIT_MS);
        rc = network_add_forwards(user, &err);
    }
    if (rc < 0)
        log_error("%s", err.text);
    user->given = 0;
}

static void user_capabilities(struct endpoint *endpoint, struct endpoint_caps *ret_caps)
{
    const struct user *user = (struct user *)endpoint;

    *ret_caps = (struct endpoint_caps){
        .tx_offloads = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6 | ENDPOINT_ECN,
        .rx_offloads = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6,
        .queue_pairs_max = 1,
        .mtu = (uint32_t)user->config.mtu,
    };
}

/* The NIC cuts what this guest does not take. */
static int user_set_offloads(struct endpoint *endpoint, uint32_t rx_offloads)
{
    (void)endpoint;
    (void)rx_offloads;
    return 0;
}

static int user_queue_open(struct endpoint *endpoint, unsigned index, struct endpoint_rx *rx,
                           struct endpoint_queue **ret_queue, struct error *err)
{
    struct user *user = (struct user *)endpoint;

    if (index != 0)
        return error_set(err, ERANGE, "endpoint user: it has one queue pair, not %u", index + 1);
    if (user->queue_is_open)
        return error_set(err, EBUSY, "endpoint user: its queue pair is open already");
    user->queue_is_open = 1;
    user->queue = (struct user_queue){.base.endpoint = endpoint, .rx = rx};
    /* Lets the first receive() find out what the sockets wait for. */
    pollset_alarm(&user->pollset, 1);
    *ret_queue = &user->queue.base;
    return 0;
}

/* Connections live on; frames that a guest of the past had no room for do not. */
static void user_queue_close(struct endpoint_queue *queue)
{
    struct user *user;

    if (queue == NULL)
        return;
    user = (struct user *)queue->endpoint;
    user->queue_is_open = 0;
    user->queue.rx = NULL;
    backlog_clear(&user->backlog);
}

static unsigned user_send(struct endpoint_queue *queue, const struct frame *frames, unsigned count)
{
    return network_send((struct user *)queue->endpoint, frames, count);
}

static unsigned user_receive(struct endpoint_queue *queue, unsigned budget)
{
    return network_receive((struct user *)queue->endpoint, budget);
}

static int user_wait_fd(struct endpoint_queue *queue)
{
    return ((struct user *)queue->endpoint)->pollset.epoll_fd;
}

/* A port of the host leads to one guest. */
static int user_stands_in_the_way(struct endpoint *endpoint, const struct endpoint_spec *spec)
{
    const struct user_config *config = &((struct user *)endpoint)->config;

    for (unsigned i = 0; i < spec->option_count; i++) {
        for (unsigned j = 0; j < config->forward_count; j++) {
            if (strcmp(spec->option[i].key, "hostfwd") == 0 &&
                strcmp(spec->option[i].value, config->forward[j].text) == 0)
                return 1;
        }
    }
    return 0;
}

static void user_inspect_address(struct inspect *visitor, const char *name, int family,
                                 const void *address)
{
    char text[INET6_ADDRSTRLEN];

    inspect_text(visitor, name, "%s", inet_ntop(family, address, text, sizeof(text)));
}

static void user_inspect(struct endpoint *endpoint, struct inspect *visitor)
{
    const struct user *user = (struct user *)endpoint;
    const struct user_config *config = &user->config;
    char text[INET6_ADDRSTRLEN];

    inspect_text(visitor, "net", "%s/%u", inet_ntop(AF_INET, &config->net, text, sizeof(text)),
                 config->net_len);
    user_inspect_address(visitor, "gateway", AF_INET, &config->host);
    user_inspect_address(visitor, "dns", AF_INET, &config->dns);
    user_inspect_address(visitor, "dhcp_start", AF_INET, &config->dhcp_start);
    inspect_flag(visitor, "ipv6", config->ipv6);
    if (config->ipv6) {
        inspect_text(visitor, "net6", "%s/%u",
                     inet_ntop(AF_INET6, &config->net6, text, sizeof(text)), config->net6_len);
        user_inspect_address(visitor, "gateway6", AF_INET6, &config->host6);
        user_inspect_address(visitor, "dns6", AF_INET6, &config->dns6);
    }
    inspect_number(visitor, "mtu", config->mtu);
    inspect_counter(visitor, "sockets", &user->pollset.open_count);
    inspect_number(visitor, "sockets_max", config->sockets_max);
    inspect_flag(visitor, "restricted", config->restricted);
    inspect_flag(visitor, "can_ping", !((struct user *)endpoint)->no_ping);
    inspect_enter(visitor, "forwards");
    for (unsigned i = 0; i < config->forward_count; i++) {
        inspect_enter_index(visitor, i);
        inspect_text(visitor, "hostfwd", "%s", config->forward[i].text);
        inspect_leave(visitor);
    }
    inspect_leave(visitor);
    inspect_counter(visitor, "rx_backlogged", &user->rx_backlogged);
    inspect_counter(visitor, "rx_dropped_backlog", &user->rx_dropped_backlog);
    inspect_counter(visitor, "out_of_files", &user->out_of_files);
    inspect_counter(visitor, "over_sockets_max", &user->over_sockets_max);
    inspect_counter(visitor, "turned_away", &user->turned_away);
    inspect_counter(visitor, "guest_errors", &user->guest_errors);
}

const struct endpoint_ops user_endpoint_ops = {
    .kind = "user",
    .summary = "a private network with DHCP, DNS and NAT to the host's; needs no privilege",
    .options_help =
        "net=ADDRESS/LEN   the guest's network (default: 10.0.2.0/24)\n"
        "host=ADDRESS      the gateway in it, which leads to the host (default: the 2nd address)\n"
        "dns=ADDRESS       the name server in it (default: the 3rd)\n"
        "dhcpstart=ADDRESS the first address given out (default: the 15th)\n"
        "ipv6=on|off       IPv6 beside IPv4 (default: on)\n"
        "net6=PREFIX/LEN   the guest's IPv6 network (default: fec0::/64)\n"
        "mtu=BYTES         (default: 1500)\n"
        "sockets-max=COUNT connections and other flows that may be open at a time, those from\n"
        "                  outside included; beyond it only open TCP connections go on\n"
        "                  (default: 4096)\n"
        "hostname=NAME     the guest's name, told by DHCP\n"
        "restrict=on|off   keep the guest inside: only forwards work (default: off)\n"
        "hostfwd=PROTOCOL:HOSTADDR:PORT-GUESTADDR:PORT\n"
        "                  lead a port of the host to the guest; may be given many times, such as\n"
        "                  hostfwd=tcp:127.0.0.1:2222-:22\n",
    .open = user_open,
    .close = user_close,
    .capabilities = user_capabilities,
    .set_offloads = user_set_offloads,
    .queue_open = user_queue_open,
    .queue_close = user_queue_close,
    .send = user_send,
    .receive = user_receive,
    .wait_fd = user_wait_fd,
    .stands_in_the_way = user_stands_in_the_way,
    .give = user_give,
    .take = user_take,
    .keep = user_keep,
    .inspect = user_inspect,
};
