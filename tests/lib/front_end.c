/* SPDX-License-Identifier: MIT */
/* The socket: connecting, sending and receiving messages with their fds. Messages:
 * front_end_messages.c. */
#include "front_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void front_end_init(struct front_end *fe)
{
    memset(fe, 0, sizeof(*fe));
    fe->fd = -1;
    fe->backend_fd = -1;
    for (unsigned i = 0; i < FRONT_END_VRINGS_MAX; i++)
        fe->vring[i] = (struct front_end_vring){-1, -1, -1};
}

void front_end_close(struct front_end *fe)
{
    close_fd(&fe->fd);
    close_fd(&fe->backend_fd);
    for (unsigned i = 0; i < FRONT_END_VRINGS_MAX; i++) {
        close_fd(&fe->vring[i].kick_fd);
        close_fd(&fe->vring[i].call_fd);
        close_fd(&fe->vring[i].err_fd);
    }
    front_end_init(fe);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    check(strlen(path) < sizeof(address.sun_path), "the path %s is too long", path);
    strcpy(address.sun_path, path);
    return address;
}

void front_end_connect(struct front_end *fe, const char *path)
{
    struct sockaddr_un address = address_of(path);
    uint64_t end = now_ms() + WAIT_LONG_MS;

    close_fd(&fe->fd);
    fe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fe->fd >= 0, "no socket");
    while (connect(fe->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        check(now_ms() < end, "nothing listens at %s: %s", path, strerror(errno));
        sleep_ms(2);
    }
}

int front_end_listen(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(path);
    check(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
              listen(fd, 4) == 0,
          "can't listen at %s: %s", path, strerror(errno));
    return fd;
}

void front_end_accept(struct front_end *fe, int listen_fd)
{
    close_fd(&fe->fd);
    check(wait_readable(listen_fd, WAIT_LONG_MS), "the back-end did not connect");
    fe->fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
    check(fe->fd >= 0, "accept failed");
}

int front_end_is_closed(struct front_end *fe, int timeout_ms)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;
    uint8_t waste[256];

    for (;;) {
        uint64_t now = now_ms();
        ssize_t got;

        if (!wait_readable(fe->fd, now < end ? (int)(end - now) : 0))
            return 0;
        got = recv(fe->fd, waste, sizeof(waste), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return 1;
        if (now >= end)
            return 0;
    }
}

int front_end_send_bytes(struct front_end *fe, const void *bytes, size_t len)
{
    return send(fe->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
}

int front_end_send(struct front_end *fe, const struct vu_message *message)
{
    uint32_t header[3] = {message->request, message->flags, message->size};
    uint32_t body = message->size < VU_PAYLOAD_MAX ? message->size : VU_PAYLOAD_MAX;
    struct iovec iov[2] = {{header, sizeof(header)}, {(void *)message->payload, body}};
    char control[CMSG_SPACE(sizeof(message->fd))] = {0};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (message->fd_count > 0) {
        struct cmsghdr *cmsg;

        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(message->fd_count * sizeof(int));
        cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(message->fd_count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), message->fd, message->fd_count * sizeof(int));
    }
    return sendmsg(fe->fd, &msg, MSG_NOSIGNAL) == (ssize_t)(sizeof(header) + body) ? 0 : -EPIPE;
}

/* Reads exactly len bytes; the fds that come with them go to `message`, which may be NULL. */
static int receive_exactly(struct front_end *fe, void *bytes, size_t len,
                           struct vu_message *message)
{
    size_t done = 0;

    while (done < len) {
        char control[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
        struct iovec iov = {(uint8_t *)bytes + done, len - done};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
        struct cmsghdr *cmsg;
        ssize_t got;

        if (!wait_readable(fe->fd, WAIT_LONG_MS))
            return -ETIMEDOUT;
        got = recvmsg(fe->fd, &msg, MSG_CMSG_CLOEXEC);
        if (got <= 0)
            return -EPIPE;
        cmsg = CMSG_FIRSTHDR(&msg);
        if (cmsg != NULL && cmsg->cmsg_type == SCM_RIGHTS && message != NULL) {
            message->fd_count = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(message->fd, CMSG_DATA(cmsg), message->fd_count * sizeof(int));
        }
        done += (size_t)got;
    }
    return 0;
}

int front_end_receive(struct front_end *fe, struct vu_message *ret_message)
{
    uint32_t header[3];
    int err;

    memset(ret_message, 0, sizeof(*ret_message));
    err = receive_exactly(fe, header, sizeof(header), ret_message);
    if (err < 0)
        return err;
    ret_message->request = header[0];
    ret_message->flags = header[1];
    ret_message->size = header[2];
    check(header[2] <= VU_PAYLOAD_MAX, "a reply of %u bytes", header[2]);
    return receive_exactly(fe, ret_message->payload, header[2], NULL);
}

int front_end_ask(struct front_end *fe, struct vu_message *message)
{
    uint32_t request = message->request;
    int err;

    message->flags = VU_VERSION;
    err = front_end_send(fe, message);
    if (err == 0)
        err = front_end_receive(fe, message);
    if (err < 0)
        return err;
    check(message->request == request, "the reply to %u is for %u", request, message->request);
    check(message->flags == (VU_VERSION | VU_REPLY), "reply flags 0x%x", message->flags);
    return 0;
}

int front_end_request(struct front_end *fe, struct vu_message *message, uint32_t flags)
{
    struct vu_message reply;
    uint64_t value;
    int err;

    if (fe->pf & VU_PF_REPLY_ACK)
        flags |= VU_NEED_REPLY;
    message->flags = VU_VERSION | flags;
    err = front_end_send(fe, message);
    if (err < 0 || !(fe->pf & VU_PF_REPLY_ACK))
        return err;
    err = front_end_receive(fe, &reply);
    if (err < 0)
        return err;
    check(reply.request == message->request && reply.flags == (VU_VERSION | VU_REPLY) &&
              reply.size == sizeof(value) && reply.fd_count == 0,
          "acknowledgement of %u: request %u flags 0x%x size %u", message->request, reply.request,
          reply.flags, reply.size);
    memcpy(&value, reply.payload, sizeof(value));
    return value == 0 ? 0 : 1;
}

struct vu_message vu_message(uint32_t request, const void *payload, uint32_t size)
{
    struct vu_message message = {.request = request, .flags = VU_VERSION, .size = size};

    check(size <= VU_PAYLOAD_MAX, "payload too long");
    if (size > 0)
        memcpy(message.payload, payload, size);
    return message;
}

struct vu_message vu_message_u64(uint32_t request, uint64_t value)
{
    return vu_message(request, &value, sizeof(value));
}

struct vu_message vu_message_state(uint32_t request, uint32_t index, uint32_t num)
{
    uint32_t state[2] = {index, num};

    return vu_message(request, state, sizeof(state));
}

void vu_message_add_fd(struct vu_message *message, int fd)
{
    check(message->fd_count < VU_FDS_MAX, "too many fds");
    message->fd[message->fd_count++] = fd;
}
