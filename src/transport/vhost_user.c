/* SPDX-License-Identifier: MIT */
/* The life of the socket: listen or connect, one session at a time, and again. */
#include "transport/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/local_socket.h"
#include "transport/vhost_user_session.h"

enum {
    CONNECT_AGAIN_MS = 200,
    MESSAGES_A_TURN = 32, /* then other NICs get their turn */
    MESSAGE_MS = 3000,    /* from its first byte to its last */
};

static const char *nic_name(const struct vhost_user *vhost_user)
{
    return coordinator_name(vhost_user->coordinator);
}

/* ---- a session -------------------------------------------------------------------------- */

static void session_wait(struct vhost_user *vhost_user)
{
    if (vhost_user->mode == VHOST_USER_SERVER)
        loop_add(vhost_user->loop, &vhost_user->listener, EPOLLIN);
    else
        loop_timer_start(vhost_user->loop, &vhost_user->again,
                         CONNECT_AGAIN_MS * CLOCK_MILLISECOND_NS);
}

void vhost_user_session_drop(struct vhost_user *vhost_user)
{
    vhost_user->connection.fd = -1;
    /* To a front-end a closed socket means that nobody looks at its memory any more. */
    vhost_user_rings_forget(vhost_user);
    vhost_user_inflight_drop(vhost_user);
    vhost_user_rings_file_let_go(vhost_user);
    vhost_user_postcopy_forget(&vhost_user->postcopy);
    vhost_user_memory_drop(vhost_user);
    vhost_user_log_drop(vhost_user);
    vhost_user_channel_close(vhost_user);
    vhost_user_connection_close(&vhost_user->peer);
    vhost_user->features = 0;
    vhost_user->features_refused = 0;
    vhost_user->protocol_features = 0;
    vhost_user_iommu_apply(vhost_user);
    vhost_user_state_cancel(vhost_user);
}

static void session_end(struct vhost_user *vhost_user)
{
    if (vhost_user->connection.fd < 0)
        return;
    if (!vhost_user->away)
        loop_remove(vhost_user->loop, &vhost_user->connection);
    loop_timer_stop(vhost_user->loop, &vhost_user->again);
    loop_timer_stop(vhost_user->loop, &vhost_user->patience);
    vhost_user->away = 0;
    vhost_user_session_drop(vhost_user);
}

static void session_fail(struct vhost_user *vhost_user, const char *why)
{
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: the front-end is disconnected: %s", nic_name(vhost_user), why);
    session_end(vhost_user);
}

/* 0: go on; -errno: the session is over. */
static int messages_handle(struct vhost_user *vhost_user)
{
    for (unsigned i = 0; i < MESSAGES_A_TURN; i++) {
        int result = vhost_user_connection_receive(&vhost_user->peer);

        if (result <= 0)
            return result;
        result = vhost_user_handle(vhost_user);
        vhost_user_connection_done(&vhost_user->peer);
        if (result < 0)
            return result;
        if (vhost_user_share_turn_over(&vhost_user->share))
            return 0;
    }
    return 0;
}

static void session_over(struct vhost_user *vhost_user, int result)
{
    if (result == -ENOTCONN || result == -ECONNRESET) {
        if (log_limit_pass(&vhost_user->limit))
            log_info("%s: the front-end has gone", nic_name(vhost_user));
        session_end(vhost_user);
        return;
    }
    session_fail(vhost_user, vhost_user->last_error[0] != '\0' && result != -EPROTO
                                 ? vhost_user->last_error
                                 : strerror(-result));
}

/* A message that has begun must end: until then nobody else gets the socket (VU-SEC-01). */
static void patience_look(struct vhost_user *vhost_user)
{
    if (!vhost_user_connection_begun(&vhost_user->peer))
        loop_timer_stop(vhost_user->loop, &vhost_user->patience);
    else if (!vhost_user->patience.armed)
        loop_timer_start(vhost_user->loop, &vhost_user->patience,
                         MESSAGE_MS * CLOCK_MILLISECOND_NS);
}

/* Its share is used up: what comes next waits, be it a message or a front-end. */
static void session_rest(struct vhost_user *vhost_user, uint64_t rest_ns)
{
    log_debug("%s: the front-end keeps this process busy; it is left alone for %llu ms",
              nic_name(vhost_user), (unsigned long long)(rest_ns / CLOCK_MILLISECOND_NS));
    loop_timer_stop(vhost_user->loop, &vhost_user->patience);
    if (vhost_user->connection.fd >= 0) {
        loop_remove(vhost_user->loop, &vhost_user->connection);
        vhost_user->away = 1;
    }
    loop_timer_start(vhost_user->loop, &vhost_user->again, rest_ns);
}

