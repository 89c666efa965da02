/* SPDX-License-Identifier: MIT */
/* The endpoint `null`: drops what the guest sends, and can make frames for it. */
#pragma once

#include "endpoint/endpoint.h"

extern const struct endpoint_ops null_endpoint_ops;
