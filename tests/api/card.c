/* SPDX-License-Identifier: MIT */
#include "card.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

enum {
    RAM_GPA = 0x100000,
    RAM_LEN = 16 << 20,
    RING_SIZE = 64,
    BUFFER_LEN = 2048,
};

static const uint8_t card_mac[6] = {0x52, 0x54, 0, 0, 0, 9};

/* ---- the library's thread --------------------------------------------------------------- */

static void *thread_main(void *argument)
{
    struct card *card = argument;
    struct pollfd fd[2] = {{.fd = vionic_fd(card->vionic), .events = POLLIN},
                           {.fd = card->stop_fd, .events = POLLIN}};

    for (;;) {
        poll(fd, 2, -1);
        if (fd[1].revents != 0)
            return NULL;
        vionic_dispatch(card->vionic, 0);
    }
}

void card_release(struct card *card)
{
    card->running = pthread_create(&card->thread, NULL, thread_main, card) == 0;
    check(card->running, "no thread");
}

void card_hold(struct card *card)
{
    eventfd_t count;

    eventfd_write(card->stop_fd, 1);
    pthread_join(card->thread, NULL);
    eventfd_read(card->stop_fd, &count);
    card->running = 0;
}

/* ---- life ------------------------------------------------------------------------------- */

void card_open(struct card *card, enum vionic_threads threads, struct vionic_nic_config *config)
{
    struct vionic_config library = {.size = sizeof(library), .threads = threads};
    struct vionic_error err;

    memset(card, 0, sizeof(*card));
    front_end_init(&card->fe);
    card->stop_fd = eventfd(0, EFD_CLOEXEC);
    snprintf(card->path, sizeof(card->path), "/tmp/vionic-card-%d", (int)getpid());
    config->size = sizeof(*config);
    config->socket_path = card->path;
    memcpy(config->mac, card_mac, 6);
    check(vionic_create(&library, &card->vionic, &err) == 0, "%s", err.text);
    check(vionic_add_nic(card->vionic, config, &card->nic, &err) == 0, "%s", err.text);
    card_release(card);
}

void card_plug(struct card *card)
{
    const struct driver_split_options options = {.size = RING_SIZE};
    const struct net_options net = {.header_len = NET_HEADER_MODERN, .rx_buffer_len = BUFFER_LEN};
    struct front_end_setup setup = {
        .ram = &card->ram,
        .vring = card->ring,
        .vring_count = 2,
        .features =
            VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VHOST_F_PROTOCOL_FEATURES | 1 | 1 << 16,
        .pf = VU_PF_REPLY_ACK | VU_PF_MQ,
    };

    guest_ram_init(&card->ram);
    guest_ram_add(&card->ram, RAM_GPA, RAM_LEN, 0);
    for (unsigned i = 0; i < 2; i++) {
        driver_split_init(&card->split[i], &card->ram, &options);
        card->ring[i] = &card->split[i].ring;
    }
    net_driver_init(&card->net, card->ring[0], card->ring[1], &net);
    front_end_connect(&card->fe, card->path);
    front_end_start_qemu(&card->fe, &setup);
    net_driver_post(&card->net, card->net.rx_slots);
}

void card_unplug(struct card *card)
{
    front_end_close(&card->fe);
    for (unsigned i = 0; i < 2; i++)
        driver_split_free(&card->split[i]);
    guest_ram_free(&card->ram);
}

void card_close(struct card *card)
{
    if (card->running)
        card_hold(card);
    vionic_free(card->vionic);
    close(card->stop_fd);
}

/* ---- what tests look at ----------------------------------------------------------------- */

void card_exchange(struct card *card, uint32_t len)
{
    uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];
    int got_len;

    net_frame_make(sent, len, card_mac, ++card->seed);
    net_driver_send(&card->net, sent, len);
    do /* an endpoint that comes anew may give back the card's own announcement */
        got_len = net_driver_receive(&card->net, got, sizeof(got), WAIT_LONG_MS);
    while (got_len >= 14 && got[12] == 0x80 && got[13] == 0x35);
    assert_int_equal(got_len, len);
    assert_memory_equal(got, sent, len);
    net_driver_drain(&card->net);
}

/* A visitor that remembers the value at one path. */
struct finder {
    const char *path;
    char at[256]; /* where the visit stands, "" or "a/b/" */
    char *text;
    size_t text_len;
};

static void find_enter(void *context, const char *name)
{
    struct finder *finder = context;
    size_t used = strlen(finder->at);

    snprintf(finder->at + used, sizeof(finder->at) - used, "%s/", name);
}

static void find_leave(void *context)
{
    struct finder *finder = context;
    char *slash;

    finder->at[strlen(finder->at) - 1] = '\0';
    slash = strrchr(finder->at, '/');
    *(slash == NULL ? finder->at : slash + 1) = '\0';
}

static void find_text(void *context, const char *name, const char *value)
{
    struct finder *finder = context;
    size_t used = strlen(finder->at);

    if (strncmp(finder->path, finder->at, used) == 0 && strcmp(finder->path + used, name) == 0)
        snprintf(finder->text, finder->text_len, "%s", value);
}

static void find_number(void *context, const char *name, uint64_t value, int style)
{
    char text[32];

    (void)style;
    snprintf(text, sizeof(text), "%" PRIu64, value);
    find_text(context, name, text);
}

static void find_flag(void *context, const char *name, int value)
{
    find_text(context, name, value ? "yes" : "no");
}

void card_inspect(struct card *card, const char *path, char *ret_text, size_t text_len)
{
    struct finder finder = {.path = path, .text = ret_text, .text_len = text_len};
    const struct vionic_visitor visitor = {
        sizeof(visitor), &finder, find_enter, find_leave, find_text, find_number, find_flag,
    };

    ret_text[0] = '\0';
    card_hold(card);
    assert_int_equal(vionic_nic_inspect(card->nic, &visitor), 0);
    card_release(card);
}

void card_wait(struct card *card, const char *path, const char *wanted)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    char text[256];

    for (;;) {
        card_inspect(card, path, text, sizeof(text));
        if (strcmp(text, wanted) == 0)
            return;
        check(now_ms() < end, "%s is %s, not %s", path, text, wanted);
        sleep_ms(5);
    }
}
