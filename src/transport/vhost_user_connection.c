/* SPDX-License-Identifier: MIT */
#include "transport/vhost_user_connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fd.h"

enum {
    /* One more than allowed, so that too many are seen rather than cut off. */
    FDS_ROOM = VHOST_USER_FDS_MAX + 1,
};

void vhost_user_connection_init(struct vhost_user_connection *connection, int fd)
{
    connection->fd = fd;
    connection->received = 0;
    connection->message.fd_count = 0;
}

void vhost_user_connection_done(struct vhost_user_connection *connection)
{
    struct vhost_user_message *message = &connection->message;

    for (unsigned i = 0; i < message->fd_count; i++)
        fd_close(&message->fd[i]);
    message->fd_count = 0;
    connection->received = 0;
}

void vhost_user_connection_close(struct vhost_user_connection *connection)
{
    vhost_user_connection_done(connection);
    fd_close(&connection->fd);
}

/* Takes every fd that came; -EPROTO if they are too many. */
static int take_fds(struct vhost_user_message *message, struct msghdr *received)
{
    int result = received->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

    for (struct cmsghdr *control = CMSG_FIRSTHDR(received); control != NULL;
         control = CMSG_NXTHDR(received, control)) {
        size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        const unsigned char *data = CMSG_DATA(control);

        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
            if (message->fd_count < VHOST_USER_FDS_MAX) {
                message->fd[message->fd_count++] = fd;
            } else {
                close(fd);
                result = -EPROTO;
            }
        }
    }
    return result;
}

/* Reads up to `want` more bytes of the message. 1: all of them are there. */
static int receive_bytes(struct vhost_user_connection *connection, size_t want)
{
    struct vhost_user_message *message = &connection->message;
    union {
        char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
        struct cmsghdr align;
    } control;
    size_t header_len = sizeof(message->header);
    uint8_t *to = connection->received < header_len
                      ? (uint8_t *)&message->header + connection->received
                      : message->payload.bytes + (connection->received - header_len);
    struct iovec iov = {.iov_base = to, .iov_len = want};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t len = recvmsg(connection->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    int result;

    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    result = take_fds(message, &msg);
    if (len == 0)
        return -ENOTCONN;
    connection->received += (size_t)len;
    if (result < 0)
        return result;
    return (size_t)len == want;
}

int vhost_user_connection_check(const struct vhost_user_connection *connection)
{
    const struct vhost_user_header *header = &connection->message.header;

    if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
        header->flags & VHOST_USER_REPLY || header->size > VHOST_USER_PAYLOAD_MAX)
        return -EPROTO;
    return 0;
}

int vhost_user_connection_receive(struct vhost_user_connection *connection)
{
    struct vhost_user_message *message = &connection->message;
    size_t header_len = sizeof(message->header);
    int result;

    if (connection->received < header_len) {
        result = receive_bytes(connection, header_len - connection->received);
        if (result <= 0)
            return result;
        result = vhost_user_connection_check(connection);
        if (result < 0)
            return result;
        memset(message->payload.bytes, 0, message->header.size);
    }
    if (connection->received < header_len + message->header.size)
        return receive_bytes(connection, header_len + message->header.size - connection->received);
    return 1;
}

int vhost_user_connection_begun(const struct vhost_user_connection *connection)
{
    return connection->received != 0;
}

int vhost_user_connection_reply_with(struct vhost_user_connection *connection, uint32_t len,
                                     int *fd)
{
    struct vhost_user_header header = {.request = connection->message.header.request,
                                       .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
                                       .size = len};
    struct iovec iov[2] = {
        {.iov_base = &header, .iov_len = sizeof(header)},
        {.iov_base = connection->message.payload.bytes, .iov_len = len},
    };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t sent;

    if (*fd >= 0) {
        memcpy(CMSG_DATA(&control.header), fd, sizeof(*fd));
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
    }
    sent = sendmsg(connection->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    fd_close(fd);
    if (sent < 0)
        return -errno;
    return (size_t)sent == sizeof(header) + len ? 0 : -EAGAIN;
}

int vhost_user_connection_reply(struct vhost_user_connection *connection, uint32_t len)
{
    int none = -1;

    return vhost_user_connection_reply_with(connection, len, &none);
}
