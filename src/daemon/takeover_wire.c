/* SPDX-License-Identifier: MIT */
#include "daemon/takeover_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/records.h"
#include "daemon/shown.h"

enum {
    FDS_AT_ONCE = 200, /* the kernel takes 253 */
    BYTES_MAX = RECORDS_LONG_LEN_MAX + TAKEOVER_CARDS_MAX * TAKEOVER_NAME_LEN,
    REFUSAL_MS = 1000,
};

/* In front of each message. */
struct header {
    uint32_t type;
    uint32_t fd_count; /* they come next, each FDS_AT_ONCE of them with a byte */
    uint32_t len;      /* of what comes behind the fds */
};

int takeover_token_create(void)
{
    return eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
}

int takeover_token_take(int token_fd)
{
    uint64_t token;

    return read(token_fd, &token, sizeof(token)) == sizeof(token);
}

static int await(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd ready = {.fd = fd, .events = events};
    uint64_t now = clock_now_ns();
    int count = 0;

    if (now < deadline_ns)
        count = poll(&ready, 1, (int)((deadline_ns - now) / CLOCK_MILLISECOND_NS) + 1);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    return count == 0 ? -ETIMEDOUT : 0;
}

/* ---- sending ------------------------------------------------------------------------------ */

static int send_some(int fd, const struct msghdr *message, uint64_t deadline_ns, size_t *ret_sent)
{
    ssize_t sent = sendmsg(fd, message, MSG_NOSIGNAL | MSG_DONTWAIT);

    *ret_sent = sent < 0 ? 0 : (size_t)sent;
    if (sent >= 0 || errno == EINTR)
        return 0;
    return errno == EAGAIN ? await(fd, POLLOUT, deadline_ns) : -errno;
}

static int send_bytes(int fd, const void *bytes, size_t len, uint64_t deadline_ns)
{
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    int result = 0;

    while (iov.iov_len != 0 && result == 0) {
        size_t sent;

        result = send_some(fd, &message, deadline_ns, &sent);
        iov.iov_base = (uint8_t *)iov.iov_base + sent;
        iov.iov_len -= sent;
    }
    return result;
}

union fd_room {
    char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
    struct cmsghdr align;
};

static int send_fds(int fd, const int *fds, unsigned count, uint64_t deadline_ns)
{
    union fd_room room = {{0}};
    char byte = 'f';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    size_t sent = 0;
    int result = 0;

    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(control), fds, count * sizeof(int));
    while (sent == 0 && result == 0)
        result = send_some(fd, &message, deadline_ns, &sent);
    return result;
}

int takeover_send(int fd, const struct takeover_message *message, uint64_t deadline_ns)
{
    const struct header header = {message->type, message->fds.count, (uint32_t)message->len};
    int result = send_bytes(fd, &header, sizeof(header), deadline_ns);

    for (unsigned i = 0; i < message->fds.count && result == 0; i += FDS_AT_ONCE)
        result = send_fds(fd, message->fds.fd + i,
                          MIN(message->fds.count - i, (unsigned)FDS_AT_ONCE), deadline_ns);
    return result == 0 ? send_bytes(fd, message->bytes, message->len, deadline_ns) : result;
}

int takeover_say(int fd, enum takeover_type type, uint64_t deadline_ns)
{
    return takeover_send(fd, &(struct takeover_message){.type = type}, deadline_ns);
}

void takeover_refuse(int fd, const char *sentence)
{
    takeover_send(fd,
                  &(struct takeover_message){.type = TAKEOVER_REFUSED,
                                             .bytes = (uint8_t *)sentence,
                                             .len = strlen(sentence)},
                  clock_now_ns() + REFUSAL_MS * CLOCK_MILLISECOND_NS);
}

/* ---- receiving ---------------------------------------------------------------------------- */

