/* SPDX-License-Identifier: MIT */
/* The control queue's framing: what is said of all commands, whatever they are. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"
#include "clockwork.h"
#include "control_bed.h"

enum {
    PAYLOAD_MAX = 0x10000,
    EXTRA = 8,
    REWRITTEN_PASSES = 20, /* over all commands, at least */
};

static struct control_message message_of(const struct control_sample *sample)
{
    return (struct control_message){
        .bytes = sample->bytes, .len = sample->len, .room = sample->room};
}

/* Every command, its bytes cut in every way, in every kind of chain and both formats of ring. */
static void NET_CTL_01_framing_means_nothing(void **state)
{
    static const uint32_t rings[] = {0, VIRTQUEUE_EVENT_IDX, VIRTQUEUE_PACKED};
    struct control_bed *bed = *state;

    for (unsigned ring = 0; ring < 3; ring++) {
        control_bed_start(bed, CONTROL_F_ALL, rings[ring]);
        for (unsigned n = 0; n < control_sample_count * 2 * CONTROL_CUT_COUNT; n++) {
            const struct control_sample *sample = &control_samples[n % control_sample_count];
            struct control_message message = message_of(sample);
            unsigned variant = n / control_sample_count;
            struct control_reply reply;

            bed->driver.cut = variant / 2;
            bed->driver.shape = variant % 2 == 0 ? CHAIN_DIRECT : CHAIN_INDIRECT;
            reply = control_bed_send(bed, &message);
            check(reply.used_len == sample->room, "%s, cut %u: %u bytes used", sample->name,
                  variant / 2, reply.used_len);
            check(reply.written[sample->ack_at] == CONTROL_ACK_OK, "%s, cut %u: refused",
                  sample->name, variant / 2);
        }
    }
}

/* One byte less than a command needs is refused and changes nothing; more is ignored. */
static void NET_CTL_06_every_length_of_every_command(void **state)
{
    struct control_bed *bed = *state;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    for (unsigned n = 0; n < control_sample_count; n++) {
        const struct control_sample *sample = &control_samples[n];
        struct control_message message = message_of(sample);
        uint8_t bytes[CONTROL_SAMPLE_MAX + EXTRA] = {0};

        memcpy(bytes, sample->bytes, sample->len);
        message.bytes = bytes;
        for (message.len = 0; message.len <= sample->len + EXTRA; message.len++) {
            struct nic before = control_bed_state(bed);
            struct control_reply reply = control_bed_send(bed, &message);
            unsigned ack_at = message.len < CONTROL_SAMPLE_HEADER ? 0 : sample->ack_at;
            int good = message.len >= sample->len;

            check(reply.written[ack_at] == !good, "%s of %u bytes: ack %u", sample->name,
                  message.len, reply.written[ack_at]);
            if (good)
                continue;
            control_bed_expect_unchanged(bed, &before, sample->name);
            check(reply.used_len == ack_at + 1, "%s of %u bytes: %u bytes used", sample->name,
                  message.len, reply.used_len);
        }
    }
}

static void NET_CTL_06_every_command_without_its_feature(void **state)
{
    struct control_bed *bed = *state;

    for (unsigned n = 0; n < control_sample_count; n++) {
        const struct control_sample *sample = &control_samples[n];
        uint64_t without = sample->any;
        struct control_message message = message_of(sample);
        struct control_reply reply;
        struct nic before;

        if (without & CONTROL_F_HASH_REPORT) /* … which the hash of tunnels may rest on */
            without |= CONTROL_F_HASH_TUNNEL;
        control_bed_start(bed, CONTROL_F_ALL & ~without, 0);
        before = control_bed_state(bed);
        reply = control_bed_send(bed, &message);
        check(reply.written[0] == CONTROL_ACK_ERR, "%s passes without its feature", sample->name);
        assert_int_equal(reply.used_len, 1);
        control_bed_expect_unchanged(bed, &before, sample->name);
        assert_int_equal(bed->applied, 0);
    }
}

static int is_command(const uint8_t header[2])
{
    for (unsigned n = 0; n < control_sample_count; n++) {
        if (memcmp(control_samples[n].bytes, header, 2) == 0)
            return 1;
    }
    return 0;
}

/* All 65536; X-17: RSS contexts are unknown too. */
static void NET_CTL_06_CTL_CTX_01_commands_that_do_not_exist(void **state)
{
    struct control_bed *bed = *state;
    struct nic before;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    before = control_bed_state(bed);
    for (unsigned header = 0; header < 0x10000; header++) {
        uint8_t bytes[64] = {(uint8_t)(header >> 8), (uint8_t)header, 1};

        if (!is_command(bytes))
            check(control_bed_ask(bed, bytes, sizeof(bytes)) == CONTROL_ACK_ERR,
                  "class %u command %u is known", header >> 8, header & 0xff);
    }
    control_bed_expect_unchanged(bed, &before, "an unknown command");
}

