/* SPDX-License-Identifier: MIT */
/* The command line of `vionic run`, down to a valid configuration. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/exit_status.h"
#include "daemon/nearest.h"
#include "daemon/nicspec.h"
#include "daemon/options.h"
#include "daemon/run.h"
#include "daemon/schema.h"
#include "daemon/service.h"
#include "daemon/shown.h"

enum {
    OPTION_CONFIG = OPTION_OWN,
    OPTION_NIC,
    OPTION_SWITCH,
    OPTION_CONTROL_GROUP,
    OPTION_SANDBOX,
    OPTION_SANDBOX_ALLOW,
    OPTION_USER,
    OPTION_WORKERS,
    OPTION_CPUS,
    OPTION_POLL,
    OPTION_POLL_BUDGET,
    OPTION_LOG_LEVEL,
    OPTION_CAPABILITIES,
    OPTION_TAKEOVER,
    OPTION_BACKGROUND,
};

struct run_options {
    const char *config_path; /* borrowed from argv */
    const char **nics;       /* owned array; the texts are borrowed from argv */
    size_t nic_count;
    const char **switches; /* owned array likewise */
    size_t switch_count;
    json_t *settings; /* owned: what the file may say as well */
    enum run_start start;
    int background;
};

static const struct argp_option options[] = {
    {"config", OPTION_CONFIG, "FILE", 0, "Read settings and NICs from a JSON file"},
    {"nic", OPTION_NIC, "SPEC", 0, "Run this NIC; may be given again for more"},
    {"switch", OPTION_SWITCH, "SPEC", 0,
     "A switch with an uplink or settings: name=NAME,ageing=SECONDS,queues=N,uplink=KIND:...; may "
     "be "
     "given again for more"},
    {"control", OPTION_CONTROL, "PATH", 0,
     "Control socket; default: /run/vionic/control.sock for root, "
     "$XDG_RUNTIME_DIR/vionic/control.sock for others"},
    {"control-group", OPTION_CONTROL_GROUP, "GROUP", 0,
     "Let the members of this group use the control socket too"},
    {"sandbox", OPTION_SANDBOX, "MODE", 0,
     "on (default): give up all rights that the NICs don't need; log: only say what would be "
     "refused; off"},
    {"sandbox-allow", OPTION_SANDBOX_ALLOW, "LIST", 0,
     "Leave open what these endpoints need, to be set later, and these folders for their sockets, "
     "such as tap,/run/peers"},
    {"user", OPTION_USER, "NAME", 0, "Become this user at the start (from root)"},
    {"workers", OPTION_WORKERS, "N", 0, "Threads that move packets, 1 to 64; default: 1"},
    {"cpus", OPTION_CPUS, "LIST", 0,
     "CPUs for the workers, one each in this order and then again, such as 0-1,4; default: any"},
    {"poll", OPTION_POLL, "MODE", 0,
     "off (default): a worker with nothing to do sleeps; adaptive: it looks on for packets where "
     "that pays; always: it never sleeps; or how long it looks on, in microseconds"},
    {"poll-budget", OPTION_POLL_BUDGET, "PERCENT", 0,
     "With --poll=adaptive: how much of a CPU a worker may spend on looking on; default: 50"},
    {"log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warning, info (default) or debug"},
    {"takeover", OPTION_TAKEOVER, NULL, 0,
     "Go on with the NICs of the daemon at the control socket, whose guests notice nothing; it "
     "ends"},
    {"background", OPTION_BACKGROUND, NULL, 0,
     "Return as soon as the daemon is ready, or with the status with which it failed"},
    {"print-capabilities", OPTION_CAPABILITIES, NULL, 0,
     "Print what kind of vhost-user back-end this is, as JSON, and exit"},
    OPTIONS_HELP,
    {0},
};

