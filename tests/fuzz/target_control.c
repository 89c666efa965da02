/* SPDX-License-Identifier: MIT */
/*
 * The control socket. Requests go to the parser alone, and over the real socket in pieces; whatever
 * came, each answer is one line of JSON, and the next client is served.
 *
 *     a byte (0: the parser alone), then for the socket: pieces, each with its length in a byte
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "daemon/control.h"
#include "daemon/requests.h"
#include "fuzz.h"
#include "scratch_folder.h"

enum {
    PIECES_MAX = 64,
    TURNS = 200,
    ANSWER_MAX = 1 << 20,
};

/* Lives as long as the process, like a daemon's. */
static struct {
    struct vionic *vionic;
    struct loop *loop;
    struct control *control;
    char path[64];
} daemon_parts;

static void daemon_stop(void)
{
    control_free(daemon_parts.control);
    loop_free(daemon_parts.loop);
    vionic_free(daemon_parts.vionic);
}

static void daemon_start(void)
{
    struct vionic_config config = {.size = sizeof(config)};
    struct vionic_nic_config nic = {.size = sizeof(nic), .endpoint = "null", .queue_pairs = 2};
    struct control_settings settings = {0};
    struct vionic_error err;
    char socket_path[64];

    if (daemon_parts.vionic != NULL)
        return;
    signal(SIGPIPE, SIG_IGN); /* as daemon/service.c does */
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(socket_path, sizeof(socket_path), "%s/nic", scratch_folder());
    snprintf(daemon_parts.path, sizeof(daemon_parts.path), "%s/control", scratch_folder());
    nic.socket_path = socket_path;
    FUZZ_CHECK(vionic_create(&config, &daemon_parts.vionic, &err) == 0, "%s", err.text);
    FUZZ_CHECK(vionic_add_nic(daemon_parts.vionic, &nic, NULL, &err) == 0, "%s", err.text);
    FUZZ_CHECK(loop_create(&daemon_parts.loop) == 0, "no loop");
    settings.path = daemon_parts.path;
    FUZZ_CHECK(control_create(daemon_parts.loop, daemon_parts.vionic, &settings,
                              &daemon_parts.control, NULL) == 0,
               "no control socket");
    atexit(daemon_stop);
}

/* One line, one object, and a word on how it went. */
static void check_answer(const char *answer, size_t len)
{
    json_t *object = json_loadb(answer, len, JSON_REJECT_DUPLICATES, NULL);
    json_t *good = json_object_get(object, "ok");

    FUZZ_CHECK(len != 0 && memchr(answer, '\n', len) == answer + len - 1, "not one line");
    FUZZ_CHECK(json_is_boolean(good), "no answer: %.*s", (int)len, answer);
    FUZZ_CHECK(json_is_true(good) ? json_object_get(object, "result") != NULL
                                  : json_string_length(json_object_get(object, "error")) != 0,
               "half an answer: %.*s", (int)len, answer);
    json_decref(object);
}

static void ask_parser(const uint8_t *bytes, size_t size)
{
    size_t len = 0;
    char *answer = requests_answer(daemon_parts.vionic, (const char *)bytes, size, &len);

    FUZZ_CHECK(answer != NULL, "no answer");
    check_answer(answer, len);
    free(answer);
}

/* ---- over the socket ------------------------------------------------------------------------ */

static int client_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, daemon_parts.path);
    FUZZ_CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0,
               "the control socket is gone");
    return fd;
}

static void client_receive(int fd, char *text, size_t *len)
{
    ssize_t got;

    while (*len < ANSWER_MAX && (got = recv(fd, text + *len, ANSWER_MAX - *len, 0)) > 0)
        *len += (size_t)got;
}

static void client_send_all(int fd, struct fuzz_input *input, char *text, size_t *len)
{
    for (unsigned i = 0; i < PIECES_MAX && input->left != 0; i++) {
        const uint8_t *bytes;
        size_t count = fuzz_bytes(input, fuzz_u8(input), &bytes);

        if (count != 0 && send(fd, bytes, count, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            return;
        loop_dispatch(daemon_parts.loop, 0);
        client_receive(fd, text, len);
    }
}

static void check_lines(const char *text, size_t len)
{
    while (len != 0) {
        const char *end = memchr(text, '\n', len);

        if (end == NULL) /* the daemon hung up in the middle of it */
            return;
        check_answer(text, (size_t)(end + 1 - text));
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
}

static void ask_socket(struct fuzz_input *input)
{
    static char text[ANSWER_MAX];
    static const uint8_t ping[] = "\x13{\"command\":\"ping\"}\n";
    struct fuzz_input good = {ping, sizeof(ping) - 1};
    size_t len = 0;
    int fd = client_connect();

    client_send_all(fd, input, text, &len);
    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < TURNS && recv(fd, text, 1, MSG_PEEK) != 0; i++) {
        loop_dispatch(daemon_parts.loop, 0);
        client_receive(fd, text, &len);
    }
    close(fd);
    check_lines(text, len);

    len = 0;
    fd = client_connect();
    client_send_all(fd, &good, text, &len);
    for (unsigned i = 0; i < TURNS && len == 0; i++) {
        loop_dispatch(daemon_parts.loop, 0);
        client_receive(fd, text, &len);
    }
    FUZZ_CHECK(len != 0, "the next client is not served");
    check_lines(text, len);
    close(fd);
    loop_dispatch(daemon_parts.loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};

    daemon_start();
    if (fuzz_u8(&input) == 0)
        ask_parser(input.at, input.left);
    else
        ask_socket(&input);
    return 0;
}
