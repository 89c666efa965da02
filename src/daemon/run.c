/* SPDX-License-Identifier: MIT */
#include "daemon/run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "api/handover.h"
#include "base/checked.h"
#include "base/clock.h"
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
#include "daemon/takeover.h"
#include "daemon/takeover_offer.h"

enum daemon_state {
    DAEMON_SERVING,
    DAEMON_STOPPED, /* by a signal */
    DAEMON_TAKEN_OVER,
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
    struct takeover_offer offer; /* to a daemon that takes over from this one */
    struct takeover takeover;    /* from the one before; while this one starts */
    struct activation passed;    /* sockets that the service manager opened, until taken */
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
    daemon->offer.watchdog_us = MAX(service_watchdog_us(), daemon->takeover.watchdog_us);
    daemon->watchdog_ns = daemon->offer.watchdog_us * 1000 / 2;
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
        struct vionic_switch_config lan = entry->lan;
        struct vionic_error reason = {{0}};
        int ret;

        if (takeover_has_uplink(&daemon->takeover, lan.name))
            lan.uplink = NULL; /* the old daemon has it, and gives it later */
        ret = vionic_add_switch(daemon->vionic, &lan, &reason);
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

/* ---- another daemon takes over ------------------------------------------------------------ */

static void takeover_asked(void *context, int fd)
{
    struct daemon *daemon = context;

    takeover_offer_to(&daemon->offer, fd);
}

static void takeover_ended(struct takeover_offer *offer, enum takeover_outcome outcome)
{
    struct daemon *daemon = CONTAINER_OF(offer, struct daemon, offer);

    control_disown(daemon->control);
    daemon->state = outcome == TAKEOVER_OVER ? DAEMON_TAKEN_OVER : DAEMON_FAILED;
}

static int start_control(struct daemon *daemon, const struct config *config, struct error *err)
{
    struct control_settings settings = {
        .path = daemon->control_address.sun_path,
        .group = config->control_group,
        .listen_fd = daemon->takeover.control.listen_fd,
        .takeover = takeover_asked,
        .context = daemon,
    };
    int ret = 0;

    daemon->takeover.control.listen_fd = 0; /* the control's from here on */
    if (settings.listen_fd == 0)
        ret = activation_take(&daemon->passed, "control", settings.path, &settings.listen_fd, err);
    if (ret < 0)
        return ret;
    ret = control_create(daemon->loop, daemon->vionic, &settings, &daemon->control, err);
    daemon->offer.control = daemon->control;
    return ret;
}

/* ---- this one takes over ------------------------------------------------------------------ */

static int add_new_nics(struct daemon *daemon, const struct config *config, struct error *err)
{
    int ret = 0;

    for (size_t i = 0; i < config->nic_count && ret == 0; i++) {
        if (!takeover_has(&daemon->takeover, config->nics[i].nic.name))
            ret = add_nic(daemon, &config->nics[i], err);
    }
    return ret;
}

static int take_uplinks(struct daemon *daemon, const struct config *config, struct error *err)
{
    struct takeover *takeover = &daemon->takeover;
    struct record_reader given;
    int ret = 0;

    takeover_uplinks(takeover, &given);
    for (size_t i = 0; i < config->switch_count && ret == 0; i++) {
        const struct vionic_switch_config *lan = &config->switches[i].lan;

        if (lan->uplink == NULL || !takeover_has_uplink(takeover, lan->name))
            continue;
        ret = handover_take_uplink(daemon->vionic, lan, &given, &takeover->daemon.fds, err);
        if (ret < 0)
            error_prefix(err, "switch %s", lan->name);
    }
    return ret;
}

static int take_nics(struct daemon *daemon, const struct config *config, struct error *err)
{
    int ret = 0;

    for (size_t i = 0; i < config->nic_count && ret == 0; i++) {
        const struct vionic_nic_config *nic = &config->nics[i].nic;
        struct handover_card *card = takeover_card(&daemon->takeover, nic->name);

        if (card == NULL)
            continue;
        ret = handover_take(daemon->vionic, nic, card, err);
        if (ret < 0)
            error_prefix(err, "%s can't be taken over", nic->name);
    }
    return ret;
}

static void keep_nics(struct daemon *daemon, const struct config *config)
{
    unsigned count = 0;

    for (size_t i = 0; i < config->nic_count; i++) {
        const struct vionic_nic_config *nic = &config->nics[i].nic;

        if (takeover_card(&daemon->takeover, nic->name) == NULL)
            continue;
        handover_keep(vionic_find_nic(daemon->vionic, nic->name));
        count++;
    }
    handover_release(daemon->vionic);
    log_info("took over %u NIC%s; queues stood still for %.2f ms", count, count == 1 ? "" : "s",
             (double)(clock_now_ns() - daemon->takeover.still_ns) / CLOCK_MILLISECOND_NS);
}

/* What is new comes first: it may take its time. */
static int take_over(struct daemon *daemon, const struct config *config, struct error *err)
{
    struct takeover *takeover = &daemon->takeover;
    struct control_socket control;
    int ret = takeover_connect(takeover, daemon->control_address.sun_path, err);

    if (ret == 0)
        ret = add_switches(daemon, config, err);
    if (ret == 0)
        ret = add_new_nics(daemon, config, err);
    if (ret < 0)
        return ret;
    handover_hold(daemon->vionic);
    ret = takeover_ask(takeover, config, err);
    control = takeover->control;
    if (ret == 0)
        ret = take_uplinks(daemon, config, err);
    if (ret == 0)
        ret = take_nics(daemon, config, err);
    if (ret == 0)
        ret = start_control(daemon, config, err);
    if (ret == 0)
        ret = sandbox_enter(err); /* as all else that may fail, before it is too late for that */
    if (ret == 0)
        ret = takeover_ready(takeover, err);
    if (ret < 0)
        return ret;
    keep_nics(daemon, config);
    control_own(daemon->control, &control);
    return 0;
}

static int start(struct daemon *daemon, const struct config *config, enum run_start how,
                 struct error *err)
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
    daemon->offer.loop = daemon->loop;
    daemon->offer.vionic = daemon->vionic;
    if (ret == 0 && how == RUN_TAKEOVER)
        return take_over(daemon, config, err);
    if (ret == 0)
        ret = start_control(daemon, config, err);
    if (ret == 0)
        ret = add_switches(daemon, config, err);
    if (ret == 0)
        ret = add_nics(daemon, config, err);
    return ret == 0 ? sandbox_enter(err) : ret;
}

