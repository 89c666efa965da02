/* SPDX-License-Identifier: MIT */
/* The device's own state on its way from one back-end to another (conformance.md VU-DS-01,
 * VU-DS-02), and all that a pipe with a stranger at its other end may bring. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "control_sample.h"
#include "odd_fd.h"
#include "testbed.h"

#define USUAL (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

enum {
    SAVE = 0,
    LOAD = 1,
    CONTROL_RING = 4, /* with two pairs */
    STATE_MAX = 1 << 20,
    CRC_OFFSET = 20,
    VERDICT_MASK = 0xff,
    NO_FD_BACK = 0x100,
};

struct state {
    uint8_t bytes[STATE_MAX];
    size_t len;
};

static struct state state_of_source, scratch;

/* ---- the front-end's side ------------------------------------------------------------------ */

static uint64_t set_state_fd(struct testbed_nic *nic, uint32_t direction, uint32_t phase, int fd)
{
    uint32_t payload[2] = {direction, phase};
    struct vu_message message = vu_message(VU_SET_DEVICE_STATE_FD, payload, sizeof(payload));
    uint64_t answer;

    if (fd >= 0)
        vu_message_add_fd(&message, fd);
    assert_int_equal(front_end_ask(&nic->fe, &message), 0);
    assert_int_equal(message.size, sizeof(answer));
    memcpy(&answer, message.payload, sizeof(answer));
    return answer;
}

/* 0: all went well. */
static uint64_t check_state(struct testbed_nic *nic)
{
    uint64_t answer;

    assert_int_equal(front_end_get_u64(&nic->fe, VU_CHECK_DEVICE_STATE, &answer), 0);
    return answer;
}

static void save(struct testbed_nic *nic, struct state *ret_state)
{
    int ends[2];
    ssize_t got;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(set_state_fd(nic, SAVE, 0, ends[1]), NO_FD_BACK);
    close(ends[1]);
    ret_state->len = 0;
    while ((got = read(ends[0], ret_state->bytes + ret_state->len,
                       sizeof(ret_state->bytes) - ret_state->len)) > 0)
        ret_state->len += (size_t)got;
    close(ends[0]);
    assert_int_equal(check_state(nic), 0);
}

/* Sends so many bytes as state; what the back-end says in the end. */
static uint64_t load(struct testbed_nic *nic, const uint8_t *bytes, size_t len)
{
    size_t done = 0;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(set_state_fd(nic, LOAD, 0, ends[0]), NO_FD_BACK);
    close(ends[0]);
    while (done < len) {
        ssize_t sent = write(ends[1], bytes + done, len - done);

        if (sent < 0)
            break; /* the back-end has seen enough */
        done += (size_t)sent;
    }
    close(ends[1]);
    return check_state(nic);
}

static struct testbed_options options_of_cards(void)
{
    return (struct testbed_options){.nic = "queues=2,endpoint=loopback",
                                    .bystander = "queues=2,endpoint=loopback",
                                    .features = USUAL | CONTROL_F_ALL,
                                    .pairs = 2,
                                    .control = 1,
                                    .start = front_end_start_crosvm};
}

static void stop_all(struct testbed_nic *nic)
{
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_stop_vring(&nic->fe, i);
}

/* A connection on which features of the protocol were agreed on, and nothing else. */
static void connect_bare(struct testbed_nic *nic)
{
    front_end_connect(&nic->fe, nic->socket);
    assert_int_equal(front_end_get_features(&nic->fe), 0);
    assert_int_equal(front_end_get_protocol_features(&nic->fe), 0);
    assert_int_equal(
        front_end_set_protocol_features(&nic->fe, nic->fe.pf_offered & nic->options.pf), 0);
}

/* The victim's driver has given every command; its state is taken, the bystander's is new. */
static struct testbed *start(void **state)
{
    struct testbed_options options = options_of_cards();
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct control_driver driver;

    testbed_connect(nic);
    control_driver_init(&driver, nic->ring[CONTROL_RING], 0);
    for (unsigned i = 0; i < control_sample_count; i++) {
        const struct control_sample *sample = &control_samples[i];

        if (strcmp(sample->name, "vlan del") != 0)
            control_driver_send(
                &driver, &(struct control_message){sample->bytes, sample->len, sample->room});
    }
    return bed;
}

