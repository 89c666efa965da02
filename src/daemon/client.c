/* SPDX-License-Identifier: MIT */
#include "daemon/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/control_path.h"

enum {
    PATIENCE_SECONDS = 10, /* without a byte from the daemon */
    READ_STEP = 64 * 1024,
    ANSWER_MAX = 256 * 1024 * 1024,
};

static int refuse_silence(const struct sockaddr_un *address, struct error *err)
{
    return error_set(err, ETIMEDOUT,
                     "the daemon at %s doesn't answer; look at its log, or restart it",
                     address->sun_path);
}

static int connect_to(const struct sockaddr_un *address, int *ret_fd, struct error *err)
{
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int code;

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
            *ret_fd = fd;
            return 0;
        }
    }
    code = errno;
    fd_close(&fd);
    if (code == EAGAIN)
        return refuse_silence(address, err);
    return error_set(
        err, code,
        "no vionic daemon answers at %s (%s); start one with `vionic run`, or name its "
        "socket with --control PATH",
        address->sun_path, strerror(code));
}

static int send_line(int fd, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    char *line = NULL;
    int len, ret = -ENOMEM;

    if (text == NULL)
        return -ENOMEM;
    len = asprintf(&line, "%s\n", text);
    free(text);
    if (len < 0)
        return -ENOMEM;
    for (int sent = 0; sent < len; sent += ret) {
        ret = (int)send(fd, line + sent, (size_t)(len - sent), MSG_NOSIGNAL);
        if (ret < 0) {
            ret = -errno;
            break;
        }
    }
    free(line);
    return ret < 0 ? ret : 0;
}

/* One line, without its end. */
static int receive_line(int fd, char **ret_line, size_t *ret_len)
{
    char *line = NULL, *grown;
    size_t len = 0;
    ssize_t got;

    while (len < ANSWER_MAX) {
        grown = realloc(line, len + READ_STEP);
        if (grown == NULL)
            break;
        line = grown;
        got = recv(fd, line + len, READ_STEP, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(line);
            return got < 0 ? -errno : -ECONNRESET;
        }
        len += (size_t)got;
        if (line[len - 1] == '\n') {
            *ret_line = line;
            *ret_len = len - 1;
            return 0;
        }
    }
    free(line);
    return -ENOMEM;
}

static int take_result(const char *line, size_t len, json_t **ret_result, struct error *err)
{
    json_t *answer = json_loadb(line, len, 0, NULL);
    json_t *result = json_object_get(answer, "result");
    const char *sentence = json_string_value(json_object_get(answer, "error"));
    int ret = 0;

    if (json_is_true(json_object_get(answer, "ok")) && result != NULL)
        *ret_result = json_incref(result);
    else if (sentence != NULL)
        ret = error_set(err, ENOENT, "%s", sentence);
    else
        ret =
            error_set(err, EPROTO,
                      "what answered is no vionic daemon; name another socket with --control PATH");
    json_decref(answer);
    return ret;
}

int client_open(const char *control_path, json_t *request, int *ret_fd, json_t **ret_result,
                struct error *err)
{
    struct sockaddr_un address;
    char *line = NULL;
    size_t len = 0;
    int fd = -1;
    int ret = control_path_address(control_path, &address, err);

    if (ret == 0)
        ret = connect_to(&address, &fd, err);
    if (ret < 0) {
        *ret_fd = -1;
        return ret;
    }
    /* A daemon that turns us away may have closed already, but its answer is there to be read. */
    ret = send_line(fd, request);
    if (ret == 0 || ret == -EPIPE)
        ret = receive_line(fd, &line, &len);
    if (ret == -EAGAIN)
        ret = refuse_silence(&address, err);
    else if (ret < 0)
        error_set(err, -ret, "the daemon at %s broke off (%s); look at its log", address.sun_path,
                  strerror(-ret));
    else
        ret = take_result(line, len, ret_result, err);
    free(line);
    if (ret < 0)
        fd_close(&fd);
    *ret_fd = fd;
    return ret;
}

int client_ask(const char *control_path, json_t *request, json_t **ret_result, struct error *err)
{
    int fd;
    int ret = client_open(control_path, request, &fd, ret_result, err);

    fd_close(&fd);
    return ret;
}
