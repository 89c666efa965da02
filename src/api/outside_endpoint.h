/* SPDX-License-Identifier: MIT */
/* Endpoints of the embedder (vionic_endpoint.h) as endpoints like any other. Frames are the same
 * bytes on both sides; a call costs one more jump a batch. */
#pragma once

#include "endpoint/endpoint.h"
#include "vionic_endpoint.h"

struct outside_kind {
    struct vionic_endpoint_ops ops; /* this build's size; kind is owned */
    void *context;                  /* borrowed from the embedder */
};

/* Copies and checks. -EINVAL, -E2BIG and a sentence. */
int outside_kind_create(const struct vionic_endpoint_ops *given, void *context,
                        struct outside_kind **ret_kind, struct error *err);
/* Its endpoint is closed. NULL is fine. */
void outside_kind_free(struct outside_kind *kind);

/* Opens an endpoint of the kind (`context`, borrowed until it is closed): see endpoint_opener. */
int outside_endpoint_open(void *context, const struct endpoint_spec *spec,
                          struct endpoint **ret_endpoint, struct error *err);
