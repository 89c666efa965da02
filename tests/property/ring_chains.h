/* SPDX-License-Identifier: MIT */
/* Chains for the schedules: good ones, ones with buffers that are not memory, and with tables that
 * are none. */
#pragma once

#include "ring_model.h"

/* a: shape and length; b: what is wrong, mostly nothing; c: lengths and addresses. */
struct model_chain ring_chain_make(uint8_t a, uint8_t b, uint8_t c);
/* Writes a chain whose table is not what the driver would make, unpublished; answers its id. */
uint32_t ring_chain_add_split(struct driver_split *split, const struct model_chain *chain);
uint32_t ring_chain_add_packed(struct driver_packed *packed, const struct model_chain *chain);
