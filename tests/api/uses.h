/* SPDX-License-Identifier: MIT */
/*
 * What an embedder's program does, as C and as C++: uses.c and uses.cc include this and are built
 * against the installed headers and libraries, with nothing else of the tree in sight. Exits 0 if
 * all went well.
 */
#include <vionic.h>

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

static int nic_comes_and_goes(struct vionic *vionic, const char *socket_path)
{
    struct vionic_nic_config config;
    struct vionic_visitor visitor;
    struct vionic_nic *nic;
    struct vionic_error err;

    memset(&config, 0, sizeof(config));
    config.size = sizeof(config);
    config.name = "card";
    config.socket_path = socket_path;
    config.endpoint = "null";
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
