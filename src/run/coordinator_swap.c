/* SPDX-License-Identifier: MIT */
/*
 * Another endpoint behind a card that runs. The new one is opened first and looked at; then all
 * pairs move over in one pause, and back again if that fails. Only where both want the same thing
 * (a tap of that name, a port) the old one has to go first.
 */
#include "run/coordinator_parts.h"

#include <errno.h>
#include <string.h>

#include "endpoint/catalog.h"
#include "endpoint/spec.h"

struct swap {
    struct endpoint_spec spec; /* owned: of the one that is not in use */
    struct endpoint_opener opener;
    struct endpoint *endpoint; /* owned likewise; NULL: none */
};

static int open_and_check(struct coordinator *coordinator, struct swap *swap, struct error *err)
{
    int result =
        coordinator_open_for_pairs(coordinator, &swap->opener, &swap->spec, &swap->endpoint, err);

    if (result < 0) {
        swap->endpoint = NULL;
        return result;
    }
    result = coordinator_check_endpoint(coordinator, swap->endpoint, err);
    if (result < 0) {
        endpoint_close(swap->endpoint);
        swap->endpoint = NULL;
    }
    return result;
}

/* The one of now and the one that waits change places. */
static void change_places(struct coordinator *coordinator, struct swap *swap)
{
    struct swap before = *swap;

    swap->spec = coordinator->spec;
    swap->opener = coordinator->opener;
    coordinator->spec = before.spec;
    coordinator->opener = before.opener;
}

/* Leaves the endpoint that was there in swap->endpoint. */
NEEDS_DATA static int move_pairs(struct coordinator *coordinator, struct swap *swap,
                                 struct error *err)
{
    struct endpoint *next = swap->endpoint;
    int result;

    swap->endpoint = coordinator_release_endpoint(coordinator);
    result = coordinator_adopt_endpoint(coordinator, next, err);
    if (result < 0) {
        endpoint_close(next);
        return result;
    }
    coordinator_look_at_link(coordinator);
    coordinator_apply_all(coordinator);
    if (coordinator->unconnected == 0)
        return 0;
    error_say(err, "%s", coordinator->endpoint_error.text);
    endpoint_close(coordinator_release_endpoint(coordinator));
    return -EIO;
}

/* 0: the old one is back in its place, as far as it was in one. */
NEEDS_DATA static int move_back(struct coordinator *coordinator, struct swap *swap)
{
    struct endpoint *old = swap->endpoint;
    struct error err;

    swap->endpoint = NULL;
    if (old == NULL || coordinator_adopt_endpoint(coordinator, old, &err) < 0) {
        endpoint_close(old);
        return -ENODEV;
    }
    coordinator_look_at_link(coordinator);
    coordinator_apply_all(coordinator);
    return 0;
}

static int switch_over(struct coordinator *coordinator, struct swap *swap, struct error *err)
{
    int was_gone = coordinator->endpoint == NULL;
    int lost = 0;
    int result;

    coordinator_pause_all(coordinator);
    result = move_pairs(coordinator, swap, err);
    if (result < 0)
        lost = move_back(coordinator, swap) < 0;
    coordinator_resume_all(coordinator);
    if (result == 0)
        return 0;
    if (lost && !was_gone) {
        coordinator_endpoint_lost(coordinator);
        return result;
    }
    if (!was_gone && coordinator->unconnected == 0)
        coordinator_stop_retrying(coordinator); /* it was the new one that lacked a queue */
    coordinator_update_link(coordinator);
    return result;
}

/* Both want the same thing. If the new one can't have it after all, the old one gets it back; when
 * even that fails it has gone, and is tried again. */
static int give_way(struct coordinator *coordinator, struct swap *swap, struct error *err)
{
    struct swap old = {.spec = coordinator->spec, .opener = coordinator->opener};
    struct error again;
    int result;

    coordinator_pause_all(coordinator);
    endpoint_close(coordinator_release_endpoint(coordinator));
    result = open_and_check(coordinator, swap, err);
    if (result == 0)
        result = move_pairs(coordinator, swap, err);
    if (result < 0 && open_and_check(coordinator, &old, &again) == 0)
        move_back(coordinator, &old);
    coordinator_resume_all(coordinator);
    if (coordinator->endpoint == NULL)
        coordinator_endpoint_lost(coordinator);
    else if (result < 0)
        coordinator_update_link(coordinator);
    return result;
}

static int stands_in_the_way(const struct coordinator *coordinator, const struct swap *swap)
{
    const struct endpoint_ops *ops;

    if (coordinator->endpoint == NULL || swap->opener.open != NULL ||
        coordinator->opener.open != NULL || strcmp(coordinator->spec.kind, swap->spec.kind) != 0)
        return 0;
    ops = coordinator->endpoint->ops;
    return ops->stands_in_the_way != NULL &&
           ops->stands_in_the_way(coordinator->endpoint, &swap->spec);
}

static int swap_run(struct coordinator *coordinator, struct swap *swap, struct error *err)
{
    int result = open_and_check(coordinator, swap, err);

    if ((result == -EBUSY || result == -EADDRINUSE) && stands_in_the_way(coordinator, swap))
        return give_way(coordinator, swap, err);
    return result < 0 ? result : switch_over(coordinator, swap, err);
}

/* A driver that watches the link sees it go and come, whatever the two have. */
static void tell_driver(struct coordinator *coordinator, int link_before)
{
    coordinator->announce_due = 1;
    if (link_before && nic_link_up(&coordinator->nic)) {
        coordinator_replug(coordinator);
    } else {
        coordinator_update_link(coordinator);
        coordinator_tell_config(coordinator);
    }
    coordinator_follow_endpoint(coordinator);
}

int coordinator_swap_endpoint(struct coordinator *coordinator,
                              const struct coordinator_endpoint *wanted, struct error *err)
{
    struct swap swap = {.opener = wanted->opener};
    int link_before = nic_link_up(&coordinator->nic);
    int result = endpoint_spec_copy(wanted->spec, &swap.spec);

    if (result < 0)
        return error_set(err, -result, "out of memory");
    result = swap_run(coordinator, &swap, err);
    if (result == 0) {
        change_places(coordinator, &swap);
        log_info("%s: endpoint %s took the place of %s", coordinator->name, coordinator->spec.kind,
                 swap.spec.kind);
        coordinator_stop_retrying(coordinator);
        coordinator->endpoint_error.text[0] = '\0';
        coordinator->endpoint_swaps++;
        tell_driver(coordinator, link_before);
    }
    endpoint_close(swap.endpoint);
    endpoint_spec_clear(&swap.spec);
    return result;
}
