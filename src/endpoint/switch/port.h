/* SPDX-License-Identifier: MIT */
/* The endpoint `switch`: a port of a learning switch inside this process. */
#pragma once

#include "endpoint/endpoint.h"

/* For the catalog; ports are opened by switches_open_port. */
extern const struct endpoint_ops switch_endpoint_ops;
