/* SPDX-License-Identifier: MIT */
/* What the caller says of a switch: how it ages, and the uplink behind it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/endpoint_choice.h"
#include "api/handover.h"
#include "api/sized.h"
#include "api/vionic_parts.h"
#include "run/uplink.h"

enum {
    SWITCH_NAME_MAX = 31,
    UPLINK_PAIRS_MAX = 128,
};

struct vionic_switch {
    char name[SWITCH_NAME_MAX + 1];
    struct uplink *uplink;      /* owned; NULL: none */
    struct vionic_switch *next; /* owned: the list */
};

static struct vionic_switch **switch_find(struct vionic *vionic, const char *name)
{
    struct vionic_switch **at = &vionic->kept_switches;

    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

/* What another process gave; all zeroes: nothing. */
struct uplink_gift {
    struct record_reader *given; /* borrowed */
    struct fd_list *fds;         /* borrowed */
};

static int uplink_make(struct vionic *vionic, const struct vionic_switch_config *config,
                       const struct uplink_gift *gift, struct vionic_switch *kept,
                       struct error *err)
{
    const struct vionic_endpoint_config wanted = {
        .endpoint = config->uplink,
        .options = config->uplink_options,
        .option_count = config->uplink_option_count,
    };
    char name[sizeof("switch ") + SWITCH_NAME_MAX];
    struct endpoint_choice choice = {0};
    struct uplink_config uplink = {.name = name,
                                   .spec = &choice.spec,
                                   .pool = vionic->pool,
                                   .loop = vionic->loop,
                                   .given = gift->given,
                                   .fds = gift->fds};
    int result = endpoint_choice_make(&choice, &wanted, err);

    if (result < 0)
        return result;
    snprintf(name, sizeof(name), "switch %s", config->name);
    choice.spec.queue_pairs = config->queue_pairs == 0 ? 1 : config->queue_pairs;
    if (strcmp(choice.spec.kind, "switch") == 0)
        result = error_set(err, EINVAL, "a switch can't be the uplink of a switch");
    if (result == 0)
        result = switches_open_uplink(vionic->switches, config->name, &uplink.port, err);
    if (result == 0) {
        result = uplink_open(&uplink, &kept->uplink, err);
        if (result < 0)
            uplink.port->ops->close(uplink.port);
    }
    endpoint_choice_clear(&choice);
    return result;
}

static int switch_add(struct vionic *vionic, const struct vionic_switch_config *config,
                      struct error *err)
{
    const struct switch_settings settings = {
        .name = config->name,
        .ageing_s = config->ageing_s == 0 ? SWITCH_AGEING_S : config->ageing_s,
    };
    struct vionic_switch *kept;
    int result;

    if (config->name == NULL)
        return error_set(err, EINVAL, "no switch is named");
    if (config->queue_pairs > UPLINK_PAIRS_MAX)
        return error_set(err, EINVAL, "queues=%u is more than %d", config->queue_pairs,
                         UPLINK_PAIRS_MAX);
    result = switches_keep(vionic->switches, &settings, err);
    if (result < 0)
        return result;
    kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        result = error_set(err, ENOMEM, "out of memory");
    if (result == 0 && config->uplink != NULL)
        result = uplink_make(vionic, config, &(struct uplink_gift){0}, kept, err);
    if (result < 0) {
        free(kept);
        switches_release(vionic->switches, config->name);
        return result;
    }
    snprintf(kept->name, sizeof(kept->name), "%s", config->name);
    *switch_find(vionic, kept->name) = kept; /* not found: the end of the list */
    return 0;
}

int vionic_add_switch(struct vionic *vionic, const struct vionic_switch_config *given,
                      struct vionic_error *ret_err)
{
    struct error *err = error_of(ret_err);
    struct vionic_switch_config config;
    int result = sized_read(given, "vionic_switch_config", &config, sizeof(config), err);

