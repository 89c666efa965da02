/* SPDX-License-Identifier: MIT */
/*
 * What an embedder's program does, as C and as C++: uses.c and uses.cc include this and are built
 * against the installed headers and libraries, with nothing else of the tree in sight. Exits 0 if
 * all went well.
 */
#include <vionic_endpoint.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned shown;

static void count_number(void *context, const char *name, uint64_t value, int style)
{
    (void)context;
    (void)name;
    (void)value;
    (void)style;
    shown++;
}

static int complain(const char *what, const struct vionic_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    return 1;
}

static int sink_queue_open(void *endpoint, unsigned index, struct vionic_rx *rx, void **ret_queue,
                           struct vionic_error *err)
{
    (void)index;
    (void)rx;
    (void)err;
    *ret_queue = endpoint;
    return 0;
}

static unsigned sink_send(void *queue, const struct vionic_frame *frames, unsigned count)
{
    (void)queue;
    (void)frames;
    return count;
}

static int nic_comes_and_goes(struct vionic *vionic, const char *socket_path)
{
    struct vionic_nic_config config;
    struct vionic_endpoint_ops sink;
    struct vionic_visitor visitor;
    struct vionic_nic *nic;
    struct vionic_error err;

    memset(&config, 0, sizeof(config));
    config.size = sizeof(config);
    config.name = "card";
    config.socket_path = socket_path;
    memset(&sink, 0, sizeof(sink));
    sink.size = sizeof(sink);
    sink.kind = "sink";
    sink.queue_open = sink_queue_open;
    sink.send = sink_send;
    config.endpoint_ops = &sink;
    if (vionic_add_nic(vionic, &config, &nic, &err) != 0)
        return complain("vionic_add_nic", &err);
    if (vionic_dispatch(vionic, 0) != 0 || vionic_find_nic(vionic, "card") != nic)
        return 1;
    memset(&visitor, 0, sizeof(visitor));
    visitor.size = sizeof(visitor);
    visitor.number = count_number;
    if (vionic_inspect(vionic, &visitor) != 0 || shown == 0)
        return 1;
    vionic_remove_nic(nic);
    return 0;
}

int main(int argc, char **argv)
{
    struct vionic_config config;
    struct vionic *vionic;
    struct vionic_error err;
    int result;

    if (argc != 2)
        return 2;
    memset(&config, 0, sizeof(config));
    config.size = sizeof(config);
    if (vionic_create(&config, &vionic, &err) != 0)
        return complain("vionic_create", &err);
    result = nic_comes_and_goes(vionic, argv[1]);
    vionic_free(vionic);
    puts(vionic_version());
    return result;
}
