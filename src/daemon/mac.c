/* SPDX-License-Identifier: MIT */
#include "daemon/mac.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mac_text.h"
#include "daemon/schema.h"
#include "daemon/shown.h"

enum {
    MAC_BYTES = 6,
    MAC_MULTICAST = 0x01,
    MAC_LOCAL = 0x02,
};

int mac_parse(const char *text, const char *place, uint8_t ret_mac[6], struct error *err)
{
    static const uint8_t zero[MAC_BYTES];
    const char *fault = NULL;
    char shown[SHOWN_LEN];

    if (mac_text_parse(text, ret_mac) < 0)
        fault = "is not six hexadecimal bytes";
    else if (memcmp(ret_mac, zero, MAC_BYTES) == 0)
        fault = "is all zeros";
    else if ((ret_mac[0] & MAC_MULTICAST) != 0)
        fault = "is a multicast address (its first byte is odd)";
    if (fault == NULL)
        return 0;
    shown_text(text, shown);
    return error_set(err, EINVAL,
                     "%smac: \"%s\" %s; write one such as 52:54:00:12:34:56, or leave mac out",
                     place, shown, fault);
}

void mac_format(const uint8_t mac[6], char ret_text[MAC_TEXT_LEN])
{
    snprintf(ret_text, MAC_TEXT_LEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
             mac[3], mac[4], mac[5]);
}

/* FNV-1a, 64 bits. */
static uint64_t hash(uint64_t state, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        state = (state ^ (uint8_t)data[i]) * 0x100000001b3ull;
    return state;
}

/* A machine without an id gets a random number, so that two of them don't choose the same
 * addresses. */
static uint64_t machine_seed(void)
{
    uint64_t seed = 0xcbf29ce484222325ull;
    char id[64];
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, id, sizeof(id));

    fd_close(&fd);
    if (len >= 32)
        return hash(seed, id, (size_t)len);
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
        seed ^= clock_now_ns();
    return seed;
}

void mac_choose(const char *socket_path, uint8_t ret_mac[6])
{
    uint64_t value = hash(machine_seed(), socket_path, strlen(socket_path));

    for (int i = 0; i < MAC_BYTES; i++)
        ret_mac[i] = (uint8_t)(value >> (8 * i));
    ret_mac[0] = (uint8_t)((ret_mac[0] & ~MAC_MULTICAST) | MAC_LOCAL);
}
