/* SPDX-License-Identifier: MIT */
/* The endpoint `user`: a private network with DHCP, DNS and NAT to the host's, without any
 * privilege. */
#pragma once

#include "endpoint/endpoint.h"

extern const struct endpoint_ops user_endpoint_ops;