static void finish(struct testbed *bed)
{
    daemon_check_alive(&bed->daemon);
    front_end_close(&bed->nic[VICTIM].fe);
    front_end_close(&bed->nic[BYSTANDER].fe);
    daemon_check_fds(&bed->daemon, bed->fds_at_rest);
    daemon_check_idle(&bed->daemon);
    daemon_stop(&bed->daemon);
}

static void expect_same(struct testbed *bed, const char *what)
{
    char path[2][64];
    char *text[2];

    for (unsigned i = 0; i < 2; i++) {
        json_t *node;

        snprintf(path[i], sizeof(path[i]), "nic%u/%s", i, what);
        node = daemon_inspect(&bed->daemon, path[i]);
        check(node != NULL, "%s is not shown", path[i]);
        text[i] = json_dumps(node, JSON_ENCODE_ANY | JSON_SORT_KEYS);
        json_decref(node);
    }
    check(strcmp(text[0], text[1]) == 0, "%s was %s and is %s", what, text[0], text[1]);
    free(text[0]);
    free(text[1]);
}

static void expect_same_cards(struct testbed *bed)
{
    static const char *const what[] = {"mac_address",     "active_queues", "filter",         "rss",
                                       "rx_offloads_off", "coalescing",    "agreed_features"};

    for (unsigned i = 0; i < sizeof(what) / sizeof(what[0]); i++)
        expect_same(bed, what[i]);
}

/* ---- what travels -------------------------------------------------------------------------- */

/* Everything that commands have set, and what was counted; the driver is asked to announce itself.
 */
static void VU_DS_02_card_arrives_as_it_left(void **state)
{
    struct testbed *bed = start(state);
    struct testbed_nic *from = &bed->nic[VICTIM], *to = &bed->nic[BYSTANDER];
    json_t *announce;

    stop_all(from);
    save(from, &state_of_source);
    connect_bare(to);
    assert_int_equal(load(to, state_of_source.bytes, state_of_source.len), 0);
    to->options.start(&to->fe, &to->setup);
    expect_same_cards(bed);
    announce = daemon_inspect(&bed->daemon, "nic1/announce_pending");
    assert_true(json_is_true(announce));
    json_decref(announce);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/control/commands"), 0);
    finish(bed);
}

static void VU_DS_02_counters_go_with_the_card(void **state)
{
    struct testbed_options options = {.nic = "endpoint=loopback", .bystander = "endpoint=loopback"};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *from = &bed->nic[VICTIM], *to = &bed->nic[BYSTANDER];

    testbed_connect(from);
    for (unsigned i = 0; i < 9; i++)
        testbed_exchange(from, 0, 500);
    stop_all(from);
    save(from, &state_of_source);
    connect_bare(to);
    assert_int_equal(load(to, state_of_source.bytes, state_of_source.len), 0);
    expect_same(bed, "queues/0/tx_packets");
    assert_int_equal(daemon_number(&bed->daemon, "nic1/queues/0/tx_bytes"), 9 * 500);
    to->options.start(&to->fe, &to->setup);
    net_driver_post(&to->net[0], to->net[0].rx_slots);
    testbed_exchange(to, 0, 500);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/queues/0/tx_packets"), 10);
    finish(bed);
}

/* A front-end that resets first and saves then, as QEMU does with where rings stand. */
static void VU_DS_02_state_is_what_the_reset_left(void **state)
{
    struct testbed *bed = start(state);
    struct testbed_nic *from = &bed->nic[VICTIM];

    stop_all(from);
    save(from, &state_of_source);
    assert_int_equal(front_end_set_status(&from->fe, 0), 0);
    save(from, &scratch);
    assert_int_equal(scratch.len, state_of_source.len);
    assert_memory_equal(scratch.bytes, state_of_source.bytes, scratch.len);
    finish(bed);
}

/* The features that come then are others: a new driver of the same card, for which nothing was
 * commanded. */
static void VU_DS_02_state_of_another_agreement_is_forgotten(void **state)
{
    struct testbed *bed = start(state);
    struct testbed_nic *from = &bed->nic[VICTIM], *to = &bed->nic[BYSTANDER];
    json_t *mac;

    stop_all(from);
    save(from, &state_of_source);
    connect_bare(to);
    assert_int_equal(load(to, state_of_source.bytes, state_of_source.len), 0);
    to->setup.features &= ~CONTROL_F_VLAN;
    to->options.start(&to->fe, &to->setup);
    mac = daemon_inspect(&bed->daemon, "nic1/mac_address");
    assert_string_equal(json_string_value(mac), "52:54:00:00:00:01");
    json_decref(mac);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/filter/vlans"), 0);
    finish(bed);
}

