/* SPDX-License-Identifier: MIT */
#include "daemon/takeover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/records.h"
#include "daemon/client.h"
#include "daemon/takeover_wire.h"

enum {
    PATIENCE_SECONDS = 10, /* with the old daemon, which has less with us */
};

static uint64_t deadline(void)
{
    return clock_now_ns() + PATIENCE_SECONDS * CLOCK_SECOND_NS;
}

int takeover_connect(struct takeover *takeover, const char *control_path, struct error *err)
{
    json_t *request = json_pack("{s: s}", "command", "takeover");
    json_t *result = NULL;
    int ret = client_open(control_path, request, &takeover->fd, &result, err);

    json_decref(request);
    if (ret < 0)
        return ret;
    takeover->there = json_incref(json_object_get(result, "nics"));
    takeover->uplinks = json_incref(json_object_get(result, "uplinks"));
    json_decref(result);
    if (json_is_array(takeover->there))
        return 0;
    return error_set(err, EPROTO, "the daemon that runs can't be taken over: it is too old");
}

static int has_name(const json_t *names, const char *name)
{
    json_t *there;
    size_t i;

    json_array_foreach(names, i, there)
    {
        if (json_is_string(there) && strcmp(json_string_value(there), name) == 0)
            return 1;
    }
    return 0;
}

int takeover_has(const struct takeover *takeover, const char *name)
{
    return has_name(takeover->there, name);
}

int takeover_has_uplink(const struct takeover *takeover, const char *name)
{
    return has_name(takeover->uplinks, name);
}

/* ---- asking ------------------------------------------------------------------------------- */

static int send_names(struct takeover *takeover, const struct config *config, struct error *err)
{
    struct takeover_message ask = {.type = TAKEOVER_ASK};
    int result;

    ask.bytes = calloc(config->nic_count, TAKEOVER_NAME_LEN);
    if (ask.bytes == NULL)
        return error_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < config->nic_count; i++) {
        const char *name = config->nics[i].nic.name;

        if (!takeover_has(takeover, name))
            continue;
        memcpy(ask.bytes + ask.len, name, strnlen(name, TAKEOVER_NAME_LEN - 1));
        ask.len += TAKEOVER_NAME_LEN;
    }
    result = takeover_send(takeover->fd, &ask, deadline());
    free(ask.bytes);
    if (result < 0)
        return error_set(err, -result, "the old daemon can't be asked (%s)", strerror(-result));
    return 0;
}

static int daemon_read(struct takeover *takeover, struct error *err)
{
    struct takeover_message *message = &takeover->daemon;
    struct records records;
    struct record_reader reader;
    int result =
        records_parse_long(&records, message->bytes, message->len, TAKEOVER_TAGS_KNOWN, err);

    if (result < 0)
        return result;
    records_find(&records, TAKEOVER_CONTROL, &reader);
    result = fd_list_take(&message->fds, record_take_u16(&reader), &takeover->control.listen_fd);
    takeover->control.device = record_take_u64(&reader);
    takeover->control.inode = record_take_u64(&reader);
    if (result < 0 || takeover->control.listen_fd < 0 || !record_is_done(&reader))
        return error_set(err, EPROTO, "what the old daemon gave of itself is malformed");
    records_find(&records, TAKEOVER_WATCHDOG, &reader);
    takeover->watchdog_us = record_take_u64(&reader);
    records_find(&records, TAKEOVER_STILL, &reader);
    takeover->still_ns = record_take_u64(&reader);
    takeover->is_waited_for = records_find(&records, TAKEOVER_WAITS, &reader);
    if (records_find(&records, TAKEOVER_TOKEN, &reader))
        result = fd_list_take(&message->fds, record_take_u16(&reader), &takeover->token_fd);
    if (result < 0)
        return error_set(err, EPROTO, "the old daemon gave no token");
    return 0;
}

/* Takes the message's bytes and fds over. */
static int card_read(struct takeover *takeover, struct takeover_message *message, struct error *err)
{
    struct handover_card *card = &takeover->cards[takeover->card_count];

    if (message->len <= TAKEOVER_NAME_LEN ||
        memchr(message->bytes, '\0', TAKEOVER_NAME_LEN) == NULL)
        return error_set(err, EPROTO, "a card that the old daemon gave is malformed");
    card->name = strdup((const char *)message->bytes);
    card->len = message->len - TAKEOVER_NAME_LEN;
    card->block = malloc(card->len);
    if (card->name == NULL || card->block == NULL) {
        free(card->name);
        free(card->block);
        *card = (struct handover_card){0};
        return error_set(err, ENOMEM, "out of memory");
    }
    memcpy(card->block, message->bytes + TAKEOVER_NAME_LEN, card->len);
    card->fds = message->fds;
    message->fds = (struct fd_list){0};
    takeover->card_count++;
    return 0;
}