static int receive_bytes(int fd, void *ret_bytes, size_t len, uint64_t deadline_ns)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = recv(fd, (uint8_t *)ret_bytes + done, len - done, MSG_DONTWAIT);
        int result = 0;

        if (got == 0)
            return -ECONNRESET;
        if (got > 0)
            done += (size_t)got;
        else if (errno == EAGAIN)
            result = await(fd, POLLIN, deadline_ns);
        else if (errno != EINTR)
            result = -errno;
        if (result < 0)
            return result;
    }
    return 0;
}

/* All fds of the control message, whatever their number, are in the list. */
static void fds_keep(struct msghdr *message, struct fd_list *list)
{
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL;
         control = CMSG_NXTHDR(message, control)) {
        size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
            if (fd_list_add(list, fd) == FD_LIST_NONE)
                close(fd);
        }
    }
}

/* One byte and the fds that come with it. */
static int receive_fds(int fd, struct fd_list *list, uint64_t deadline_ns)
{
    union fd_room room;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    ssize_t got = -1;

    while (got < 0) {
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = room.bytes,
                                 .msg_controllen = sizeof(room.bytes)};
        int result = await(fd, POLLIN, deadline_ns);

        if (result < 0)
            return result;
        got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (got < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (got >= 0)
            fds_keep(&message, list);
        if (got >= 0 && (message.msg_flags & MSG_CTRUNC) != 0)
            return -EMFILE;
    }
    return got == 0 ? -ECONNRESET : 0;
}

static int receive_rest(int fd, const struct header *header, uint64_t deadline_ns,
                        struct takeover_message *message)
{
    int result = 0;

    if (header->len > BYTES_MAX || header->fd_count >= FD_LIST_NONE)
        return -EPROTO;
    for (unsigned i = 0; i < header->fd_count && result == 0; i += FDS_AT_ONCE)
        result = receive_fds(fd, &message->fds, deadline_ns);
    if (result == 0 && (message->fds.failed || message->fds.count != header->fd_count))
        result = message->fds.failed ? -ENOMEM : -EPROTO;
    if (result < 0 || header->len == 0) /* a word alone can't get lost for want of memory */
        return result;
    message->bytes = malloc(header->len + 1u);
    if (message->bytes == NULL)
        return -ENOMEM;
    message->len = header->len;
    message->bytes[header->len] = '\0'; /* of a sentence */
    return receive_bytes(fd, message->bytes, header->len, deadline_ns);
}

int takeover_receive(int fd, struct takeover_message *ret_message, uint64_t deadline_ns)
{
    struct header header;
    int result = receive_bytes(fd, &header, sizeof(header), deadline_ns);

    *ret_message = (struct takeover_message){0};
    if (result < 0)
        return result;
    ret_message->type = (enum takeover_type)header.type;
    result = receive_rest(fd, &header, deadline_ns, ret_message);
    if (result < 0)
        takeover_message_clear(ret_message);
    return result;
}

void takeover_message_clear(struct takeover_message *message)
{
    fd_list_close(&message->fds);
    free(message->bytes);
    *message = (struct takeover_message){0};
}

void takeover_sentence(const struct takeover_message *message, char ret_shown[ERROR_TEXT_LEN])
{
    const char *said = message->bytes == NULL ? "" : (const char *)message->bytes;

    shown_clean(said, ret_shown, ERROR_TEXT_LEN);
}

int takeover_expect(int fd, enum takeover_type type, uint64_t deadline_ns,
                    struct takeover_message *ret_message, struct error *err)
{
    int result = takeover_receive(fd, ret_message, deadline_ns);
    char shown[ERROR_TEXT_LEN];

    if (result == -ETIMEDOUT)
        return error_set(err, ETIMEDOUT, "the other daemon does not go on");
    if (result < 0)
        return error_set(err, -result, "the other daemon broke off (%s)", strerror(-result));
    if (ret_message->type == type)
        return 0;
    if (ret_message->type == TAKEOVER_REFUSED) {
        takeover_sentence(ret_message, shown);
        result = error_set(err, ECONNABORTED, "%s", shown);
    } else {
        result = error_set(err, EPROTO, "the other daemon spoke out of turn (message %u, not %u)",
                           ret_message->type, type);
    }
    takeover_message_clear(ret_message);
    return result;
}
