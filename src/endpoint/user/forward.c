/* SPDX-License-Identifier: MIT */
/* hostfwd=tcp:127.0.0.1:2222-:22, hostfwd=udp:[::1]:5353-[fec0::15]:53 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint/user/config.h"

/* Takes `ADDRESS:PORT` off the front of *text. `[ADDRESS]` is IPv6, "" is the unspecified IPv4 one.
 */
static int forward_take_address(const char **text, char end, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    int is_v6 = **text == '[';
    const char *start = *text + is_v6;
    const char *stop = strchr(start, is_v6 ? ']' : ':');
    char address[INET6_ADDRSTRLEN];
    char *port_end;
    unsigned long port;

    if (stop == NULL || stop - start >= (ptrdiff_t)sizeof(address) || stop[is_v6] != ':')
        return -EINVAL;
    memcpy(address, start, (size_t)(stop - start));
    address[stop - start] = '\0';
    start = stop + is_v6 + 1;
    port = strtoul(start, &port_end, 10);
    if (*start < '0' || *start > '9' || *port_end != end || port < 1 || port > 65535)
        return -EINVAL;
    *text = end == '\0' ? port_end : port_end + 1;
    *ret_address = (struct sockaddr_storage){.ss_family = is_v6 ? AF_INET6 : AF_INET};
    if (is_v6) {
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, address, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    v4->sin_port = htons((uint16_t)port);
    return *address == '\0' || inet_pton(AF_INET, address, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static int forward_check_guest(const struct user_config *config, const struct user_forward *forward,
                               struct error *err)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&forward->guest;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&forward->guest;

    if (forward->host.ss_family != forward->guest.ss_family)
        return error_set(err, EINVAL,
                         "endpoint user: hostfwd=%s mixes IPv4 and IPv6; use one of them on both "
                         "sides",
                         forward->text);
    if (v4->sin_family == AF_INET) {
        if (v4->sin_addr.s_addr == 0 ||
            ((v4->sin_addr.s_addr ^ config->net.s_addr) & config->mask.s_addr) == 0)
            return 0;
        return error_set(err, EINVAL,
                         "endpoint user: hostfwd=%s leads to an address outside the guest's "
                         "network; leave the guest's address out or take one inside net=",
                         forward->text);
    }
    if (!config->ipv6)
        return error_set(err, EINVAL, "endpoint user: hostfwd=%s needs ipv6=on", forward->text);
    if (IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        return error_set(err, EINVAL,
                         "endpoint user: hostfwd=%s must name the guest's IPv6 address",
                         forward->text);
    return 0;
}

int user_forward_parse(const struct user_config *config, const char *text,
                       struct user_forward *ret_forward, struct error *err)
{
    const char *rest = text + 4;
    int rc = -EINVAL;

    *ret_forward = (struct user_forward){0};
    if (strlen(text) >= sizeof(ret_forward->text))
        return error_set(err, EINVAL, "endpoint user: hostfwd=%.40s... is too long", text);
    memcpy(ret_forward->text, text, strlen(text) + 1);
    if (strncmp(text, "tcp:", 4) == 0)
        ret_forward->protocol = IPPROTO_TCP;
    else if (strncmp(text, "udp:", 4) == 0)
        ret_forward->protocol = IPPROTO_UDP;
    if (ret_forward->protocol != 0)
        rc = forward_take_address(&rest, '-', &ret_forward->host);
    if (rc == 0)
        rc = forward_take_address(&rest, '\0', &ret_forward->guest);
    if (rc < 0)
        return error_set(err, EINVAL,
                         "endpoint user: hostfwd=%s must look like "
                         "tcp:HOSTADDR:PORT-GUESTADDR:PORT or udp:..., such as "
                         "hostfwd=tcp:127.0.0.1:2222-:22",
                         text);
    return forward_check_guest(config, ret_forward, err);
}
