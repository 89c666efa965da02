/* SPDX-License-Identifier: MIT */
#include "daemon/control_client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "daemon/requests.h"

enum {
    IDLE_SECONDS = 60,
    REQUESTS_PER_SECOND = 200,
    REQUESTS_IN_ADVANCE = 400, /* that may come in one go */
    REQUEST_NS = CLOCK_SECOND_NS / REQUESTS_PER_SECOND,
};

enum client_fate {
    CLIENT_LIVES,
    CLIENT_ENDS,
};

static void still_there(struct control_client *client)
{
    loop_timer_start(client->loop, &client->idle, IDLE_SECONDS * CLOCK_SECOND_NS);
}

static enum client_fate write_some(struct control_client *client)
{
    ssize_t sent = send(client->source.fd, client->out + client->out_sent,
                        client->out_len - client->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0)
        return errno == EAGAIN || errno == EINTR ? CLIENT_LIVES : CLIENT_ENDS;
    still_there(client);
    client->out_sent += (size_t)sent;
    if (client->out_sent == client->out_len) {
        free(client->out);
        client->out = NULL;
    }
    return CLIENT_LIVES;
}

static enum client_fate read_some(struct control_client *client)
{
    ssize_t got = recv(client->source.fd, client->in + client->in_len,
                       sizeof(client->in) - client->in_len, MSG_DONTWAIT);

    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? CLIENT_LIVES : CLIENT_ENDS;
    if (got == 0)
        client->ended = 1;
    else
        still_there(client);
    client->in_len += (size_t)got;
    return CLIENT_LIVES;
}

/* Each answer moves the time on at which the client has used up what it may; it rests when that is
 * too far ahead. */
static void count_request(struct control_client *client)
{
    client->paid_until_ns = MAX(client->paid_until_ns, clock_now_ns()) + REQUEST_NS;
}

/* 0: it may ask on. */
static uint64_t rest_ns(const struct control_client *client)
{
    const uint64_t advance = (uint64_t)REQUESTS_IN_ADVANCE * REQUEST_NS;
    uint64_t now = clock_now_ns();

    return client->paid_until_ns > now + advance ? client->paid_until_ns - now - advance : 0;
}

static char *line_end(struct control_client *client)
{
    return memchr(client->in, '\n', client->in_len);
}

static void drop_input(struct control_client *client, size_t len)
{
    client->in_len -= len;
    memmove(client->in, client->in + len, client->in_len);
}

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blank lines are no requests. */
static void drop_space(struct control_client *client)
{
    size_t len = 0;

    while (len < client->in_len && is_space(client->in[len]))
        len++;
    drop_input(client, len);
}

static void drop_rest_of_line(struct control_client *client)
{
    char *end = line_end(client);

    if (end != NULL)
        client->skip = CONTROL_SKIP_NOTHING;
    drop_input(client, end == NULL ? client->in_len : (size_t)(end - client->in) + 1);
}

static void answer_request(struct control_client *client, size_t len)
{
    if (!client->leaves || client->uid == geteuid()) {
        client->out = requests_answer(client->vionic, client->in, len, &client->out_len);
        return;
    }
    client->leaves = 0;
    client->out = requests_refuse("only the daemon's own user may take it over; start the new one "
                                  "as that user",
                                  &client->out_len);
}

/* Answers the next line, if it is there whole. */
static enum client_fate answer_line(struct control_client *client)
{
    char *end;

    if (client->skip == CONTROL_SKIP_LINE)
        drop_rest_of_line(client);
    if (client->skip == CONTROL_SKIP_LINE)
        return CLIENT_LIVES;
    drop_space(client);
    end = line_end(client);
    if (end == NULL && client->in_len < sizeof(client->in))
        return CLIENT_LIVES;
    if (end == NULL) {
        client->skip = CONTROL_SKIP_LINE;
        client->in_len = 0;
        client->out = requests_refuse("the request is longer than 65536 bytes; send a shorter one",
                                      &client->out_len);
    } else {
        size_t len = (size_t)(end - client->in);

        client->leaves = requests_is_takeover(client->in, len);
        answer_request(client, len);
        drop_input(client, len + 1);
    }
    client->out_sent = 0;
    count_request(client);
    return client->out == NULL ? CLIENT_ENDS : CLIENT_LIVES;
}

/* One request a call: a client that sends many takes turns with everybody else on the loop. */
static enum client_fate advance(struct control_client *client, uint32_t events)
{
    const uint32_t readable = EPOLLIN | EPOLLHUP | EPOLLERR;
    enum client_fate fate = CLIENT_LIVES;

    if (client->out == NULL && line_end(client) == NULL && (events & readable) != 0)
        fate = read_some(client);
    if (fate == CLIENT_LIVES && client->out == NULL)
        fate = answer_line(client);
    if (fate == CLIENT_LIVES && client->out != NULL)
        fate = write_some(client);
    if (client->ended && client->out == NULL && line_end(client) == NULL)
        fate = CLIENT_ENDS;
    return fate;
}

static void client_ready(struct loop_source *source, uint32_t events)
{
    struct control_client *client = CONTAINER_OF(source, struct control_client, source);
    uint32_t wanted = EPOLLIN;

    if (advance(client, events) == CLIENT_ENDS) {
        client->closed(client);
        return;
    }
    if (client->out == NULL && client->leaves) {
        client->left(client);
        return;
    }
    if (client->out == NULL && rest_ns(client) > 0) {
        loop_remove(client->loop, source);
        loop_timer_start(client->loop, &client->rest, rest_ns(client));
        return;
    }
    /* Writable is "now" for a client that reads, so a second line in the buffer gets its turn soon.
     */
    if (client->out != NULL || line_end(client) != NULL)
        wanted = EPOLLOUT;
    if (loop_modify(client->loop, source, wanted) < 0)
        client->closed(client);
}

static void client_rested(struct loop_timer *timer)
{
    struct control_client *client = CONTAINER_OF(timer, struct control_client, rest);

    if (loop_add(client->loop, &client->source, EPOLLIN | EPOLLOUT) < 0)
        client->closed(client);
}

static void client_idle(struct loop_timer *timer)
{
    struct control_client *client = CONTAINER_OF(timer, struct control_client, idle);

    client->closed(client);
}

int control_client_create(struct loop *loop, struct vionic *vionic, int fd,
                          struct control_client **ret_client)
{
    struct control_client *client = malloc(sizeof(*client));
    int ret;

    if (client == NULL) {
        fd_close(&fd);
        return -ENOMEM;
    }
    memset(client, 0, offsetof(struct control_client, in));
    client->loop = loop;
    client->vionic = vionic;
    client->source = (struct loop_source){.fd = fd, .ready = client_ready};
    client->idle.fire = client_idle;
    client->rest.fire = client_rested;
    ret = loop_add(loop, &client->source, EPOLLIN);
    if (ret < 0) {
        fd_close(&client->source.fd);
        free(client);
        return ret;
    }
    still_there(client);
    *ret_client = client;
    return 0;
}

void control_client_free(struct control_client *client)
{
    if (client == NULL)
        return;
    loop_timer_stop(client->loop, &client->idle);
    loop_timer_stop(client->loop, &client->rest);
    if (client->source.fd >= 0)
        loop_remove(client->loop, &client->source);
    fd_close(&client->source.fd);
    free(client->out);
    free(client);
}
