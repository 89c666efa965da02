/* SPDX-License-Identifier: MIT */
#include "daemon/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/local_socket.h"
#include "base/log.h"
#include "daemon/control_access.h"
#include "daemon/control_client.h"
#include "daemon/control_path.h"
#include "daemon/requests.h"

enum {
    CLIENTS_MAX = 32,
    CLIENTS_OF_A_MEMBER_MAX = 8,
    BACKLOG = 64,
    SOCKET_MODE = 0600,
};

struct control {
    struct loop *loop;              /* borrowed */
    struct vionic *vionic;          /* borrowed */
    struct loop_source listener;    /* its fd is owned */
    struct loop_timer retry;        /* listens again after the process ran out of fds */
    struct control_client *clients; /* owned */
    unsigned client_count;
    void (*takeover)(void *context, int fd); /* settings.takeover */
    void *takeover_context;                  /* borrowed */
    struct sockaddr_un address;
    dev_t device; /* of the socket file that we made, to remove no other */
    ino_t inode;
    gid_t group; /* whose members may connect; CONTROL_NO_GROUP */
    struct log_limit accept_log;
};

static void client_closed(struct control_client *client)
{
    struct control *control = client->owner;
    struct control_client **at = &control->clients;

    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    control->client_count--;
    control_client_free(client);
}

static void client_left(struct control_client *client)
{
    struct control *control = client->owner;
    int fd;

    loop_remove(control->loop, &client->source);
    fd = fd_take(&client->source.fd);
    client_closed(client);
    if (control->takeover != NULL)
        control->takeover(control->takeover_context, fd);
    else
        fd_close(&fd);
}

