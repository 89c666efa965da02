/* SPDX-License-Identifier: MIT */
#include "api/endpoint_choice.h"

#include <errno.h>
#include <string.h>

#include "api/sized.h"
#include "api/vionic_parts.h"
#include "endpoint/spec.h"

static int options_add(struct endpoint_choice *choice, const struct vionic_endpoint_config *config,
                       struct error *err)
{
    int result = 0;

    for (size_t i = 0; i < config->option_count && result == 0; i++)
        result =
            endpoint_spec_add(&choice->spec, config->options[i].key, config->options[i].value, err);
    return result;
}

int endpoint_choice_make(struct endpoint_choice *choice,
                         const struct vionic_endpoint_config *config, struct error *err)
{
    const char *kind = config->endpoint;
    int result = 0;

    *choice = (struct endpoint_choice){0};
    if (kind == NULL && config->ops == NULL)
        return error_set(err, EINVAL, "no endpoint is named");
    if (kind != NULL && config->ops != NULL)
        return error_set(err, EINVAL, "endpoint %s and endpoint_ops: a NIC has one endpoint", kind);
    if (config->ops != NULL)
        result = outside_kind_create(config->ops, config->context, &choice->outside, err);
    if (result == 0)
        result = endpoint_spec_parse(
            &choice->spec, choice->outside != NULL ? choice->outside->ops.kind : kind, err);
    if (result == 0)
        result = options_add(choice, config, err);
    if (result < 0)
        endpoint_choice_clear(choice);
    return result;
}

int endpoint_choice_parse(struct endpoint_choice *choice, const char *text, struct error *err)
{
    return endpoint_choice_make(choice, &(struct vionic_endpoint_config){.endpoint = text}, err);
}

/* An endpoint_opener. */
static int port_open(void *context, const struct endpoint_spec *spec,
                     struct endpoint **ret_endpoint, struct error *err)
{
    return switches_open_port(context, spec, ret_endpoint, err);
}

struct coordinator_endpoint endpoint_choice_coordinator(const struct endpoint_choice *choice,
                                                        struct switches *switches)
{
    struct coordinator_endpoint endpoint = {.spec = &choice->spec};

    if (choice->outside != NULL)
        endpoint.opener = (struct endpoint_opener){outside_endpoint_open, choice->outside};
    else if (strcmp(choice->spec.kind, "switch") == 0)
        endpoint.opener = (struct endpoint_opener){port_open, switches};
    return endpoint;
}

struct outside_kind *endpoint_choice_keep(struct endpoint_choice *choice)
{
    struct outside_kind *outside = choice->outside;

    choice->outside = NULL;
    return outside;
}

void endpoint_choice_clear(struct endpoint_choice *choice)
{
    endpoint_spec_clear(&choice->spec);
    outside_kind_free(choice->outside);
    choice->outside = NULL;
}

/* ---- another one later -------------------------------------------------------------------- */

int nic_swap_endpoint(struct vionic_nic *nic, struct endpoint_choice *choice, struct error *err)
{
    struct coordinator_endpoint wanted = endpoint_choice_coordinator(choice, nic->vionic->switches);
    int result = coordinator_swap_endpoint(nic->coordinator, &wanted, err);

    if (result == 0) {
        outside_kind_free(nic->outside);
        nic->outside = endpoint_choice_keep(choice);
    }
    endpoint_choice_clear(choice);
    return result;
}

int vionic_nic_set_endpoint(struct vionic_nic *nic, const struct vionic_endpoint_config *given,
                            struct vionic_error *ret_err)
{
    struct error *err = error_of(ret_err);
    struct vionic_endpoint_config config;
    struct endpoint_choice choice;
    int result = sized_read(given, "vionic_endpoint_config", &config, sizeof(config), err);

    if (result == 0)
        result = endpoint_choice_make(&choice, &config, err);
    return result < 0 ? result : nic_swap_endpoint(nic, &choice, err);
}