static int set_log_level(const char *name, struct error *err)
{
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
                                            LOG_LEVEL_DEBUG};
    static const char *const names[] = {"error", "warning", "info", "debug", NULL};
    char hint[128], shown[SHOWN_LEN];

    for (size_t i = 0; i < ARRAY_COUNT(levels); i++) {
        if (strcmp(names[i], name) == 0) {
            log_set_level(levels[i]);
            return 0;
        }
    }
    nearest_hint(name, names, hint, sizeof(hint));
    shown_text(name, shown);
    return error_set(err, EINVAL, "--log-level: there is no level \"%s\"%s", shown, hint);
}

static int set_setting(struct run_options *run, const char *key, const char *value,
                       struct error *err)
{
    json_t *json = nicspec_value(schema_find(schema_daemon, key), value, strlen(value));

    if (json_object_set_new(run->settings, key, json) < 0)
        return error_set(err, EINVAL,
                         "--%s: the value is not valid UTF-8; write it without such bytes", key);
    return 0;
}

static int add_text(const char ***list, size_t *count, const char *text, struct error *err)
{
    const char **grown = realloc(*list, (*count + 1) * sizeof(*grown));

    if (grown == NULL)
        return error_set(err, ENOMEM, "out of memory");
    *list = grown;
    grown[(*count)++] = text;
    return 0;
}

