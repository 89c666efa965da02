/* SPDX-License-Identifier: MIT */
#include "daemon/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/checked.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "daemon/control.h"
#include "daemon/exit_status.h"
#include "daemon/mac.h"
#include "daemon/service.h"

enum daemon_state {
    DAEMON_SERVING,
    DAEMON_STOPPED, /* by a signal */
    DAEMON_FAILED,
};

struct daemon {
    struct loop *loop;              /* owned */
    struct vionic *vionic;          /* owned */
    struct control *control;        /* owned; borrows loop and vionic */
    struct loop_source signals;     /* its fd is owned */
    struct loop_source vionic_work; /* its fd belongs to vionic */
    enum daemon_state state;
};

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct daemon *daemon = CONTAINER_OF(source, struct daemon, signals);
    const char *name = service_take_signal(source->fd);

    (void)events;
    if (name == NULL)
        return;
    log_info("stopping on %s", name);
    daemon->state = DAEMON_STOPPED;
}

static void vionic_ready(struct loop_source *source, uint32_t events)
{
    struct daemon *daemon = CONTAINER_OF(source, struct daemon, vionic_work);
    int ret = vionic_dispatch(daemon->vionic, 0);

    (void)events;
    if (ret == 0)
        return;
    log_error("the event loop failed (%s)", strerror(-ret));
    daemon->state = DAEMON_FAILED;
}

static int start_library(struct daemon *daemon, const struct config *config, struct error *err)
{
    const struct vionic_config settings = {
        .size = sizeof(settings),
        .workers = config->workers,
        .poll_us = config->poll_us,
        .cpus = config->cpus,
    };
    struct vionic_error reason = {{0}};
    int ret = vionic_create(&settings, &daemon->vionic, &reason);

    if (ret < 0)
        return error_set(err, -ret, "%s", reason.text);
    daemon->vionic_work = (struct loop_source){vionic_fd(daemon->vionic), vionic_ready};
    ret = loop_add(daemon->loop, &daemon->vionic_work, EPOLLIN);
    return ret < 0 ? error_set(err, -ret, "the event loop can't start (%s)", strerror(-ret)) : 0;
}

static void announce(const struct vionic_nic_config *nic)
{
    char mac[MAC_TEXT_LEN];

    mac_format(nic->mac, mac);
    log_info("%s: %s %s, endpoint %s, mac %s", nic->name,
             nic->socket_mode == VIONIC_SOCKET_SERVER ? "listening at" : "connecting to",
             nic->socket_path, nic->endpoint, mac);
}

static int add_nics(struct daemon *daemon, const struct config *config, struct error *err)
{
    struct vionic_error reason = {{0}};

    for (size_t i = 0; i < config->nic_count; i++) {
        const struct config_nic *entry = &config->nics[i];
        int place_len = (int)strlen(entry->place);
        int ret = vionic_add_nic(daemon->vionic, &entry->nic, NULL, &reason);

        /* The place goes on with a key (`nics[0].`) or not (`--nic …: `); here no key follows. */
        while (place_len > 0 && strchr(".: ", entry->place[place_len - 1]) != NULL)
            place_len--;
        if (ret < 0)
            return error_set(err, -ret, "%.*s: %s", place_len, entry->place, reason.text);
        announce(&entry->nic);
    }
    return 0;
}

static int start(struct daemon *daemon, const struct config *config, struct error *err)
{
    const struct control_settings control = {config->control_path, config->control_group};
    int ret = service_catch_signals(&daemon->signals.fd, err);

    if (ret < 0)
        return ret;
    ret = loop_create(&daemon->loop);
    if (ret == 0)
        ret = loop_add(daemon->loop, &daemon->signals, EPOLLIN);
    if (ret < 0)
        return error_set(err, -ret, "the event loop can't start (%s)", strerror(-ret));
    ret = start_library(daemon, config, err);
    if (ret == 0)
        ret = control_create(daemon->loop, daemon->vionic, &control, &daemon->control, err);
    if (ret == 0)
        ret = add_nics(daemon, config, err);
    return ret;
}

static void serve(struct daemon *daemon, const struct config *config)
{
    char ready[64];
    int ret;

    snprintf(ready, sizeof(ready), "READY=1\nSTATUS=%zu NIC%s", config->nic_count,
             config->nic_count == 1 ? "" : "s");
    service_notify(ready);
    log_info("ready; `vionic inspect --control %s` shows everything",
             control_path(daemon->control));
    while (daemon->state == DAEMON_SERVING) {
        ret = loop_dispatch(daemon->loop, -1);
        if (ret == 0)
            continue;
        log_error("the event loop failed (%s)", strerror(-ret));
        daemon->state = DAEMON_FAILED;
    }
    service_notify("STOPPING=1");
}

static void stop(struct daemon *daemon)
{
    control_free(daemon->control);
    if (daemon->vionic != NULL && daemon->vionic_work.ready != NULL)
        loop_remove(daemon->loop, &daemon->vionic_work);
    vionic_free(daemon->vionic);
    loop_free(daemon->loop);
    fd_close(&daemon->signals.fd);
}

int run_daemon(const struct config *config)
{
    struct daemon daemon = {
        .signals = {.fd = -1, .ready = signal_ready},
        .state = DAEMON_SERVING,
    };
    struct error err = {{0}};
    int ret;

    service_allow_files();
    ret = start(&daemon, config, &err);
    if (ret == 0)
        serve(&daemon, config);
    else
        log_error("%s", err.text);
    stop(&daemon);
    if (ret == -EINVAL)
        return EXIT_STATUS_USAGE;
    return ret == 0 && daemon.state == DAEMON_STOPPED ? EXIT_STATUS_OK : EXIT_STATUS_FAILED;
}
