/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* Six hexadecimal bytes with ':' or '-' between them; -EINVAL. */
int mac_text_parse(const char *text, uint8_t ret_mac[6]);
