/* SPDX-License-Identifier: MIT */
/* The options of the endpoint `user`, read and checked. Knows nothing of libslirp. */
#pragma once

#include <netinet/in.h>

#include "endpoint/endpoint.h"

enum {
    USER_MTU_DEFAULT = 1500,
    USER_SOCKETS_DEFAULT = 4096, /* or half of what the process may open, if that is less */
    USER_SOCKETS_MAX = 1000000,
    USER_MTU_MIN = 576,       /* IPv4 hosts take as much in any case (RFC 791) */
    USER_MTU_MIN_IPV6 = 1280, /* RFC 8200, 5 */
    USER_MTU_MAX = 65521,     /* libslirp's own limit */
    USER_HOSTNAME_MAX = 32,   /* libslirp's own limit */
    USER_FORWARD_TEXT_LEN = 160,
};

/* One hostfwd=: a port of the host that leads to a port of the guest. */
struct user_forward {
    char text[USER_FORWARD_TEXT_LEN]; /* as the operator wrote it */
    int protocol;                     /* IPPROTO_TCP or IPPROTO_UDP */
    struct sockaddr_storage host;
    struct sockaddr_storage guest; /* of the same family */
};

struct user_config {
    struct in_addr net;
    struct in_addr mask;
    unsigned net_len;
    struct in_addr host;
    struct in_addr dns;
    struct in_addr dhcp_start;

    int ipv6;
    struct in6_addr net6;
    unsigned net6_len;
    struct in6_addr host6;
    struct in6_addr dns6;

    uint64_t mtu;
    uint64_t sockets_max; /* that the guest and those who connect to it may have open */
    int restricted;
    char hostname[USER_HOSTNAME_MAX + 1]; /* "": libslirp sends none */

    unsigned forward_count;
    struct user_forward forward[ENDPOINT_OPTIONS_MAX];
};

int user_config_read(const struct endpoint_spec *spec, struct user_config *ret_config,
                     struct error *err);

/* forward.c: one hostfwd= value. */
int user_forward_parse(const struct user_config *config, const char *text,
                       struct user_forward *ret_forward, struct error *err);