static void NET_CTL_05_no_room_to_answer_means_no_effect(void **state)
{
    struct control_bed *bed = *state;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    for (unsigned n = 0; n < control_sample_count; n++) {
        struct control_message message = message_of(&control_samples[n]);
        struct nic before = control_bed_state(bed);

        message.room = 0;
        assert_int_equal(control_bed_send(bed, &message).used_len, 0);
        control_bed_expect_unchanged(bed, &before, control_samples[n].name);
    }
    assert_int_equal(bed->applied, 0);
    assert_int_equal(counter_get(&bed->control.malformed), control_sample_count);
}

/* 64 KiB behind class and command are taken; more are not even copied. */
static void NET_CTL_08_longest_message(void **state)
{
    struct control_bed *bed = *state;
    uint8_t *bytes = calloc(1, PAYLOAD_MAX + 4096);

    control_bed_start(bed, CONTROL_F_ALL, 0);
    memcpy(bytes, (uint8_t[]){0, 0, 1}, 3);
    for (enum control_cut cut = 0; cut < CONTROL_CUT_COUNT; cut++) {
        bed->driver.cut = cut;
        assert_int_equal(control_bed_ask(bed, bytes, 2 + PAYLOAD_MAX), CONTROL_ACK_OK);
        assert_int_equal(control_bed_ask(bed, bytes, 2 + PAYLOAD_MAX + 1), CONTROL_ACK_ERR);
        assert_int_equal(control_bed_ask(bed, bytes, 2 + PAYLOAD_MAX + 4000), CONTROL_ACK_ERR);
    }
    free(bytes);
}

/* the payload comes first, the ack right behind it; without room for both it is refused in
 * the last byte. Nothing is written behind the ack, and nothing but zeros in front of a refusal. */
static void NET_CTL_02_result_in_front_of_the_ack(void **state)
{
    struct control_bed *bed = *state;
    struct control_message message = message_of(control_bed_sample("coalesce get"));

    control_bed_start(bed, CONTROL_F_ALL, 0);
    bed->nic.coalesce[1] =
        (struct nic_coalesce){.max_packets = 0x01020304, .max_usecs = 0xa0b0c0d0};
    for (message.room = 1; message.room < 20; message.room++) {
        for (enum control_cut cut = 0; cut < CONTROL_CUT_COUNT; cut++) {
            uint32_t len = message.room < 9 ? message.room : 9;
            struct control_reply reply;

            bed->driver.cut = cut;
            reply = control_bed_send(bed, &message);
            assert_int_equal(reply.used_len, len);
            assert_int_equal(reply.written[len - 1], len < 9 ? CONTROL_ACK_ERR : CONTROL_ACK_OK);
            for (uint32_t i = 0; i < message.room; i++)
                assert_int_equal(reply.written[i],
                                 i < len - 1 ? (len < 9 ? 0 : "\4\3\2\1\xd0\xc0\xb0\xa0"[i] & 0xff)
                                 : i > len - 1 ? CONTROL_UNWRITTEN
                                               : reply.written[i]);
        }
    }
}

/* Statistics are cut where the room ends, the ack stays first. */
static void NET_CTL_02_result_behind_the_ack(void **state)
{
    struct control_bed *bed = *state;
    struct control_message message = message_of(control_bed_sample("stats get"));

    control_bed_start(bed, CONTROL_F_ALL, 0);
    counter_add(&bed->pairs[0].stats.rx_packets, 0x1122);
    for (message.room = 1; message.room < 70; message.room++) {
        uint32_t len = message.room < 57 ? message.room : 57;
        struct control_reply reply = control_bed_send(bed, &message);

        assert_int_equal(reply.used_len, len);
        assert_int_equal(reply.written[0], CONTROL_ACK_OK);
        if (message.room >= 1 + 8 + 16)
            assert_int_equal(control_reply_get64(&reply, 1 + 8 + 8), 0x1122);
        for (uint32_t i = len; i < message.room; i++)
            assert_int_equal(reply.written[i], CONTROL_UNWRITTEN);
    }
}

/* What was commanded holds before the driver can see that it was answered. */
static void NET_CTL_03_answers_are_shown_when_the_change_is_made(void **state)
{
    struct control_bed *bed = *state;
    struct control_message message = message_of(control_bed_sample("promisc"));

    control_bed_start(bed, CONTROL_F_ALL, 0);
    for (unsigned i = 0; i < 20; i++)
        control_driver_queue(&bed->driver, &message);
    bed->driver.ring->ops->publish(bed->driver.ring);
    assert_int_equal(nic_control_serve(&bed->control), 20);
    assert_int_equal(bed->applied, 1); /* once for all of them */
    assert_int_equal(bed->seen_used, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(control_driver_take(&bed->driver).written[0], CONTROL_ACK_OK);
}

/* Questions and refusals do not disturb the data plane. */
static void NET_CTL_03_nothing_is_applied_for_a_question(void **state)
{
    static const char *const questions[] = {"coalesce get", "stats query", "stats get"};
    struct control_bed *bed = *state;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct control_message message = message_of(control_bed_sample(questions[i]));
        struct nic before = control_bed_state(bed);

        control_bed_send(bed, &message);
        control_bed_expect_unchanged(bed, &before, questions[i]);
    }
    assert_int_equal(control_bed_ask(bed, (uint8_t[]){4, 0, 9, 0}, 4), CONTROL_ACK_ERR);
    assert_int_equal(bed->applied, 0);
}

