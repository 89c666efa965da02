/* SPDX-License-Identifier: MIT */
/* The endpoint `loopback`: what the guest sends on a queue comes back on the same queue. */
#pragma once

#include "endpoint/endpoint.h"

extern const struct endpoint_ops loopback_endpoint_ops;
