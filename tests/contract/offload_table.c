/* SPDX-License-Identifier: MIT */
/*
 * Who does what of each offload, asked of the code: opens every kind of endpoint, makes a NIC over
 * it with and without the software that stands in, and prints the table of doc/offloads.md.
 *
 *     offload_table          prints it
 *     offload_table FILE     1 and a sentence if the file says something else
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "endpoint/switch/switches.h"
#include "host.h"
#include "nic/nic.h"

enum {
    KINDS_MAX = 16,
    SKIPPED = 77, /* meson's word for it */
    TEXT_MAX = 16384,
};

static const enum feature_bit from_driver[] = {
    NET_F_CSUM,     NET_F_HOST_TSO4, NET_F_HOST_TSO6,           NET_F_HOST_ECN,
    NET_F_HOST_USO, NET_F_HOST_UFO,  NET_F_HOST_UDP_TUNNEL_GSO, NET_F_HOST_UDP_TUNNEL_GSO_CSUM};
static const enum feature_bit to_driver[] = {
    NET_F_GUEST_CSUM, NET_F_GUEST_TSO4,           NET_F_GUEST_TSO6,
    NET_F_GUEST_ECN,  NET_F_GUEST_USO4,           NET_F_GUEST_USO6,
    NET_F_GUEST_UFO,  NET_F_GUEST_UDP_TUNNEL_GSO, NET_F_GUEST_UDP_TUNNEL_GSO_CSUM};

static const char head[] =
    "# Offloads\n"
    "\n"
    "Who does what when a driver and its card agree on an offload. The columns are the kinds of\n"
    "endpoints; `tests/contract/offload_table.c` makes this file from the code, and a test "
    "compares\n"
    "(on Linux 6.17 or newer: before, `tap` has no UDP tunnels, and before 6.2 no USO). An "
    "embedder's\n"
    "endpoint that completes frames later (`reap`) gets no software in front of it: what it can't "
    "do is\n"
    "not offered. Nobody stands in for UDP tunnels (VXLAN, Geneve): they are offered where the "
    "endpoint\n"
    "takes them, and only by registers, because vhost-user carries 64 bits of features and these "
    "are 65\n"
    "to 68.\n"
    "\n"
    "## What the driver hands over\n"
    "\n"
    "*endpoint*: the frame goes on as it is. *vionic*: checksums are finished and segments made "
    "in\n"
    "front of the endpoint (`src/nic/segment.c`), without a copy of the payload.\n"
    "\n";
static const char middle[] =
    "\n"
    "## What the driver takes\n"
    "\n"
    "*endpoint*: it delivers such frames, and they reach a driver that agreed as they are. *none\n"
    "come*: it delivers frames of the MTU's size, with whole checksums. For a driver that did not\n"
    "agree, or switched it off, the kernel makes segments in front of `tap`, and vionic makes "
    "them\n"
    "behind `switch`, `loopback` and `user`, with whole checksums unless `guest_csum` was agreed "
    "on.\n"
    "Segments of one TCP flow that an endpoint delivers from its own memory in one go are merged\n"
    "(`src/nic/merge.c`) for a driver that takes large ones. Frames in UDP tunnels come "
    "through\n"
    "`switch` and `loopback` to a driver that agreed, and are dropped and counted (`offload`) for "
    "one that did "
    "not.\n"
    "\n";

struct table {
    unsigned kinds;
    const char *kind[KINDS_MAX];
    struct features bare[KINDS_MAX]; /* offered without any software */
    struct features all[KINDS_MAX];
};

static char text[TEXT_MAX];

__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;

    va_start(args, format);
    vsnprintf(text + len, sizeof(text) - len, format, args);
    va_end(args);
}

/* Some kinds don't open without an option. */
static const char *spec_of(const struct endpoint_ops *ops)
{
    if (strcmp(ops->kind, "switch") == 0)
        return "switch:name=lan0";
    return strcmp(ops->kind, "stream") == 0 ? "stream:path=/nobody/listens/here" : ops->kind;
}

static struct switches *switches;

static int ask_kind(struct table *table, const struct endpoint_ops *ops)
{
    struct nic_config config = {.queue_pairs = 1, .queue_size_max = 256};
    static struct nic nic;
    struct endpoint_spec spec;
    struct endpoint_caps caps;
    struct endpoint *endpoint;
    struct error err = {""};
    int result;

    result = endpoint_spec_parse(&spec, spec_of(ops), &err);
    if (result == 0) {
        result = strcmp(ops->kind, "switch") == 0
                     ? switches_open_port(switches, &spec, &endpoint, &err)
                     : endpoint_open(&spec, &endpoint, &err);
        endpoint_spec_clear(&spec);
    }
    if (result < 0) {
        printf("%s: %s\n", ops->kind, err.text);
        return result;
    }
    ops->capabilities(endpoint, &caps);
    endpoint_close(endpoint);
    table->kind[table->kinds] = ops->kind;
    nic_init(&nic, &config, &caps);
    table->bare[table->kinds] = nic.offered;
    config.software_offloads = ops->reap == NULL; /* as the coordinator decides */
    nic_init(&nic, &config, &caps);
    table->all[table->kinds++] = nic.offered;
    return 0;
}

static void put_rows(const struct table *table, const enum feature_bit *bits, unsigned count,
                     const char *software)
{
    put("| |");
    for (unsigned k = 0; k < table->kinds; k++)
        put(" %s |", table->kind[k]);
    put("\n|---|");
    for (unsigned k = 0; k < table->kinds; k++)
        put("---|");
    for (unsigned i = 0; i < count; i++) {
        put("\n| %s |", feature_name(bits[i]));
        for (unsigned k = 0; k < table->kinds; k++)
            put(" %s |", features_has(&table->bare[k], bits[i])  ? "endpoint"
                         : features_has(&table->all[k], bits[i]) ? software
                                                                 : "not offered");
    }
    put("\n");
}

static int compare(const char *path)
{
    static char committed[TEXT_MAX];
    FILE *file = fopen(path, "r");
    size_t len = file != NULL ? fread(committed, 1, sizeof(committed) - 1, file) : 0;

    if (file != NULL)
        fclose(file);
    if (len == strlen(text) && memcmp(committed, text, len) == 0)
        return 0;
    printf("%s is not what the code says: write it with tests/contract/offload_table\n", path);
    return 1;
}

/* The file is of a kernel whose taps know everything. */
static int kernel_is_old(const struct table *table)
{
    for (unsigned k = 0; k < table->kinds; k++) {
        if (strcmp(table->kind[k], "tap") == 0)
            return !features_has(&table->bare[k], NET_F_GUEST_UDP_TUNNEL_GSO);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct table table = {0};
    const char *missing = host_enter_namespace();

    if (missing != NULL) {
        printf("skipping: %s\n", missing);
        return SKIPPED;
    }
    switches = switches_create();
    for (unsigned i = 0; endpoint_catalog[i] != NULL && i < KINDS_MAX; i++) {
        if (ask_kind(&table, endpoint_catalog[i]) < 0)
            return 1;
    }
    switches_free(switches);
    put("%s", head);
    put_rows(&table, from_driver, ARRAY_COUNT(from_driver), "vionic");
    put("%s", middle);
    put_rows(&table, to_driver, ARRAY_COUNT(to_driver), "none come");
    if (argc > 1 && kernel_is_old(&table)) {
        printf("skipping: taps of this kernel know no UDP tunnels\n");
        return SKIPPED;
    }
    if (argc > 1)
        return compare(argv[1]);
    fputs(text, stdout);
    return 0;
}
