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
#include "daemon/activation.h"
#include "daemon/control.h"
#include "daemon/control_path.h"
#include "daemon/exit_status.h"
#include "daemon/mac.h"
#include "daemon/sandbox.h"
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
    struct loop_timer watchdog;     /* tells the service manager that the loop goes round */
    uint64_t watchdog_ns;           /* between two such words; 0: it does not ask */
    struct sockaddr_un control_address;
    struct activation passed; /* sockets that the service manager opened, until taken */
    enum daemon_state state;
};

static void signal_ready(struct loop_source *source, uint32_t events)
{
    struct daemon *daemon = CONTAINER_OF(source, struct daemon, signals);
    const char *name = service_take_signal(source->fd);

    (void)events;
    if (name == NULL)
        return;
    log_info("stopping on %s; another one ends at once", name);
    service_let_signals_end();
    daemon->state = DAEMON_STOPPED;
}

static void watchdog_fire(struct loop_timer *timer)
{
    struct daemon *daemon = CONTAINER_OF(timer, struct daemon, watchdog);

    service_notify("WATCHDOG=1");
    loop_timer_start(daemon->loop, timer, daemon->watchdog_ns);
}

static void watchdog_begin(struct daemon *daemon)
{
    daemon->watchdog.fire = watchdog_fire;
    daemon->watchdog_ns = service_watchdog_us() * 1000 / 2;
    if (daemon->watchdog_ns != 0)
        watchdog_fire(&daemon->watchdog);
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
        .polling = (enum vionic_polling)config->polling,
        .poll_us = config->poll_us,
        .poll_budget = config->poll_budget,
        .cpus = config->cpus,
        .worker_started = sandbox_worker_started,
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

static int add_nic(struct daemon *daemon, const struct config_nic *entry, struct error *err)
{
    struct vionic_nic_config nic = entry->nic;
    struct vionic_error reason = {{0}};
    int place_len = (int)strlen(entry->place);
    int ret = 0;

    if (nic.socket_mode == VIONIC_SOCKET_SERVER)
        ret = activation_take(&daemon->passed, nic.name, nic.socket_path, &nic.socket_fd, err);
    if (ret < 0)
        return ret;
    ret = vionic_add_nic(daemon->vionic, &nic, NULL, &reason);
    if (nic.socket_fd > 0)
        fd_close(&nic.socket_fd);
    /* The place goes on with a key (`nics[0].`) or not (`--nic …: `); here no key follows. */
    while (place_len > 0 && strchr(".: ", entry->place[place_len - 1]) != NULL)
        place_len--;
    if (ret < 0)
        return error_set(err, -ret, "%.*s: %s", place_len, entry->place, reason.text);
    announce(&entry->nic);
    return 0;
}

static int add_switches(struct daemon *daemon, const struct config *config, struct error *err)
{
    for (size_t i = 0; i < config->switch_count; i++) {
        const struct config_switch *entry = &config->switches[i];
        struct vionic_error reason = {{0}};
        int ret = vionic_add_switch(daemon->vionic, &entry->lan, &reason);

        if (ret < 0)
            return error_set(err, -ret, "switch %s: %s", entry->lan.name, reason.text);
        log_info("switch %s: uplink %s", entry->lan.name,
                 entry->lan.uplink == NULL ? "none" : entry->lan.uplink);
    }
    return 0;
}

static int add_nics(struct daemon *daemon, const struct config *config, struct error *err)
{
    int ret = 0;

    for (size_t i = 0; i < config->nic_count && ret == 0; i++)
        ret = add_nic(daemon, &config->nics[i], err);
    if (ret == 0)
        activation_report(&daemon->passed);
    activation_close(&daemon->passed);
    return ret;
}

static int start_control(struct daemon *daemon, const struct config *config, struct error *err)
{
    struct control_settings settings = {
        .path = daemon->control_address.sun_path,
        .group = config->control_group,
    };
    int ret = activation_take(&daemon->passed, "control", settings.path, &settings.listen_fd, err);

    if (ret < 0)
        return ret;
    return control_create(daemon->loop, daemon->vionic, &settings, &daemon->control, err);
}

static int start(struct daemon *daemon, const struct config *config, struct error *err)
{
    /* Found before --user makes the default of another user of it. */
    int ret = control_path_address(config->control_path, &daemon->control_address, err);

    if (ret == 0)
        ret = service_catch_signals(&daemon->signals.fd, err);
    if (ret < 0)
        return ret;
    ret = loop_create(&daemon->loop);
    if (ret == 0)
        ret = loop_add(daemon->loop, &daemon->signals, EPOLLIN);
    if (ret < 0)
        return error_set(err, -ret, "the event loop can't start (%s)", strerror(-ret));
    ret = sandbox_prepare(config, daemon->control_address.sun_path, daemon->loop, err);
    if (ret == 0)
        ret = start_library(daemon, config, err);
    if (ret == 0)
        ret = start_control(daemon, config, err);
    if (ret == 0)
        ret = add_switches(daemon, config, err);
    if (ret == 0)
        ret = add_nics(daemon, config, err);
    return ret == 0 ? sandbox_enter(err) : ret;
}

static void serve(struct daemon *daemon, const struct config *config)
{
    char ready[64];
    int ret;

    snprintf(ready, sizeof(ready), "READY=1\nSTATUS=%zu NIC%s", config->nic_count,
             config->nic_count == 1 ? "" : "s");
    service_notify(ready);
    watchdog_begin(daemon);
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
    activation_close(&daemon->passed);
    control_free(daemon->control);
    if (daemon->vionic != NULL && daemon->vionic_work.ready != NULL)
        loop_remove(daemon->loop, &daemon->vionic_work);
    vionic_free(daemon->vionic);
    sandbox_leave();
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
    activation_read(&daemon.passed);
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