static int take(int key, const char *value, void *input, struct error *err)
{
    struct run_options *run = input;

    switch (key) {
    case OPTION_CONFIG:
        run->config_path = value;
        return 0;
    case OPTION_NIC:
        return add_text(&run->nics, &run->nic_count, value, err);
    case OPTION_SWITCH:
        return add_text(&run->switches, &run->switch_count, value, err);
    case OPTION_CONTROL:
        return set_setting(run, "control", value, err);
    case OPTION_CONTROL_GROUP:
        return set_setting(run, "control-group", value, err);
    case OPTION_SANDBOX:
        return set_setting(run, "sandbox", value, err);
    case OPTION_SANDBOX_ALLOW:
        return set_setting(run, "sandbox-allow", value, err);
    case OPTION_USER:
        return set_setting(run, "user", value, err);
    case OPTION_WORKERS:
        return set_setting(run, "workers", value, err);
    case OPTION_CPUS:
        return set_setting(run, "cpus", value, err);
    case OPTION_POLL:
        return set_setting(run, "poll", value, err);
    case OPTION_POLL_BUDGET:
        return set_setting(run, "poll-budget", value, err);
    case OPTION_LOG_LEVEL:
        return set_log_level(value, err);
    case OPTION_TAKEOVER:
        run->start = RUN_TAKEOVER;
        return 0;
    case OPTION_BACKGROUND:
        run->background = 1;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int gather(struct config *config, struct run_options *run, struct error *err)
{
    int ret = config_init(config, err);

    if (ret == 0 && run->config_path != NULL)
        ret = config_load_file(config, run->config_path, err);
    if (ret == 0)
        ret = config_add_settings(config, run->settings, err);
    for (size_t i = 0; ret == 0 && i < run->switch_count; i++)
        ret = config_add_switch(config, run->switches[i], err);
    for (size_t i = 0; ret == 0 && i < run->nic_count; i++)
        ret = config_add_nic(config, run->nics[i], err);
    if (ret == 0)
        ret = config_finish(config, err);
    return ret;
}

static int run_config(const struct config *config, const struct run_options *run)
{
    int ready_fd = -1;
    int status;

    if (run->background && service_background(&ready_fd, &status) != SERVICE_CHILD)
        return status;
    return run_daemon(config, run->start, ready_fd);
}

static int execute(int argc, char **argv)
{
    struct run_options run = {.settings = json_object()};
    struct config config = {0};
    struct error err = {{0}};
    enum options_outcome outcome = options_parse(&command_run, argc, argv, &run);
    int status = outcome == OPTIONS_WRONG ? EXIT_STATUS_USAGE : EXIT_STATUS_OK;

    if (outcome != OPTIONS_PARSED)
        goto out;
    if (gather(&config, &run, &err) == 0) {
        status = run_config(&config, &run);
        goto out;
    }
    log_error("%s", err.text);
    status = EXIT_STATUS_USAGE;
out:
    config_clear(&config);
    json_decref(run.settings);
    free(run.nics);
    free(run.switches);
    return status;
}

const struct command command_run = {
    .name = "run",
    .summary = "run NICs until SIGTERM or SIGINT",
    .doc = "Runs virtio network cards that virtual machine monitors plug into over vhost-user.\v",
    .examples =
        "SPEC is a list of key=value, separated by commas:\n"
        "  socket=PATH        the vhost-user socket (needed)\n"
        "  mode=MODE          server: listen there (default); client: connect to it\n"
        "  name=NAME          what inspect calls the NIC; default: nic0, nic1, ...\n"
        "  mac=MAC            default: a local one that stays the same for this socket path\n"
        "  mtu=N              68 to 65535; default: the endpoint's\n"
        "  queues=N           queue pairs, 1 to 128; default: 1\n"
        "  queue-size=N       largest ring, 1 to 32768; default: 1024\n"
        "  queue-unit=UNIT    what a front-end is told the number of: rings (default) or pairs\n"
        "  postcopy=on        offer post-copy migration to a front-end that is trusted\n"
        "  iommu=on           the guest's IOMMU decides what the card reaches of its memory\n"
        "  in-band=on         offer kicks and interrupts as messages, for simulated time\n"
        "  speed=MBIT         link speed that the guest sees; default: the endpoint's\n"
        "  workers=N          queue pairs go to at most N workers; 0-1+3 or 3-3: to just these\n"
        "  memory-max=MIB     of memory that the front-end may share; default: 4194304 (4 TiB)\n"
        "  memory-regions=N   in which it may come, 1 to 512; default: 512, or less if\n"
        "                     RLIMIT_NOFILE is below 4096\n"
        "  control-share=PCT  of the control thread for the front-end's messages; default: 25\n"
        "  endpoint=KIND:...  where packets go (needed, and last); its own options follow the\n"
        "                     colon and may repeat; `vionic endpoints` lists them\n"
        "\n"
        "Examples:\n"
        "  A NIC with its own NAT network, DHCP and DNS, no privilege needed:\n"
        "    vionic run --nic socket=/tmp/vm0.sock,endpoint=user\n"
        "\n"
        "  The same, with the guest's ssh at port 2222 of this host:\n"
        "    vionic run --nic socket=/tmp/vm0.sock,endpoint=user:hostfwd=tcp:127.0.0.1:2222-:22\n"
        "\n"
        "  Two NICs with jumbo frames and four queues each on two workers, on CPUs of their own:\n"
        "    vionic run --workers 2 --cpus 2-3 \\\n"
        "      --nic socket=/tmp/a.sock,queues=4,mtu=9000,endpoint=tap:ifname=tap0 \\\n"
        "      --nic socket=/tmp/b.sock,queues=4,mtu=9000,endpoint=tap:ifname=tap1\n"
        "\n"
        "  From a file:\n"
        "    vionic run --config vionic.json\n"
        "    {\"workers\": 2, \"poll\": 50, \"nics\": [\n"
        "      {\"name\": \"nic0\", \"socket\": \"/tmp/vm0.sock\", \"mac\": "
        "\"52:54:00:00:00:01\",\n"
        "       \"endpoint\": {\"kind\": \"user\", \"hostfwd\": [\"tcp:127.0.0.1:2222-:22\"]}}]}\n"
        "\n"
        "  And the virtual machine:\n"
        "    qemu-system-x86_64 ... -m 1G \\\n"
        "      -object memory-backend-memfd,id=m0,size=1G,share=on -numa node,memdev=m0 \\\n"
        "      -chardev socket,id=c0,path=/tmp/vm0.sock \\\n"
        "      -netdev vhost-user,id=n0,chardev=c0 -device virtio-net-pci,netdev=n0\n",
    .options = options,
    .take = take,
    .execute = execute,
};