static void session_ready(struct loop_source *source, uint32_t events)
{
    struct vhost_user *vhost_user = CONTAINER_OF(source, struct vhost_user, connection);
    uint64_t rest_ns;
    int result;

    (void)events;
    vhost_user_share_begin(&vhost_user->share);
    result = messages_handle(vhost_user);
    if (result < 0)
        session_over(vhost_user, result);
    else
        patience_look(vhost_user);
    rest_ns = vhost_user_share_end(&vhost_user->share);
    if (rest_ns != 0)
        session_rest(vhost_user, rest_ns);
    else if (result < 0)
        session_wait(vhost_user);
}

static void patience_ends(struct loop_timer *timer)
{
    struct vhost_user *vhost_user = CONTAINER_OF(timer, struct vhost_user, patience);

    session_fail(vhost_user, "it began a message and did not end it");
    session_wait(vhost_user);
}

/* Takes the fd. Negative: there is no session. */
static int session_begin(struct vhost_user *vhost_user, int fd)
{
    int result;

    vhost_user_connection_init(&vhost_user->peer, fd);
    vhost_user->connection.fd = fd;
    vhost_user->last_error[0] = '\0';
    result = loop_add(vhost_user->loop, &vhost_user->connection, EPOLLIN);
    if (result < 0) {
        vhost_user->connection.fd = -1;
        vhost_user_connection_close(&vhost_user->peer);
        return result;
    }
    coordinator_renew(vhost_user->coordinator);
    vhost_user->sessions++;
    if (log_limit_pass(&vhost_user->limit))
        log_info("%s: a front-end has connected", nic_name(vhost_user));
    return 0;
}

/* ---- server and client ------------------------------------------------------------------ */

static int socket_address(const char *path, struct sockaddr_un *ret_address, struct error *err)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret_address->sun_path))
        return error_set(err, ENAMETOOLONG, "socket path %s is longer than %zu bytes", path,
                         sizeof(ret_address->sun_path) - 1);
    memcpy(ret_address->sun_path, path, strlen(path) + 1);
    return 0;
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct vhost_user *vhost_user = CONTAINER_OF(source, struct vhost_user, listener);
    uint64_t rest_ns;
    int fd, result = 0;

    (void)events;
    vhost_user_share_begin(&vhost_user->share);
    fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    loop_remove(vhost_user->loop, source); /* the next front-end waits in the backlog */
    if (fd >= 0)
        result = session_begin(vhost_user, fd);
    else /* no files are left, say: it waits there too, and the socket stays readable */
        loop_timer_start(vhost_user->loop, &vhost_user->again,
                         CONNECT_AGAIN_MS * CLOCK_MILLISECOND_NS);
    rest_ns = vhost_user_share_end(&vhost_user->share);
    if (rest_ns != 0)
        session_rest(vhost_user, rest_ns);
    else if (result < 0)
        session_wait(vhost_user);
}

static int name_free(const struct sockaddr_un *address, struct error *err)
{
    int result = local_socket_free_name(address);

    switch (result) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return error_set(err, EADDRINUSE, "somebody listens at %s already; choose another socket",
                         address->sun_path);
    case -EEXIST:
        return error_set(err, EEXIST,
                         "%s is there and is no socket; remove it or choose another path",
                         address->sun_path);
    default:
        return error_set(err, -result, "no socket: %s", strerror(-result));
    }
}