/* Says why not, as far as the socket takes it at once, and closes. */
static void turn_away(int fd, const char *sentence)
{
    size_t len;
    char *answer = requests_refuse(sentence, &len);

    if (answer != NULL && send(fd, answer, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("control socket: a refused client didn't wait for the answer");
    free(answer);
    fd_close(&fd);
}

static unsigned clients_of(const struct control *control, uid_t uid)
{
    unsigned count = 0;

    for (const struct control_client *client = control->clients; client != NULL;
         client = client->next)
        count += client->uid == uid;
    return count;
}

/* Members of the group can't keep the owner and root out. */
static int has_share_left(const struct control *control, uid_t uid)
{
    return uid == 0 || uid == geteuid() || clients_of(control, uid) < CLIENTS_OF_A_MEMBER_MAX;
}

static void admit(struct control *control, int fd)
{
    struct control_client *client;
    uid_t uid;

    if (!control_access_allows(fd, control->group, &uid)) {
        turn_away(fd, control->group == (gid_t)CONTROL_NO_GROUP
                          ? "this daemon belongs to another user; ask as that user or as root"
                          : "this daemon belongs to another user; ask as that user, as root, or as "
                            "a member of its --control-group");
        return;
    }
    if (control->client_count >= CLIENTS_MAX || !has_share_left(control, uid)) {
        turn_away(fd, "too many clients are connected to this daemon; close some of them");
        return;
    }
    if (control_client_create(control->loop, control->vionic, fd, &client) < 0)
        return;
    client->uid = uid;
    client->left = client_left;
    client->closed = client_closed;
    client->owner = control;
    client->next = control->clients;
    control->clients = client;
    control->client_count++;
}

static void listener_ready(struct loop_source *source, uint32_t events)
{
    struct control *control = CONTAINER_OF(source, struct control, listener);
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd >= 0) {
        admit(control, fd);
        return;
    }
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
        return;
    /* The connection stays in the backlog and the listener stays readable: look away for a second.
     */
    if (log_limit_pass(&control->accept_log))
        log_warning("control socket: can't accept a client (%s); trying again in a second",
                    strerror(errno));
    loop_remove(control->loop, source);
    loop_timer_start(control->loop, &control->retry, CLOCK_SECOND_NS);
}

static void listener_retry(struct loop_timer *timer)
{
    struct control *control = CONTAINER_OF(timer, struct control, retry);

    if (loop_add(control->loop, &control->listener, EPOLLIN) < 0)
        loop_timer_start(control->loop, timer, CLOCK_SECOND_NS);
}

static int name_free(const struct sockaddr_un *address, struct error *err)
{
    int result = local_socket_free_name(address);

    switch (result) {
    case 0:
        return 0;
    case -EADDRINUSE:
        return error_set(err, EADDRINUSE,
                         "control socket: another vionic serves %s; stop it, or give this one its "
                         "own with --control PATH",
                         address->sun_path);
    case -EEXIST:
        return error_set(
            err, EEXIST,
            "control socket: %s is there and is no socket; remove it or choose another "
            "path with --control PATH",
            address->sun_path);
    default:
        return error_set(err, -result, "control socket: %s", strerror(-result));
    }
}

static int bind_listener(struct control *control, struct error *err)
{
    struct sockaddr_un *address = &control->address;
    struct stat made;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code;

    /* The mode set before bind() is the mode that the file is made with: never open to others. */
    if (fd < 0 || fchmod(fd, SOCKET_MODE) < 0 ||
        bind(fd, (struct sockaddr *)address, sizeof(*address)) < 0) {
        code = errno;
        fd_close(&fd);
        return error_set(
            err, code,
            "control socket: can't listen at %s (%s); choose a path that you may write "
            "with --control PATH",
            address->sun_path, strerror(code));
    }
    control->listener.fd = fd;
    if (stat(address->sun_path, &made) == 0) {
        control->device = made.st_dev;
        control->inode = made.st_ino;
    }
    code = control_access_share(address, control->group, err);
    if (code < 0)
        return code;
    if (listen(fd, BACKLOG) < 0)
        return error_set(err, errno, "control socket: can't listen at %s (%s)", address->sun_path,
                         strerror(errno));
    return 0;
}

static int make_listener(struct control *control, struct error *err)
{
    int ret = control_path_make_directory(&control->address, err);

    if (ret == 0)
        ret = name_free(&control->address, err);
    if (ret == 0)
        ret = bind_listener(control, err);
    return ret;
}

int control_create(struct loop *loop, struct vionic *vionic,
                   const struct control_settings *settings, struct control **ret_control,
                   struct error *err)
{
    struct control *control = calloc(1, sizeof(*control));
    int listen_fd = settings->listen_fd > 0 ? settings->listen_fd : -1;
    int ret;

    if (control == NULL) {
        fd_close(&listen_fd);
        return error_set(err, ENOMEM, "out of memory");
    }
    control->loop = loop;
    control->vionic = vionic;
    control->takeover = settings->takeover;
    control->takeover_context = settings->context;
    control->listener = (struct loop_source){.fd = listen_fd, .ready = listener_ready};
    control->retry.fire = listener_retry;
    ret = control_access_find_group(settings->group, &control->group, err);
    if (ret == 0)
        ret = control_path_address(settings->path, &control->address, err);
    if (ret == 0 && listen_fd >= 0)
        ret = fd_set_nonblocking(listen_fd);
    else if (ret == 0)
        ret = make_listener(control, err);
    if (ret == 0) {
        ret = loop_add(loop, &control->listener, EPOLLIN);
        if (ret < 0)
            error_set(err, -ret, "control socket: %s", strerror(-ret));
    }
    if (ret < 0)
        control_free(control);
    else
        *ret_control = control;
    return ret;
}

static void remove_own_file(struct control *control)
{
    struct stat there;

    if (control->inode == 0 || lstat(control->address.sun_path, &there) < 0)
        return;
    if (there.st_dev == control->device && there.st_ino == control->inode)
        unlink(control->address.sun_path);
}

/* What was read and not answered stays without an answer. */
static void hear_nobody(struct control *control)
{
    while (control->clients != NULL)
        client_closed(control->clients);
    loop_timer_stop(control->loop, &control->retry);
    if (control->listener.fd >= 0)
        loop_remove(control->loop, &control->listener);
}

void control_free(struct control *control)
{
    if (control == NULL)
        return;
    hear_nobody(control);
    if (control->listener.fd >= 0)
        remove_own_file(control);
    fd_close(&control->listener.fd);
    free(control);
}

void control_give(const struct control *control, struct control_socket *ret_socket)
{
    *ret_socket = (struct control_socket){control->listener.fd, control->device, control->inode};
}

void control_disown(struct control *control)
{
    hear_nobody(control);
    control->device = 0;
    control->inode = 0;
}

void control_own(struct control *control, const struct control_socket *socket)
{
    control->device = (dev_t)socket->device;
    control->inode = (ino_t)socket->inode;
}

const char *control_path(const struct control *control)
{
    return control->address.sun_path;
}
