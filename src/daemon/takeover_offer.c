/* SPDX-License-Identifier: MIT */
#include "daemon/takeover_offer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/handover.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/records.h"
#include "daemon/service.h"
#include "daemon/takeover_wire.h"

enum {
    ASK_SECONDS = 60,  /* for the new daemon to open what is new */
    STILL_SECONDS = 5, /* that the workers may stand still */
    TAKEN_SECONDS = 5, /* from GO on, which needs no work */
    RUNS_SECONDS = 10,
};

/* One conversation. */
struct talk {
    struct takeover_offer *offer; /* borrowed */
    int fd;                       /* borrowed */
    int token_fd;                 /* owned; -1: nothing was given yet */
    uint64_t still_ns;            /* since when the workers stand still */
    uint64_t deadline_ns;
    int may_go;                /* GO was said */
    int runs;                  /* it said so already */
    struct vionic_nic **given; /* owned array of borrowed cards */
    unsigned given_count;
    struct error *err; /* borrowed */
};

/* ---- what is handed over ------------------------------------------------------------------ */

static int failed_to_send(struct talk *talk, int code)
{
    return error_set(talk->err, -code, "the new daemon can't be told (%s)", strerror(-code));
}

static int send_daemon(struct talk *talk)
{
    struct takeover_message message = {.type = TAKEOVER_DAEMON};
    struct control_socket socket;
    struct records_writer writer;
    int result;

    talk->token_fd = takeover_token_create();
    if (talk->token_fd < 0)
        return error_set(talk->err, errno, "no eventfd for the token (%s)", strerror(errno));
    control_give(talk->offer->control, &socket);
    records_begin_long(&writer);
    records_open(&writer, TAKEOVER_CONTROL, RECORD_MANDATORY);
    records_put_u16(&writer, fd_list_add(&message.fds, socket.listen_fd));
    records_put_u64(&writer, socket.device);
    records_put_u64(&writer, socket.inode);
    records_close(&writer);
    records_open(&writer, TAKEOVER_WATCHDOG, RECORD_OPTIONAL);
    records_put_u64(&writer, talk->offer->watchdog_us);
    records_close(&writer);
    records_open(&writer, TAKEOVER_STILL, RECORD_OPTIONAL);
    records_put_u64(&writer, talk->still_ns);
    records_close(&writer);
    records_open(&writer, TAKEOVER_UPLINKS, RECORD_OPTIONAL);
    handover_give_uplinks(talk->offer->vionic, &writer, &message.fds);
    records_close(&writer);
    records_open(&writer, TAKEOVER_WAITS, RECORD_OPTIONAL);
    records_close(&writer);
    records_open(&writer, TAKEOVER_TOKEN, RECORD_OPTIONAL);
    records_put_u16(&writer, fd_list_add(&message.fds, talk->token_fd));
    records_close(&writer);
    result = records_end(&writer, &message.bytes, &message.len);
    if (result == 0 && message.fds.failed)
        result = -ENOMEM;
    if (result == 0)
        result = takeover_send(talk->fd, &message, talk->deadline_ns);
    free(message.bytes);
    fd_list_free(&message.fds);
    return result < 0 ? failed_to_send(talk, result) : 0;
}

/* The name, and its records behind it. */
static int send_card(struct talk *talk, const struct handover_card *card)
{
    struct takeover_message message = {
        .type = TAKEOVER_CARD, .len = TAKEOVER_NAME_LEN + card->len, .fds = card->fds};
    int result;

    message.bytes = calloc(1, message.len);
    if (message.bytes == NULL)
        return error_set(talk->err, ENOMEM, "out of memory");
    memcpy(message.bytes, card->name, strnlen(card->name, TAKEOVER_NAME_LEN - 1));
    memcpy(message.bytes + TAKEOVER_NAME_LEN, card->block, card->len);
    result = takeover_send(talk->fd, &message, talk->deadline_ns);
    free(message.bytes);
    return result < 0 ? failed_to_send(talk, result) : 0;
}