static int server_bind(struct vhost_user *vhost_user, struct error *err)
{
    struct sockaddr_un address;
    int result = socket_address(vhost_user->path, &address, err);

    if (result == 0)
        result = name_free(&address, err);
    if (result < 0)
        return result;
    vhost_user->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (vhost_user->listener.fd < 0)
        return error_set(err, errno, "no socket: %s", strerror(errno));
    if (bind(vhost_user->listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(vhost_user->listener.fd, 8) < 0) {
        result = error_set(err, errno,
                           "can't listen at %s: %s; its directory has to exist and be writable",
                           vhost_user->path, strerror(errno));
        fd_close(&vhost_user->listener.fd);
        return result;
    }
    vhost_user->owns_path = 1;
    return 0;
}

static int server_adopt(struct vhost_user *vhost_user, int listen_fd, struct error *err)
{
    int listens = 0;
    socklen_t len = sizeof(listens);

    if (getsockopt(listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
        return error_set(err, EINVAL, "fd %d, which was passed for socket %s, does not listen",
                         listen_fd, vhost_user->path);
    vhost_user->listener.fd = fcntl(listen_fd, F_DUPFD_CLOEXEC, 3);
    if (vhost_user->listener.fd < 0)
        return error_set(err, errno, "no socket: %s", strerror(errno));
    return fd_set_nonblocking(vhost_user->listener.fd);
}

static int server_open(struct vhost_user *vhost_user, int listen_fd, struct error *err)
{
    return listen_fd > 0 ? server_adopt(vhost_user, listen_fd, err) : server_bind(vhost_user, err);
}

static void client_connect(struct vhost_user *vhost_user)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    socket_address(vhost_user->path, &address, NULL);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        if (session_begin(vhost_user, fd) < 0)
            session_wait(vhost_user);
        return;
    }
    fd_close(&fd);
    session_wait(vhost_user);
}

static void again(struct loop_timer *timer)
{
    struct vhost_user *vhost_user = CONTAINER_OF(timer, struct vhost_user, again);

    if (vhost_user->away) {
        vhost_user->away = 0;
        if (loop_add(vhost_user->loop, &vhost_user->connection, EPOLLIN) == 0)
            return;
        session_fail(vhost_user, "it can't be waited for");
        session_wait(vhost_user);
    } else if (vhost_user->mode == VHOST_USER_CLIENT) {
        client_connect(vhost_user);
    } else {
        session_wait(vhost_user);
    }
}

/* ---- notices of the coordinator --------------------------------------------------------- */

static void config_changed(void *context)
{
    struct vhost_user *vhost_user = context;

    vhost_user->config_changes++;
    vhost_user_channel_tell_config(vhost_user);
}

static void queue_broken(void *context, unsigned queue)
{
    struct vhost_user *vhost_user = context;

    if (queue < vhost_user->ring_count)
        vhost_user_ring_broken(&vhost_user->ring[queue]);
}

/* ---- open, close, inspect --------------------------------------------------------------- */

/* The last queue of the most pairs, the control queue, is beyond: front-ends that end it themselves
 * do not miss it (VU-MQ-02). */
static unsigned rings_named(struct coordinator *coordinator)
{
    unsigned count = nic_queue_count(coordinator_nic(coordinator));

    if (count <= VHOST_USER_RINGS_MAX)
        return count;
    log_info("%s: a front-end that does not end the control queue itself needs queues=127 or less",
             coordinator_name(coordinator));
    return VHOST_USER_RINGS_MAX;
}

/* A socket that is waited for, or the one that another process gave. */
static int begin(struct vhost_user *vhost_user, const struct vhost_user_settings *settings,
                 struct error *err)
{
    const struct coordinator_inheritance *from = settings->inherited;
    int result = 0;

    if (from != NULL)
        result = vhost_user_take_session(vhost_user, from->records, from->fds, err);
    else if (vhost_user->mode == VHOST_USER_SERVER)
        result = server_open(vhost_user, settings->listen_fd, err);
    if (result < 0)
        return result;
    if (vhost_user->connection.fd < 0) {
        session_wait(vhost_user);
        return 0;
    }
    result = loop_add(vhost_user->loop, &vhost_user->connection, EPOLLIN);
    if (result < 0) {
        vhost_user_session_drop(vhost_user);
        return error_set(err, -result, "its session can't be waited for");
    }
    patience_look(vhost_user);
    return 0;
}

int vhost_user_open(const struct vhost_user_settings *settings, struct vhost_user **ret_vhost_user,
                    struct error *err)
{
    struct vhost_user *vhost_user = calloc(1, sizeof(*vhost_user));
    struct sockaddr_un address;
    int result;

    if (vhost_user == NULL)
        return error_set(err, ENOMEM, "out of memory");
    vhost_user->mode = settings->mode;
    vhost_user->queue_unit = settings->queue_unit;
    vhost_user->limits = settings->limits;
    vhost_user->share.all = settings->control_time;
    vhost_user->share.percent = settings->limits.control_percent;
    vhost_user->protocol_features_more = settings->protocol_features;
    vhost_user->coordinator = settings->coordinator;
    vhost_user->loop = settings->loop;
    vhost_user->listener = (struct loop_source){.fd = -1, .ready = listener_ready};
    vhost_user->connection = (struct loop_source){.fd = -1, .ready = session_ready};
    vhost_user->again.fire = again;
    vhost_user->patience.fire = patience_ends;
    vhost_user->peer.fd = -1;
    vhost_user->log_fd = -1;
    vhost_user->transfer.source.fd = -1;
    vhost_user->rings_file.fd = -1;
    vhost_user->area_made[0] = vhost_user->area_made[1] = -1;
    vhost_user->ring_count = rings_named(settings->coordinator);
    vhost_user->ring = calloc(vhost_user->ring_count, sizeof(*vhost_user->ring));
    vhost_user->path = strdup(settings->path);
    if (vhost_user->ring == NULL || vhost_user->path == NULL) {
        free(vhost_user->ring);
        free(vhost_user->path);
        free(vhost_user);
        return error_set(err, ENOMEM, "out of memory");
    }
    vhost_user_rings_init(vhost_user);
    vhost_user_channel_init(vhost_user);
    vhost_user->postcopy = (struct vhost_user_postcopy){.device_fd = -1, .uffd = -1};
    result = socket_address(vhost_user->path, &address, err);
    if (result == 0 && settings->protocol_features & VHOST_USER_PROTOCOL_PAGEFAULT)
        result = vhost_user_postcopy_open(&vhost_user->postcopy, err);
    if (result == 0)
        result = begin(vhost_user, settings, err);
    if (result < 0)
        goto fail;
    if (vhost_user->rings_file.fd < 0) /* else the process before has given it */
        vhost_user_rings_file_open(vhost_user);
    coordinator_listen(vhost_user->coordinator,
                       &(struct coordinator_listener){.config_changed = config_changed,
                                                      .queue_broken = queue_broken,
                                                      .context = vhost_user});
    *ret_vhost_user = vhost_user;
    return 0;
fail:
    vhost_user_close(vhost_user);
    return result;
}

void vhost_user_close(struct vhost_user *vhost_user)
{
    if (vhost_user == NULL)
        return;
    coordinator_listen(vhost_user->coordinator, &(struct coordinator_listener){0});
    if (vhost_user->connection.fd >= 0)
        session_end(vhost_user);
    else if (vhost_user->listener.fd >= 0 && !vhost_user->again.armed)
        loop_remove(vhost_user->loop, &vhost_user->listener);
    loop_timer_stop(vhost_user->loop, &vhost_user->again);
    if (vhost_user->owns_path && !vhost_user->given)
        unlink(vhost_user->path);
    vhost_user_rings_file_close(vhost_user);
    vhost_user_inflight_close(vhost_user);
    vhost_user_connection_close(&vhost_user->peer); /* of a session that could not be taken over */
    fd_close(&vhost_user->listener.fd);
    vhost_user_channel_close(vhost_user);
    vhost_user_postcopy_close(&vhost_user->postcopy);
    free(vhost_user->ring);
    free(vhost_user->path);
    free(vhost_user);
}

void vhost_user_inspect(struct vhost_user *vhost_user, struct inspect *visitor)
{
    inspect_enter(visitor, "vhost_user");
    inspect_text(visitor, "socket", "%s", vhost_user->path);
    inspect_text(visitor, "mode", "%s",
                 vhost_user->mode == VHOST_USER_SERVER ? "server" : "client");
    inspect_flag(visitor, "connected", vhost_user->connection.fd >= 0);
    inspect_number(visitor, "sessions", vhost_user->sessions);
    inspect_number(visitor, "messages", vhost_user->messages);
    inspect_number(visitor, "refused", vhost_user->refused);
    inspect_number(visitor, "config_changes", vhost_user->config_changes);
    inspect_number(visitor, "config_notices", vhost_user->channel.config_notices);
    inspect_number(visitor, "ring_notices", vhost_user->channel.ring_notices);
    inspect_number(visitor, "channels_lost", vhost_user->channel.lost);
    inspect_number(visitor, "left_behind", vhost_user->partings);
    inspect_number(visitor, "control_share", vhost_user->share.percent);
    inspect_number(visitor, "left_alone", vhost_user->share.times_spent);
    inspect_number(visitor, "left_alone_for_others", vhost_user->share.times_shared);
    if (vhost_user->last_error[0] != '\0')
        inspect_text(visitor, "last_refusal", "%s", vhost_user->last_error);
    inspect_hex(visitor, "features", vhost_user->features);
    inspect_hex(visitor, "protocol_features", vhost_user->protocol_features);
    vhost_user_inflight_inspect(vhost_user, visitor);
    vhost_user_memory_inspect(vhost_user, visitor);
    vhost_user_iommu_inspect(vhost_user, visitor);
    vhost_user_log_inspect(vhost_user, visitor);
    vhost_user_announce_inspect(vhost_user, visitor);
    vhost_user_state_inspect(vhost_user, visitor);
    inspect_leave(visitor);
}
