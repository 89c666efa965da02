/* SPDX-License-Identifier: MIT */
/* The visitor of a caller behind the one inside, and the kinds of endpoints. */
#include "api/vionic_parts.h"

#include <errno.h>

#include "api/sized.h"
#include "base/inspect.h"
#include "endpoint/catalog.h"

_Static_assert((int)VIONIC_NUMBER_DECIMAL == INSPECT_DECIMAL &&
                   (int)VIONIC_NUMBER_HEXADECIMAL == INSPECT_HEX &&
                   (int)VIONIC_NUMBER_COUNTER == INSPECT_COUNTER,
               "one is passed as the other");

static void visit_enter(void *context, const char *name)
{
    const struct vionic_visitor *visitor = context;

    if (visitor->enter != NULL)
        visitor->enter(visitor->context, name);
}

static void visit_leave(void *context)
{
    const struct vionic_visitor *visitor = context;

    if (visitor->leave != NULL)
        visitor->leave(visitor->context);
}

static void visit_text(void *context, const char *name, const char *value)
{
    const struct vionic_visitor *visitor = context;

    if (visitor->text != NULL)
        visitor->text(visitor->context, name, value);
}

static void visit_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    const struct vionic_visitor *visitor = context;

    if (visitor->number != NULL)
        visitor->number(visitor->context, name, value, (int)style);
}

static void visit_flag(void *context, const char *name, int value)
{
    const struct vionic_visitor *visitor = context;

    if (visitor->flag != NULL)
        visitor->flag(visitor->context, name, value);
}

static const struct inspect_ops visit_ops = {
    .enter = visit_enter,
    .leave = visit_leave,
    .text = visit_text,
    .number = visit_number,
    .flag = visit_flag,
};

static void nic_show(struct vionic_nic *nic, struct inspect *inspect)
{
    coordinator_inspect(nic->coordinator, inspect);
    if (nic->vhost_user != NULL)
        vhost_user_inspect(nic->vhost_user, inspect);
    else
        embedded_inspect(nic, inspect);
}

int vionic_inspect(struct vionic *vionic, const struct vionic_visitor *given)
{
    struct vionic_visitor visitor;
    struct inspect inspect = {.ops = &visit_ops, .context = &visitor};
    int result = sized_read(given, "vionic_visitor", &visitor, sizeof(visitor), NULL);

    if (result < 0)
        return result;
    for (struct vionic_nic *nic = vionic->nics; nic != NULL; nic = nic->next) {
        inspect_enter(&inspect, coordinator_name(nic->coordinator));
        nic_show(nic, &inspect);
        inspect_leave(&inspect);
    }
    switches_show(vionic, &inspect);
    return 0;
}

int vionic_nic_inspect(struct vionic_nic *nic, const struct vionic_visitor *given)
{
    struct vionic_visitor visitor;
    struct inspect inspect = {.ops = &visit_ops, .context = &visitor};
    int result = sized_read(given, "vionic_visitor", &visitor, sizeof(visitor), NULL);

    if (result == 0)
        nic_show(nic, &inspect);
    return result;
}

int vionic_endpoint_kind(unsigned index, struct vionic_endpoint_kind *ret_kind)
{
    struct vionic_endpoint_kind kind;

    for (unsigned i = 0; endpoint_catalog[i] != NULL; i++) {
        if (i != index)
            continue;
        kind = (struct vionic_endpoint_kind){
            .kind = endpoint_catalog[i]->kind,
            .summary = endpoint_catalog[i]->summary,
            .options_help = endpoint_catalog[i]->options_help,
        };
        return sized_write(ret_kind, &kind, sizeof(kind));
    }
    return -ENOENT;
}