    return result < 0 ? result : switch_add(vionic, &config, err);
}

int vionic_remove_switch(struct vionic *vionic, const char *name, struct vionic_error *err)
{
    struct vionic_switch **at = switch_find(vionic, name);
    struct vionic_switch *kept = *at;

    if (kept == NULL)
        return error_set(error_of(err), ENOENT, "no switch %s was added", name);
    *at = kept->next;
    uplink_close(kept->uplink);
    switches_release(vionic->switches, kept->name);
    free(kept);
    return 0;
}

void switches_drop_all(struct vionic *vionic)
{
    while (vionic->kept_switches != NULL)
        vionic_remove_switch(vionic, vionic->kept_switches->name, NULL);
}

void switches_show(struct vionic *vionic, struct inspect *visitor)
{
    switches_inspect(vionic->switches, visitor);
    for (struct vionic_switch *kept = vionic->kept_switches; kept != NULL; kept = kept->next) {
        char node[sizeof("uplink:") + SWITCH_NAME_MAX];

        if (kept->uplink == NULL)
            continue;
        snprintf(node, sizeof(node), "uplink:%s", kept->name);
        inspect_enter(visitor, node);
        uplink_inspect(kept->uplink, visitor);
        inspect_leave(visitor);
    }
}

/* ---- uplinks that go on in another process ------------------------------------------------- */

static int goes_over(const struct vionic_switch *kept)
{
    return kept->uplink != NULL && uplink_can_give(kept->uplink);
}

const char *handover_next_uplink(const struct vionic *vionic, const char *name)
{
    const struct vionic_switch *kept = vionic->kept_switches;

    if (name != NULL) {
        while (kept != NULL && strcmp(kept->name, name) != 0)
            kept = kept->next;
        kept = kept == NULL ? NULL : kept->next;
    }
    while (kept != NULL && !goes_over(kept))
        kept = kept->next;
    return kept == NULL ? NULL : kept->name;
}

void handover_give_uplinks(struct vionic *vionic, struct records_writer *writer,
                           struct fd_list *fds)
{
    uint16_t count = 0;

    for (const char *name = handover_next_uplink(vionic, NULL); name != NULL;
         name = handover_next_uplink(vionic, name))
        count++;
    records_put_u16(writer, count);
    for (const char *name = handover_next_uplink(vionic, NULL); name != NULL;
         name = handover_next_uplink(vionic, name)) {
        size_t len = strlen(name);

        records_put_u8(writer, (uint8_t)len);
        records_put_bytes(writer, name, len);
        uplink_give((*switch_find(vionic, name))->uplink, writer, fds);
    }
}

/* 1: the reader is at what was given of the uplink of that name. */
static int gift_find(const char *name, struct record_reader *reader)
{
    unsigned count = record_take_u16(reader);

    for (unsigned i = 0; i < count && !reader->failed; i++) {
        char text[UINT8_MAX + 1] = {0};
        struct record_reader found;

        record_take_bytes(reader, text, record_take_u8(reader));
        found = *reader;
        record_skip(reader, record_take_u8(reader));
        record_skip(reader, record_take_u32(reader));
        if (reader->failed || strcmp(text, name) != 0)
            continue;
        *reader = found;
        return 1;
    }
    return 0;
}

int handover_take_uplink(struct vionic *vionic, const struct vionic_switch_config *config,
                         const struct record_reader *given, struct fd_list *fds, struct error *err)
{
    struct vionic_switch *kept = *switch_find(vionic, config->name);
    struct record_reader reader = *given;
    const struct uplink_gift gift = {gift_find(config->name, &reader) ? &reader : NULL, fds};

    return uplink_make(vionic, config, &gift, kept, err);
}

void switches_keep_uplinks(struct vionic *vionic)
{
    for (struct vionic_switch *kept = vionic->kept_switches; kept != NULL; kept = kept->next) {
        if (kept->uplink != NULL)
            uplink_keep(kept->uplink);
    }
}