static int give_card(struct talk *talk, const char *name)
{
    struct vionic_nic *nic = vionic_find_nic(talk->offer->vionic, name);
    struct handover_card card;
    int result;

    if (nic == NULL)
        return error_set(talk->err, ENOENT, "there is no NIC called %s any more", name);
    talk->given[talk->given_count++] = nic;
    result = handover_give(nic, &card, talk->err);
    if (result < 0)
        return result;
    result = send_card(talk, &card);
    handover_free_given(&card);
    return result;
}

/* The list of ASK, checked: names that end, none of them twice. */
static int names_check(const struct takeover_message *ask, struct error *err)
{
    size_t count = ask->len / TAKEOVER_NAME_LEN;

    if (ask->len % TAKEOVER_NAME_LEN != 0 || count > TAKEOVER_CARDS_MAX)
        return error_set(err, EPROTO, "the new daemon's list of cards is malformed");
    for (size_t i = 0; i < count; i++) {
        const char *name = (const char *)ask->bytes + i * TAKEOVER_NAME_LEN;

        if (memchr(name, '\0', TAKEOVER_NAME_LEN) == NULL)
            return error_set(err, EPROTO, "the new daemon's list of cards is malformed");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(name, (const char *)ask->bytes + j * TAKEOVER_NAME_LEN) == 0)
                return error_set(err, EPROTO, "the new daemon wants a card twice");
        }
    }
    return 0;
}

static int give_all(struct talk *talk, const struct takeover_message *ask)
{
    size_t count = ask->len / TAKEOVER_NAME_LEN;
    int result = send_daemon(talk);

    talk->given = calloc(MAX(count, (size_t)1), sizeof(struct vionic_nic *));
    if (talk->given == NULL)
        return error_set(talk->err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count && result == 0; i++)
        result = give_card(talk, (const char *)ask->bytes + i * TAKEOVER_NAME_LEN);
    if (result < 0)
        return result;
    result = takeover_say(talk->fd, TAKEOVER_END, talk->deadline_ns);
    return result < 0 ? failed_to_send(talk, result) : 0;
}

/* ---- the conversation --------------------------------------------------------------------- */

static uint64_t in_seconds(unsigned seconds)
{
    return clock_now_ns() + seconds * CLOCK_SECOND_NS;
}

static void go_on(struct talk *talk)
{
    for (unsigned i = 0; i < talk->given_count; i++)
        handover_keep(talk->given[i]);
    handover_release(talk->offer->vionic);
}

/* 0: they were taken. RUNS alone is what older builds say. A READY that came late stands before
 * it. */
static int hear_taken(struct talk *talk, unsigned seconds)
{
    uint64_t deadline_ns = in_seconds(seconds);
    struct takeover_message message;
    enum takeover_type type;

    do {
        int result = takeover_receive(talk->fd, &message, deadline_ns);

        if (result < 0)
            return error_set(talk->err, -result, "it did not take the cards (%s)",
                             strerror(-result));
        type = message.type;
        takeover_message_clear(&message);
    } while (type == TAKEOVER_READY);
    talk->runs = type == TAKEOVER_RUNS;
    if (type == TAKEOVER_TAKEN || type == TAKEOVER_RUNS)
        return 0;
    return error_set(talk->err, ECONNABORTED, "it could not take the cards after all");
}

/* The service manager hears from us at each step, since nothing else runs meanwhile. */
static void still_alive(void)
{
    service_notify("WATCHDOG=1");
}

static int see_it_take(struct talk *talk)
{
    int result = takeover_say(talk->fd, TAKEOVER_GO, talk->deadline_ns);

    still_alive();
    if (result < 0)
        return failed_to_send(talk, result);
    talk->may_go = 1;
    return hear_taken(talk, TAKEN_SECONDS);
}