/* ---- when it may not ----------------------------------------------------------------------- */

static void VU_DS_01_requests_that_are_refused(void **state)
{
    struct testbed *bed = start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(set_state_fd(nic, SAVE, 0, ends[1]) & VERDICT_MASK); /* rings run */
    assert_true(set_state_fd(nic, LOAD, 0, ends[0]) & VERDICT_MASK);
    assert_true(check_state(nic) & VERDICT_MASK); /* there was none */
    stop_all(nic);
    assert_true(set_state_fd(nic, 2, 0, ends[1]) & VERDICT_MASK);
    assert_true(set_state_fd(nic, SAVE, 1, ends[1]) & VERDICT_MASK);
    assert_true(set_state_fd(nic, SAVE, 0, -1) & VERDICT_MASK);
    for (unsigned kind = 0; kind < ODD_FD_KINDS;
         kind++) { /* whatever it is, nothing waits for it */
        int fd = odd_fd(kind);

        set_state_fd(nic, LOAD, 0, fd);
        check_state(nic);
        set_state_fd(nic, SAVE, 0, fd);
        check_state(nic);
        close(fd);
    }
    assert_int_equal(set_state_fd(nic, LOAD, 0, ends[0]), NO_FD_BACK);
    assert_true(set_state_fd(nic, LOAD, 0, ends[0]) & VERDICT_MASK); /* one at a time */
    close(ends[0]);
    close(ends[1]);
    assert_true(check_state(nic) & VERDICT_MASK); /* empty */
    save(nic, &scratch);
    finish(bed);
}

static void VU_DS_01_only_where_it_was_agreed_on(void **state)
{
    struct testbed_options options = {.pf = ~(VU_PF_INBAND | VU_PF_DEVICE_STATE)};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    stop_all(nic);
    assert_true(set_state_fd(nic, SAVE, 0, ends[1]) & VERDICT_MASK);
    assert_true(check_state(nic) & VERDICT_MASK);
    close(ends[0]);
    close(ends[1]);
    finish(bed);
}

/* A card of another shape does not become this one. */
static void VU_DS_01_state_of_a_card_that_does_not_fit(void **state)
{
    struct testbed_options options = {.nic = "queues=2,endpoint=loopback"};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *from = &bed->nic[VICTIM], *to = &bed->nic[BYSTANDER];

    testbed_connect(from);
    stop_all(from);
    save(from, &state_of_source);
    connect_bare(to);
    assert_true(load(to, state_of_source.bytes, state_of_source.len) & VERDICT_MASK);
    front_end_close(&to->fe);
    testbed_connect(to);
    testbed_finish_anew(bed);
}

/* ---- what comes out of the pipe ------------------------------------------------------------ */

/* The bystander with its rings stopped, and a sound state to spoil. */
static struct testbed_nic *start_loading(void **state)
{
    struct testbed *bed = start(state);

    stop_all(&bed->nic[VICTIM]);
    save(&bed->nic[VICTIM], &state_of_source);
    connect_bare(&bed->nic[BYSTANDER]);
    return &bed->nic[BYSTANDER];
}

/* Nothing of what was refused stays: the card is new, and good. */
static void finish_loading(void **state)
{
    struct testbed *bed = *state;
    struct testbed_nic *nic = &bed->nic[BYSTANDER];

    assert_int_equal(daemon_number(&bed->daemon, "nic1/vhost_user/device_state/loaded"), 0);
    nic->options.start(&nic->fe, &nic->setup);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/filter/vlans"), 0);
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    testbed_exchange(nic, 0, 200);
    finish(bed);
}

static void VU_DS_01_truncated_state(void **state)
{
    struct testbed_nic *nic = start_loading(state);

    for (size_t len = 0; len < state_of_source.len; len += 1 + len / 8)
        check(load(nic, state_of_source.bytes, len) & VERDICT_MASK, "%zu of %zu bytes were taken",
              len, state_of_source.len);
    assert_true(load(nic, state_of_source.bytes, state_of_source.len - 1) & VERDICT_MASK);
    memcpy(scratch.bytes, state_of_source.bytes, state_of_source.len);
    scratch.bytes[state_of_source.len] = 0;
    assert_true(load(nic, scratch.bytes, state_of_source.len + 1) & VERDICT_MASK);
    finish_loading(state);
}