static void GEN_RST_03_GEN_RST_04_reset_forgets_all_commands(void **state)
{
    struct control_bed *bed = *state;
    struct nic fresh;

    control_bed_start(bed, CONTROL_F_ALL, 0);
    fresh = control_bed_state(bed);
    fresh.agreed = (struct features){0};
    for (unsigned n = 0; n < control_sample_count; n++) {
        struct control_message message = message_of(&control_samples[n]);

        control_bed_send(bed, &message);
    }
    assert_int_equal(bed->nic.active_pairs, CONTROL_SAMPLE_PAIRS);
    nic_reset(&bed->nic);
    fresh.config_changed = bed->nic.config_changed; /* the address is the old one again */
    fresh.generation = bed->nic.generation;
    control_bed_expect_unchanged(bed, &fresh, "a command before the reset");
}

/* ---- a driver that changes its mind ------------------------------------------------------------
 */

/* Writes over the data of the message that is asked, without a rest and by a mapping of its own. */
struct rewriter {
    pthread_t thread;
    volatile uint8_t *bytes; /* borrowed */
    _Atomic int ending;
};

static void *rewrite(void *context)
{
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0xff};
    struct rewriter *rewriter = context;
    uint32_t turn = 0;

    while (!atomic_load(&rewriter->ending)) {
        for (uint32_t i = 2; i < CONTROL_SAMPLE_MAX; i++, turn = turn * 5 + 1)
            rewriter->bytes[i] = values[(turn >> 8) % sizeof(values)];
    }
    return NULL;
}

/* Every command while its data change: it is answered, one way or the other, and nothing is read
 * twice and believed the second time, which the sanitizer would see. */
static void C05_commands_rewritten_while_they_are_read(void **state)
{
    struct control_bed *bed = *state;
    struct guest_ram_region *data = &bed->format.ram.region[FORMAT_BED_DATA];
    uint64_t end = now_ms() + WAIT_LONG_MS;
    struct rewriter rewriter = {.ending = 0};
    unsigned answers[2] = {0, 0};
    uint8_t *map =
        mmap(NULL, data->size, PROT_READ | PROT_WRITE, MAP_SHARED, data->fd, (off_t)data->offset);

    assert_true(map != MAP_FAILED);
    control_bed_start(bed, CONTROL_F_ALL, 0);
    rewriter.bytes = map + (bed->driver.area_gpa - data->gpa);
    assert_int_equal(pthread_create(&rewriter.thread, NULL, rewrite, &rewriter), 0);
    for (unsigned pass = 0;
         pass < REWRITTEN_PASSES || (answers[CONTROL_ACK_ERR] == 0 && now_ms() < end); pass++) {
        for (unsigned n = 0; n < control_sample_count; n++) {
            struct control_message message = message_of(&control_samples[n]);
            unsigned ack;

            message.len = CONTROL_SAMPLE_MAX; /* more than it needs is ignored */
            ack = control_bed_send(bed, &message).written[control_samples[n].ack_at];
            check(ack <= CONTROL_ACK_ERR, "%s: the answer is %u", control_samples[n].name, ack);
            answers[ack]++;
        }
    }
    atomic_store(&rewriter.ending, 1);
    pthread_join(rewriter.thread, NULL);
    munmap(map, data->size);
    assert_true(answers[CONTROL_ACK_OK] > 0 && answers[CONTROL_ACK_ERR] > 0);
    assert_int_equal(control_bed_ask(bed, (uint8_t[]){0, 0, 1}, 3), CONTROL_ACK_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROL_BED_TEST(C05_commands_rewritten_while_they_are_read),
        CONTROL_BED_TEST(NET_CTL_01_framing_means_nothing),
        CONTROL_BED_TEST(NET_CTL_02_result_in_front_of_the_ack),
        CONTROL_BED_TEST(NET_CTL_02_result_behind_the_ack),
        CONTROL_BED_TEST(NET_CTL_03_answers_are_shown_when_the_change_is_made),
        CONTROL_BED_TEST(NET_CTL_03_nothing_is_applied_for_a_question),
        CONTROL_BED_TEST(NET_CTL_05_no_room_to_answer_means_no_effect),
        CONTROL_BED_TEST(NET_CTL_06_every_length_of_every_command),
        CONTROL_BED_TEST(NET_CTL_06_every_command_without_its_feature),
        CONTROL_BED_TEST(NET_CTL_06_CTL_CTX_01_commands_that_do_not_exist),
        CONTROL_BED_TEST(NET_CTL_08_longest_message),
        CONTROL_BED_TEST(GEN_RST_03_GEN_RST_04_reset_forgets_all_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