/* 0: the new daemon has them, whatever was heard of it. From here on it can't take them. */
static int take_back(struct talk *talk)
{
    if (talk->token_fd >= 0 && !takeover_token_take(talk->token_fd)) {
        hear_taken(talk, TAKEN_SECONDS); /* it may be late, or behind a READY that was */
        return 0;
    }
    if (!talk->may_go)
        return 1;
    shutdown(talk->fd, SHUT_RD); /* for a new daemon that knows no token */
    return hear_taken(talk, TAKEN_SECONDS) < 0;
}

/* Up to and with TAKEN. */
static int hand_over(struct talk *talk)
{
    struct takeover_message message = {0};
    int result =
        takeover_expect(talk->fd, TAKEOVER_ASK, in_seconds(STILL_SECONDS), &message, talk->err);

    if (result == 0)
        result = names_check(&message, talk->err);
    if (result < 0) {
        takeover_message_clear(&message);
        return result;
    }
    still_alive();
    handover_hold(talk->offer->vionic);
    talk->still_ns = clock_now_ns();
    talk->deadline_ns = in_seconds(STILL_SECONDS);
    result = give_all(talk, &message);
    takeover_message_clear(&message);
    if (result == 0)
        result = takeover_expect(talk->fd, TAKEOVER_READY, talk->deadline_ns, &message, talk->err);
    if (result < 0)
        return result;
    takeover_message_clear(&message);
    return see_it_take(talk);
}

/* The cards are the new daemon's, and nothing brings them back. */
static void see_it_run(struct talk *talk)
{
    struct takeover_message message;
    enum takeover_outcome outcome = TAKEOVER_OVER;

    still_alive();
    if (talk->runs) {
        log_info("another daemon has taken over");
    } else if (takeover_expect(talk->fd, TAKEOVER_RUNS, in_seconds(RUNS_SECONDS), &message,
                               talk->err) < 0) {
        log_error("the cards were handed over, and then: %s", talk->err->text);
        outcome = TAKEOVER_LOST;
    } else {
        takeover_message_clear(&message);
        log_info("another daemon has taken over");
    }
    talk->offer->ended(talk->offer, outcome);
}

static void forget_client(struct takeover_offer *offer)
{
    if (offer->source.fd < 0)
        return;
    loop_timer_stop(offer->loop, &offer->patience);
    loop_remove(offer->loop, &offer->source);
    fd_close(&offer->source.fd);
}

static void offer_ready(struct loop_source *source, uint32_t events)
{
    struct takeover_offer *offer = CONTAINER_OF(source, struct takeover_offer, source);
    struct error err = {{0}};
    struct talk talk = {.offer = offer, .fd = source->fd, .token_fd = -1, .err = &err};

    (void)events;
    if (hand_over(&talk) == 0 || !take_back(&talk)) {
        see_it_run(&talk);
    } else {
        go_on(&talk);
        takeover_refuse(talk.fd, err.text);
        log_warning("another daemon wanted to take over and did not: %s; going on", err.text);
    }
    free(talk.given);
    fd_close(&talk.token_fd);
    forget_client(offer);
}

static void offer_ends(struct loop_timer *timer)
{
    forget_client(CONTAINER_OF(timer, struct takeover_offer, patience));
}

void takeover_offer_init(struct takeover_offer *offer)
{
    offer->source = (struct loop_source){.fd = -1, .ready = offer_ready};
    offer->patience.fire = offer_ends;
}

void takeover_offer_to(struct takeover_offer *offer, int fd)
{
    if (offer->source.fd >= 0) {
        takeover_refuse(fd, "yet another daemon is about to take over");
        fd_close(&fd);
        return;
    }
    offer->source.fd = fd;
    if (loop_add(offer->loop, &offer->source, EPOLLIN) < 0) {
        fd_close(&offer->source.fd);
        return;
    }
    loop_timer_start(offer->loop, &offer->patience, ASK_SECONDS * CLOCK_SECOND_NS);
}

void takeover_offer_close(struct takeover_offer *offer)
{
    forget_client(offer);
}
