/* SPDX-License-Identifier: MIT */
#include "takeover_double.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

enum {
    FDS_AT_ONCE = 200,
    NAME_LEN = 32,
};

int takeover_double_request(const char *control_path, const char *line)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t len = (ssize_t)strlen(line);

    strcpy(address.sun_path, control_path);
    check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "no control socket");
    check(write(fd, line, (size_t)len) == len, "can't ask");
    return fd;
}

int takeover_double_connect(const char *control_path)
{
    int fd = takeover_double_request(control_path, "{\"command\":\"takeover\"}\n");
    char byte = 0;

    while (byte != '\n') {
        check(wait_readable(fd, WAIT_LONG_MS), "no answer");
        check(read(fd, &byte, 1) == 1, "no answer");
    }
    return fd;
}

void takeover_double_say(int fd, uint32_t word, const void *bytes, uint32_t len)
{
    uint32_t header[3] = {word, 0, len};

    check(send(fd, header, sizeof(header), MSG_NOSIGNAL) == sizeof(header), "can't speak");
    check(len == 0 || send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len, "can't speak");
}

int takeover_double_try(int fd, uint32_t word)
{
    uint32_t header[3] = {word, 0, 0};

    return send(fd, header, sizeof(header), MSG_NOSIGNAL) == sizeof(header);
}

void takeover_double_ask(int fd, const char *name)
{
    char padded[NAME_LEN] = {0};

    strncpy(padded, name, sizeof(padded) - 1);
    takeover_double_say(fd, WORD_ASK, padded, sizeof(padded));
}

static int read_all(int fd, void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t got;

        check(wait_readable(fd, 4 * WAIT_LONG_MS), "the old daemon is silent");
        got = read(fd, (uint8_t *)bytes + done, len - done);
        if (got <= 0)
            return 0;
        done += (size_t)got;
    }
    return 1;
}

static void fds_throw_away(int fd)
{
    union {
        char bytes[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
        struct cmsghdr align;
    } room;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof(room.bytes)};
    struct cmsghdr *control;
    int *fds;

    check(recvmsg(fd, &message, MSG_CMSG_CLOEXEC) == 1, "fds were promised");
    control = CMSG_FIRSTHDR(&message);
    check(control != NULL && control->cmsg_type == SCM_RIGHTS, "fds were promised");
    fds = (int *)CMSG_DATA(control);
    for (size_t i = 0; i < (control->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
        close(fds[i]);
}

int takeover_double_hear(int fd, char ret_text[256])
{
    uint32_t header[3];
    char *bytes;

    memset(ret_text, 0, 256);
    if (!read_all(fd, header, sizeof(header)))
        return -1;
    for (uint32_t i = 0; i < header[1]; i += FDS_AT_ONCE)
        fds_throw_away(fd);
    bytes = malloc(header[2] + 1u);
    check(bytes != NULL && read_all(fd, bytes, header[2]), "a message is cut short");
    memcpy(ret_text, bytes, header[2] < 255 ? header[2] : 255);
    free(bytes);
    return (int)header[0];
}

unsigned takeover_double_hear_cards(int fd)
{
    char text[256];
    unsigned cards = 0;
    int word = takeover_double_hear(fd, text);

    check(word == WORD_DAEMON, "message %d in place of DAEMON: %s", word, text);
    while ((word = takeover_double_hear(fd, text)) == WORD_CARD)
        cards++;
    check(word == WORD_END, "message %d in place of END: %s", word, text);
    return cards;
}
