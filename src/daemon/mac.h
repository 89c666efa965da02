/* SPDX-License-Identifier: MIT */
/* MAC addresses as operators write them. */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum {
    MAC_TEXT_LEN = sizeof("52:54:00:00:00:01")
};

/* Six hexadecimal bytes with ':' or '-' between; neither zero nor multicast. The sentence begins
 * with `place` and "mac: ". */
int mac_parse(const char *text, const char *place, uint8_t ret_mac[6], struct error *err);
void mac_format(const uint8_t mac[6], char ret_text[MAC_TEXT_LEN]);

/* An address for a NIC that was given none: the same each time for a socket path on this machine,
 * so that leases and a guest's network names outlive a restart. */
void mac_choose(const char *socket_path, uint8_t ret_mac[6]);