/* 1: that was the last one. */
static int receive_card(struct takeover *takeover, size_t room, struct error *err)
{
    struct takeover_message message;
    int result = takeover_receive(takeover->fd, &message, deadline());
    char shown[ERROR_TEXT_LEN];

    if (result < 0)
        return error_set(err, -result, "the old daemon broke off (%s)", strerror(-result));
    if (message.type == TAKEOVER_REFUSED)
        takeover_sentence(&message, shown);
    if (message.type == TAKEOVER_END)
        result = 1;
    else if (message.type == TAKEOVER_REFUSED)
        result = error_set(err, ECONNABORTED, "the old daemon refuses: %s", shown);
    else if (message.type != TAKEOVER_CARD || takeover->card_count == room)
        result = error_set(err, EPROTO, "the old daemon spoke out of turn");
    else
        result = card_read(takeover, &message, err);
    takeover_message_clear(&message);
    return result;
}

int takeover_ask(struct takeover *takeover, const struct config *config, struct error *err)
{
    int result = send_names(takeover, config, err);

    if (result == 0)
        result = takeover_expect(takeover->fd, TAKEOVER_DAEMON, deadline(), &takeover->daemon, err);
    if (result == 0)
        result = daemon_read(takeover, err);
    if (result < 0)
        return result;
    takeover->cards = calloc(config->nic_count, sizeof(*takeover->cards));
    if (takeover->cards == NULL)
        return error_set(err, ENOMEM, "out of memory");
    while (result == 0)
        result = receive_card(takeover, config->nic_count, err);
    return MIN(result, 0);
}

struct handover_card *takeover_card(struct takeover *takeover, const char *name)
{
    for (unsigned i = 0; i < takeover->card_count; i++) {
        if (strcmp(takeover->cards[i].name, name) == 0)
            return &takeover->cards[i];
    }
    return NULL;
}

void takeover_uplinks(const struct takeover *takeover, struct record_reader *ret_reader)
{
    struct records records;

    *ret_reader = (struct record_reader){0};
    if (records_parse_long(&records, takeover->daemon.bytes, takeover->daemon.len,
                           TAKEOVER_TAGS_KNOWN, NULL) == 0)
        records_find(&records, TAKEOVER_UPLINKS, ret_reader);
}

/* ---- the end ------------------------------------------------------------------------------ */

static int await_go(struct takeover *takeover, struct error *err)
{
    struct takeover_message message;
    int result = takeover_say(takeover->fd, TAKEOVER_READY, deadline());

    if (result < 0)
        return error_set(err, -result, "the old daemon broke off (%s)", strerror(-result));
    result = takeover_expect(takeover->fd, TAKEOVER_GO, deadline(), &message, err);
    if (result == 0)
        takeover_message_clear(&message);
    return result;
}

static int not_waited_for(int result, struct error *err)
{
    return error_set(err, -result, "the old daemon has not waited and goes on itself (%s)",
                     strerror(-result));
}

/* The old daemon said GO, or it does not answer any more (result and err), which need not be
 * waited for: it has not taken the token. */
static int take_with_token(struct takeover *takeover, int result, struct error *err)
{
    if (!takeover_token_take(takeover->token_fd))
        return result < 0 ? result : not_waited_for(-ETIMEDOUT, err);
    if (result < 0)
        log_warning("of the old daemon nothing is heard any more: %s; its cards go on here",
                    err->text);
    takeover_say(takeover->fd, TAKEOVER_TAKEN, deadline());
    return 0;
}

int takeover_ready(struct takeover *takeover, struct error *err)
{
    int result = await_go(takeover, err);

    if (takeover->token_fd >= 0)
        return take_with_token(takeover, result, err);
    if (result < 0 || !takeover->is_waited_for)
        return result;
    result = takeover_say(takeover->fd, TAKEOVER_TAKEN, deadline());
    return result < 0 ? not_waited_for(result, err) : 0;
}

void takeover_runs(struct takeover *takeover)
{
    takeover_say(takeover->fd, TAKEOVER_RUNS, deadline());
}

void takeover_fail(struct takeover *takeover, const char *sentence)
{
    if (takeover->fd >= 0)
        takeover_refuse(takeover->fd, sentence);
}

void takeover_close(struct takeover *takeover)
{
    for (unsigned i = 0; i < takeover->card_count; i++) {
        free(takeover->cards[i].name);
        free(takeover->cards[i].block);
        fd_list_close(&takeover->cards[i].fds);
    }
    free(takeover->cards);
    json_decref(takeover->there);
    json_decref(takeover->uplinks);
    takeover_message_clear(&takeover->daemon);
    if (takeover->control.listen_fd > 0)
        fd_close(&takeover->control.listen_fd);
    fd_close(&takeover->token_fd);
    fd_close(&takeover->fd);
    *takeover = (struct takeover){.fd = -1, .token_fd = -1};
}