/* MAINPID: of a takeover the manager hears here that it is about another process now, and before
 * the old one ends. */
static void announce_ready(struct daemon *daemon, const struct config *config, int ready_fd)
{
    char ready[96];

    snprintf(ready, sizeof(ready), "READY=1\nSTATUS=%zu NIC%s\nMAINPID=%ld", config->nic_count,
             config->nic_count == 1 ? "" : "s", (long)getpid());
    service_notify(ready);
    watchdog_begin(daemon);
    if (daemon->takeover.fd >= 0)
        takeover_runs(&daemon->takeover);
    takeover_close(&daemon->takeover);
    if (ready_fd >= 0 && write(ready_fd, "r", 1) < 0)
        log_warning("who waits for this daemon to be ready can't be told (%s)", strerror(errno));
    fd_close(&ready_fd);
    log_info("ready; `vionic inspect --control %s` shows everything",
             control_path(daemon->control));
}

static void serve(struct daemon *daemon)
{
    int ret;

    while (daemon->state == DAEMON_SERVING) {
        ret = loop_dispatch(daemon->loop, -1);
        if (ret == 0)
            continue;
        log_error("the event loop failed (%s)", strerror(-ret));
        daemon->state = DAEMON_FAILED;
    }
    if (daemon->state != DAEMON_TAKEN_OVER)
        service_notify("STOPPING=1");
}

/* reason: of a start that failed. */
static void stop(struct daemon *daemon, const char *reason)
{
    activation_close(&daemon->passed);
    if (daemon->loop != NULL)
        takeover_offer_close(&daemon->offer);
    control_free(daemon->control);
    if (daemon->vionic != NULL && daemon->vionic_work.ready != NULL)
        loop_remove(daemon->loop, &daemon->vionic_work);
    vionic_free(daemon->vionic);
    takeover_fail(&daemon->takeover, reason); /* what the old daemon needs back is free now */
    sandbox_leave();
    takeover_close(&daemon->takeover);
    loop_free(daemon->loop);
    fd_close(&daemon->signals.fd);
}

static int exit_status(const struct daemon *daemon, int start_result)
{
    if (start_result == -EINVAL)
        return EXIT_STATUS_USAGE;
    if (start_result < 0 || daemon->state == DAEMON_FAILED)
        return EXIT_STATUS_FAILED;
    return EXIT_STATUS_OK;
}

int run_daemon(const struct config *config, enum run_start how, int ready_fd)
{
    struct daemon daemon = {
        .signals = {.fd = -1, .ready = signal_ready},
        .offer = {.ended = takeover_ended},
        .takeover = {.fd = -1, .token_fd = -1},
        .state = DAEMON_SERVING,
    };
    struct error err = {{0}};
    int ret;

    takeover_offer_init(&daemon.offer);
    service_allow_files();
    activation_read(&daemon.passed);
    ret = start(&daemon, config, how, &err);
    if (ret == 0) {
        announce_ready(&daemon, config, ready_fd);
        serve(&daemon);
    } else {
        log_error("%s", err.text);
    }
    stop(&daemon, err.text);
    return exit_status(&daemon, ret);
}
