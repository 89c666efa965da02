/* SPDX-License-Identifier: MIT */
#include "endpoint/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "endpoint/loopback.h"
#include "endpoint/null.h"
#include "endpoint/stream/stream.h"
#include "endpoint/switch/port.h"
#include "endpoint/tap/tap.h"
#include "endpoint/user/user.h"

const struct endpoint_ops *const endpoint_catalog[] = {
    &user_endpoint_ops,
    &tap_endpoint_ops,
    &stream_endpoint_ops,
    &switch_endpoint_ops,
    &loopback_endpoint_ops,
    &null_endpoint_ops,
    NULL,
};

static const struct endpoint_ops *catalog_find(const char *kind)
{
    for (unsigned i = 0; endpoint_catalog[i] != NULL; i++) {
        if (strcmp(endpoint_catalog[i]->kind, kind) == 0)
            return endpoint_catalog[i];
    }
    return NULL;
}

static int catalog_refuse(const char *kind, struct error *err)
{
    char kinds[256] = "";
    size_t used = 0;

    for (unsigned i = 0; endpoint_catalog[i] != NULL && used < sizeof(kinds); i++)
        used += (size_t)snprintf(kinds + used, sizeof(kinds) - used, "%s%s", i == 0 ? "" : ", ",
                                 endpoint_catalog[i]->kind);
    return error_set(err, EINVAL, "no endpoint kind '%s'; the kinds are %s", kind, kinds);
}

int endpoint_open(const struct endpoint_spec *spec, struct endpoint **ret_endpoint,
                  struct error *err)
{
    const struct endpoint_ops *ops = catalog_find(spec->kind);

    *ret_endpoint = NULL;
    if (ops == NULL)
        return catalog_refuse(spec->kind, err);
    return ops->open(spec, ret_endpoint, err);
}

int endpoint_take(const struct endpoint_spec *spec, const struct endpoint_gift *gift,
                  struct endpoint **ret_endpoint, struct error *err)
{
    const struct endpoint_ops *ops = catalog_find(spec->kind);

    *ret_endpoint = NULL;
    if (ops == NULL || ops->take == NULL)
        return -ENOENT;
    return ops->take(spec, gift, ret_endpoint, err);
}

void endpoint_close(struct endpoint *endpoint)
{
    if (endpoint != NULL)
        endpoint->ops->close(endpoint);
}
