/* SPDX-License-Identifier: MIT */
/*
 * The daemon is killed while the driver commands by the control queue, and in the midst of commands
 * another one takes over: each message comes back once, in its turn, with an ack that is true.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "testbed.h"

enum {
    KILLS = 12,
    TAKEOVERS = 8,
    COMMANDS = 12, /* at once */
    CLASS_RX = 0,
    CLASS_VLAN = 2,
    VLANS = 4096,
};

#define CONTROL_RX   (1ull << 18)
#define CONTROL_VLAN (1ull << 19)
#define MODERN       (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

struct commands {
    struct control_driver driver;
    uint32_t seed;
    uint64_t answered;
};

static struct testbed *begin(void **state, uint64_t format, struct commands *ret_commands)
{
    const struct testbed_options options = {.features = MODERN | format | CONTROL_RX | CONTROL_VLAN,
                                            .control = 1,
                                            .queue_size = 256,
                                            .start = front_end_start_crosvm};
    struct testbed *bed = testbed_start(state, &options);

    *ret_commands = (struct commands){.seed = 1};
    control_driver_init(&ret_commands->driver, bed->nic[VICTIM].ring[2], 0);
    return bed;
}

static uint32_t random_word(struct commands *commands)
{
    commands->seed = commands->seed * 1664525 + 1013904223;
    return commands->seed >> 8;
}

/* One of three is no command at all: its ack says so. */
static void queue_one(struct commands *commands, unsigned number)
{
    uint16_t vlan = (uint16_t)(random_word(commands) % VLANS);
    uint8_t message[4] = {CLASS_VLAN, 0, (uint8_t)vlan, (uint8_t)(vlan >> 8)};

    if (number % 3 == 1)
        message[0] = 0x77;
    commands->driver.cut = (enum control_cut)(random_word(commands) % CONTROL_CUT_COUNT);
    control_driver_queue(&commands->driver,
                         &(struct control_message){.bytes = message, .len = 4, .room = 1});
}

static void queue_some(struct commands *commands)
{
    for (unsigned i = 0; i < COMMANDS; i++)
        queue_one(commands, i);
    driver_ring_flush(commands->driver.ring);
}

static void take_all(struct commands *commands)
{
    for (unsigned i = 0; i < COMMANDS; i++) {
        struct control_reply reply = control_driver_take(&commands->driver);

        assert_int_equal(reply.used_len, 1);
        assert_int_equal(reply.written[0], i % 3 == 1 ? CONTROL_ACK_ERR : CONTROL_ACK_OK);
        commands->answered++;
    }
}

/* A new session over the rings as they are. */
static void connect_again(struct testbed_nic *nic)
{
    front_end_close(&nic->fe);
    front_end_connect(&nic->fe, nic->socket);
    nic->options.start(&nic->fe, &nic->setup);
}

static void killed_while_it_commands(void **state, uint64_t format)
{
    struct commands commands;
    struct testbed *bed = begin(state, format, &commands);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    nic->setup.base = BASE_FIRST; /* where they stand is the rings' to say */
    for (unsigned i = 0; i < KILLS; i++) {
        queue_some(&commands);
        for (uint64_t end = now_ms() + random_word(&commands) % 3; now_ms() < end;)
            continue;
        daemon_kill(&bed->daemon);
        daemon_start(&bed->daemon);
        connect_again(nic);
        take_all(&commands);
        assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/refused"), 0);
    }
    print_message("%d kills, %llu commands\n", KILLS, (unsigned long long)commands.answered);
    testbed_exchange(nic, 0, 300);
    connect_again(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

static void split_ring_killed_while_it_commands(void **state)
{
    killed_while_it_commands(state, 0);
}

static void packed_ring_killed_while_it_commands(void **state)
{
    killed_while_it_commands(state, VIRTIO_F_RING_PACKED);
}

static void taken_over_while_it_commands(void **state)
{
    struct commands commands;
    struct testbed *bed = begin(state, VIRTIO_F_RING_PACKED, &commands);

    for (unsigned i = 0; i < TAKEOVERS; i++) {
        pid_t next;

        queue_some(&commands);
        next = daemon_start_takeover(&bed->daemon, getenv("VIONIC"));
        for (uint64_t end = now_ms() + 5 + random_word(&commands) % 40; now_ms() < end;) {
            take_all(&commands);
            queue_some(&commands);
        }
        daemon_see_takeover(&bed->daemon, next);
        take_all(&commands);
    }
    print_message("%d takeovers, %llu commands\n", TAKEOVERS,
                  (unsigned long long)commands.answered);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(split_ring_killed_while_it_commands),
        TESTBED_TEST(packed_ring_killed_while_it_commands),
        TESTBED_TEST(taken_over_while_it_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
