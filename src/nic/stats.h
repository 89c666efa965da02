/* SPDX-License-Identifier: MIT */
/*
 * Device statistics (virtio 1.4, 5.1.6.5.8): what the driver may ask of the counters of its queues.
 * They are those of inspect, and count on over resets (the specification is silent).
 */
#pragma once

#include "nic/control_request.h"

control_handler control_stats_query, control_stats_get;