static void VU_DS_01_flipped_bits(void **state)
{
    struct testbed_nic *nic = start_loading(state);

    memcpy(scratch.bytes, state_of_source.bytes, state_of_source.len);
    for (size_t at = 0; at < state_of_source.len; at += 1 + at / 32) {
        scratch.bytes[at] ^= (uint8_t)(1u << at % 8);
        check(load(nic, scratch.bytes, state_of_source.len) & VERDICT_MASK,
              "a flipped bit of byte %zu was not seen", at);
        scratch.bytes[at] = state_of_source.bytes[at];
    }
    finish_loading(state);
}

/* A stream without end is left at its longest length; the other card is not kept waiting. */
static void VU_DS_01_gibibyte(void **state)
{
    struct testbed_nic *nic = start_loading(state);
    struct testbed *bed = *state;
    size_t done = 0, most = 1ull << 30;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(set_state_fd(nic, LOAD, 0, ends[0]), NO_FD_BACK);
    close(ends[0]);
    while (done < most) {
        ssize_t sent = write(ends[1], scratch.bytes, 1 << 16);

        if (sent < 0 && errno != EAGAIN)
            break;
        if (sent < 0)
            sleep_ms(1);
        else
            done += (size_t)sent;
    }
    assert_int_equal(errno, EPIPE);
    assert_in_range(done, STATE_MAX, STATE_MAX + (1 << 18));
    close(ends[1]);
    assert_true(check_state(nic) & VERDICT_MASK);
    assert_in_range(daemon_rss_kib(&bed->daemon), 1, 1 << 20);
    finish_loading(state);
}

/* Neither end closes: the daemon rests, serves others, and lets go with the session, or when the
 * front-end asks how it went. */
static void VU_DS_01_stream_that_never_closes(void **state)
{
    struct testbed_nic *nic = start_loading(state);
    struct testbed *bed = *state;
    struct testbed_nic *other = &bed->nic[VICTIM];
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(set_state_fd(nic, LOAD, 0, ends[0]), NO_FD_BACK);
    assert_int_equal(write(ends[1], state_of_source.bytes, 100), 100);
    daemon_check_idle(&bed->daemon);
    save(other, &scratch);
    assert_true(check_state(nic) & VERDICT_MASK);

    assert_int_equal(set_state_fd(nic, LOAD, 0, ends[0]), NO_FD_BACK);
    front_end_close(&nic->fe);
    daemon_wait_number(&bed->daemon, "nic1/vhost_user/sessions", 1);
    connect_bare(nic);
    close(ends[0]);
    close(ends[1]);
    finish_loading(state);
}

/* Nobody reads: the same. */
static void VU_DS_01_reader_that_never_reads(void **state)
{
    struct testbed *bed = start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t full[4096] = {0};
    int ends[2];

    stop_all(nic);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], full, sizeof(full)) > 0)
        continue;
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    assert_int_equal(set_state_fd(nic, SAVE, 0, ends[1]), NO_FD_BACK);
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0); /* blocking again, behind our back */
    daemon_check_idle(&bed->daemon);
    assert_true(check_state(nic) & VERDICT_MASK);
    close(ends[0]);
    assert_int_equal(set_state_fd(nic, SAVE, 0, ends[1]), NO_FD_BACK); /* nobody ever will */
    close(ends[1]);
    assert_true(check_state(nic) & VERDICT_MASK);
    save(nic, &scratch);
    finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_DS_02_card_arrives_as_it_left),
        TESTBED_TEST(VU_DS_02_counters_go_with_the_card),
        TESTBED_TEST(VU_DS_02_state_is_what_the_reset_left),
        TESTBED_TEST(VU_DS_02_state_of_another_agreement_is_forgotten),
        TESTBED_TEST(VU_DS_01_requests_that_are_refused),
        TESTBED_TEST(VU_DS_01_only_where_it_was_agreed_on),
        TESTBED_TEST(VU_DS_01_state_of_a_card_that_does_not_fit),
        TESTBED_TEST(VU_DS_01_truncated_state),
        TESTBED_TEST(VU_DS_01_flipped_bits),
        TESTBED_TEST(VU_DS_01_gibibyte),
        TESTBED_TEST(VU_DS_01_stream_that_never_closes),
        TESTBED_TEST(VU_DS_01_reader_that_never_reads),
    };

    signal(SIGPIPE, SIG_IGN); /* the back-end may close its end first */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
