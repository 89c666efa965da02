/* SPDX-License-Identifier: MIT */
/*
 * Upgrade in place whatever the front-ends are at: a session in an odd state goes over as it is, a
 * front-end that can't go over is left behind, and neither is in the way of the others.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "postcopy_bed.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum {
    RX = 0,
    TX = 1,
    SAVE = 0,
    LOAD = 1,
    NO_FD_BACK = 0x100,
    STATE_MAX = 1 << 17,
    BACKEND_CONFIG_CHANGE = 2,
    BACKEND_VRING_CALL = 4,
    CHANGES = 64, /* of the link: more than a small channel holds */
    MESSAGE_PATIENCE_MS = 3000,
};

#define NET_F_STATUS (1ull << 16)

static void take_over(struct testbed *bed)
{
    daemon_take_over(&bed->daemon, getenv("VIONIC"));
}

/* The front-end of the bystander noticed nothing. */
static void bystander_went_over(struct testbed *bed)
{
    testbed_exchange(&bed->nic[BYSTANDER], 0, 700);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/vhost_user/sessions"), 1);
    assert_int_equal(daemon_number(&bed->daemon, "nic1/vhost_user/left_behind"), 0);
}

static void victim_was_left_behind(struct testbed *bed)
{
    struct testbed_nic *nic = &bed->nic[VICTIM];

    check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "it is still connected");
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/left_behind"), 1);
    bystander_went_over(bed);
}

/* ---- the device's state on its way ---------------------------------------------------------- */

static void begin_transfer(struct testbed_nic *nic, uint32_t direction, int fd)
{
    uint32_t payload[2] = {direction, 0};
    struct vu_message message = vu_message(VU_SET_DEVICE_STATE_FD, payload, sizeof(payload));
    uint64_t answer;

    vu_message_add_fd(&message, fd);
    assert_int_equal(front_end_ask(&nic->fe, &message), 0);
    memcpy(&answer, message.payload, sizeof(answer));
    assert_int_equal(answer, NO_FD_BACK);
}

static uint64_t verdict_of(struct testbed_nic *nic)
{
    uint64_t answer;

    assert_int_equal(front_end_get_u64(&nic->fe, VU_CHECK_DEVICE_STATE, &answer), 0);
    return answer;
}

static void stop_rings(struct testbed_nic *nic)
{
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_stop_vring(&nic->fe, i);
}

/* The rings begin anew, with drivers of their own. */
static void start_rings(struct testbed_nic *nic)
{
    testbed_restart_rings(nic, 0);
    for (unsigned i = 0; i < nic->setup.vring_count; i++)
        front_end_start_ring(&nic->fe, i, nic->setup.vring[i]);
}

static size_t read_to_the_end(int fd, uint8_t *bytes)
{
    size_t len = 0;
    ssize_t got;

    while ((got = read(fd, bytes + len, STATE_MAX - len)) > 0)
        len += (size_t)got;
    return len;
}

/* Saved and loaded again, with takeovers before and within each step. */
static void a_state_on_its_way_arrives(void **state)
{
    static uint8_t bytes[STATE_MAX], again[STATE_MAX];
    struct testbed *bed = testbed_start(state, &(struct testbed_options){.pairs = 2});
    struct testbed_nic *nic = &bed->nic[VICTIM];
    size_t len, done;
    int ends[2];

    testbed_exchange(nic, 1, 300);
    stop_rings(nic);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fcntl(ends[1], F_SETPIPE_SZ, 4096);
    assert_int_equal(write(ends[1], "", 1), 1); /* the pipe is full, and nothing goes yet */
    begin_transfer(nic, SAVE, ends[1]);
    close(ends[1]);
    take_over(bed);
    assert_int_equal(read(ends[0], bytes, 1), 1);
    len = read_to_the_end(ends[0], bytes);
    close(ends[0]);
    take_over(bed);
    assert_int_equal(verdict_of(nic), 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/device_state/saved"), 1);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    begin_transfer(nic, LOAD, ends[0]);
    close(ends[0]);
    done = len / 2;
    assert_int_equal(write(ends[1], bytes, done), done);
    take_over(bed);
    assert_int_equal(write(ends[1], bytes + done, len - done), len - done);
    close(ends[1]);
    assert_int_equal(verdict_of(nic), 0);
    take_over(bed); /* loaded, and no ring runs */
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    begin_transfer(nic, SAVE, ends[1]);
    close(ends[1]);
    assert_int_equal(read_to_the_end(ends[0], again), len);
    close(ends[0]);
    assert_int_equal(verdict_of(nic), 0);
    start_rings(nic);
    testbed_exchange_fresh(nic, 1);
    bystander_went_over(bed);
    testbed_finish(bed);
}

/* Nobody reads, nobody writes, nobody asks: that is one front-end's affair. */
static void a_transfer_that_is_held_open_stops_nobody(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    int ends[2];

    stop_rings(nic);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    begin_transfer(nic, LOAD, ends[0]);
    close(ends[0]);
    take_over(bed);
    take_over(bed);
    check(verdict_of(nic) != 0, "a state that never came was taken");
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/device_state/failed"), 1);
    close(ends[1]);
    start_rings(nic);
    testbed_exchange_fresh(nic, 0);
    bystander_went_over(bed);
    testbed_finish(bed);
}

/* QEMU 7.2's order: the reset comes first, and what it found can still be saved. */
static void what_a_reset_left_is_still_there(void **state)
{
    static uint8_t bytes[STATE_MAX], again[STATE_MAX];
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    size_t len[2];
    int ends[2];

    testbed_exchange(nic, 0, 300);
    assert_int_equal(front_end_set_status(&nic->fe, 0), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        begin_transfer(nic, SAVE, ends[1]);
        close(ends[1]);
        len[i] = read_to_the_end(ends[0], i == 0 ? bytes : again);
        close(ends[0]);
        assert_int_equal(verdict_of(nic), 0);
        take_over(bed);
    }
    assert_int_equal(len[0], len[1]);
    assert_memory_equal(bytes, again, len[0]);
    testbed_finish_anew(bed);
}

/* ---- notices -------------------------------------------------------------------------------- */

static void give_socket(struct front_end *fe)
{
    assert_int_equal(front_end_set_backend_req_fd(fe), 0);
}

static void start_in_band(struct front_end *fe, const struct front_end_setup *setup)
{
    front_end_start_in_band(fe, setup, give_socket);
}

/* The next interrupt, answered. */
static void call_take(struct front_end *fe)
{
    uint32_t notice[5];
    struct {
        uint32_t request, flags, size;
        uint32_t value[2];
    } answer = {BACKEND_VRING_CALL, VU_VERSION | VU_REPLY, 8, {0, 0}};

    check(wait_readable(fe->backend_fd, WAIT_LONG_MS), "no interrupt");
    assert_int_equal(read(fe->backend_fd, notice, sizeof(notice)), sizeof(notice));
    assert_int_equal(notice[0], BACKEND_VRING_CALL);
    assert_int_equal(send(fe->backend_fd, &answer, sizeof(answer), MSG_NOSIGNAL), sizeof(answer));
}

/* An interrupt that waits for its answer, and the next one behind it, go over. */
static void interrupts_by_message_go_on(void **state)
{
    struct testbed_options options = {.nic = "in-band=on,endpoint=loopback",
                                      .start = start_in_band,
                                      .pf = FRONT_END_IN_BAND,
                                      .without = VIRTIO_F_EVENT_IDX};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[200];

    testbed_connect(nic);
    testbed_connect(&bed->nic[BYSTANDER]);
    net_frame_make(frame, 100, nic->mac, 1);
    net_driver_send(&nic->net[0], frame, 100);
    check(wait_readable(nic->fe.backend_fd, WAIT_LONG_MS), "no interrupt");
    assert_int_equal(net_driver_receive(&nic->net[0], frame, sizeof(frame), WAIT_LONG_MS), 100);
    take_over(bed);
    call_take(&nic->fe); /* of the first daemon; its answer is the second one's */
    call_take(&nic->fe);
    take_over(bed);
    for (unsigned i = 0; i < 20; i++)
        testbed_exchange(nic, 0, 100 + i);
    call_take(&nic->fe);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/channels_lost"), 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/sessions"), 1);
    bystander_went_over(bed);
    testbed_finish(bed);
}

/* The link goes down and up until the channel is full. What the last change made due is said by the
 * next daemon, without another change. */
static void a_notice_that_waits_is_said(void **state)
{
    const struct testbed_options options = {
        .features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | NET_F_STATUS,
    };
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);
    uint64_t changes, notices;
    uint32_t header[3];
    char refusal[512];
    int least = 1;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
    vu_message_add_fd(&message, pair[1]);
    assert_int_equal(front_end_request(&nic->fe, &message, 0), 0);
    close(pair[1]);
    for (unsigned i = 0; i < CHANGES; i++)
        check(daemon_set(&bed->daemon, "nic0.link", i % 2 == 0 ? "down" : "up", refusal), "%s",
              refusal);
    changes = daemon_number(&bed->daemon, "nic0/vhost_user/config_changes");
    notices = daemon_number(&bed->daemon, "nic0/vhost_user/config_notices");
    check(changes >= CHANGES && notices < changes, "%llu of %llu changes were told",
          (unsigned long long)notices, (unsigned long long)changes);
    take_over(bed);
    for (uint64_t i = 0; i < notices + 1; i++) {
        check(wait_readable(pair[0], WAIT_LONG_MS), "notice %llu does not come",
              (unsigned long long)i);
        assert_int_equal(read(pair[0], header, sizeof(header)), sizeof(header));
        assert_int_equal(header[0], BACKEND_CONFIG_CHANGE);
    }
    close(pair[0]);
    testbed_exchange(nic, 0, 300);
    testbed_finish(bed);
}

/* ---- what the operator set, and how long a message may take --------------------------------- */

static void a_speed_that_was_set_does_not_follow_the_next_endpoint(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    char refusal[512];

    check(daemon_set(&bed->daemon, "nic0.speed", "2500", refusal), "%s", refusal);
    daemon_wait_number(&bed->daemon, "nic0/speed_mbps", 2500);
    take_over(bed);
    check(daemon_set(&bed->daemon, "nic0.endpoint", "loopback", refusal), "%s", refusal);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/speed_mbps"), 2500);
    testbed_finish(bed);
}

static void VU_SEC_01_a_message_that_was_begun_has_to_end(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t header[3] = {VU_SET_VRING_CALL, VU_VERSION, 8};

    assert_int_equal(front_end_send_bytes(&nic->fe, header, sizeof(header)), 0);
    daemon_wait_number(&bed->daemon, "nic0/vhost_user/sessions", 1);
    take_over(bed);
    check(front_end_is_closed(&nic->fe, MESSAGE_PATIENCE_MS + WAIT_LONG_MS),
          "the next daemon waits for its rest for ever");
    bystander_went_over(bed);
    testbed_finish_anew(bed);
}

/* The operator's mistake is refused with a sentence: nobody is left behind for it. */
static void a_ring_that_the_new_configuration_has_no_room_for(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    char *line = bed->daemon.nic[VICTIM];
    char before[sizeof(bed->daemon.nic[0])];
    const char *endpoint = strstr(line, "endpoint=");
    pid_t next;
    int status;

    memcpy(before, line, sizeof(before));
    snprintf(line + (endpoint - line), sizeof(before) - (size_t)(endpoint - line),
             "queue-size=32,%s", before + (endpoint - line));
    next = daemon_start_takeover(&bed->daemon, getenv("VIONIC"));
    assert_int_equal(waitpid(next, &status, 0), next);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 2, "it ended with wait status 0x%x",
          (unsigned)status);
    memcpy(line, before, sizeof(before));
    testbed_exchange(&bed->nic[VICTIM], 0, 300);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/sessions"), 1);
    testbed_finish(bed);
}

/* ---- front-ends that can't go over ---------------------------------------------------------- */

static void post_copy(void **state)
{
    struct testbed *bed = postcopy_bed_start(state);
    int uffd = postcopy_bed_listen(&bed->nic[VICTIM].fe);

    take_over(bed);
    victim_was_left_behind(bed);
    close(uffd);
    testbed_finish_anew(bed);
}

/* Nobody looked at the last region yet, so nobody knows. */
static void memory_that_was_truncated(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    const struct guest_ram_region *last = &nic->ram.region[1];

    testbed_exchange(nic, 0, 300);
    assert_int_equal(ftruncate(last->fd, 4096), 0);
    take_over(bed);
    victim_was_left_behind(bed);
    assert_int_equal(ftruncate(last->fd, (off_t)(last->offset + last->size)), 0);
    testbed_finish_anew(bed);
}

/* Who has it mapped may go on writing; who comes may not begin. */
static void memory_that_was_sealed(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct guest_ram_region region = nic->ram.region[1];

    region.fd = fd;
    region.gpa = TESTBED_END_GPA + (1ull << 30);
    region.uva = 0x7fff00000000ull;
    region.size = 1 << 16;
    region.offset = 0;
    assert_int_equal(ftruncate(fd, 1 << 16), 0);
    assert_int_equal(front_end_add_mem_reg(&nic->fe, &region), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
    testbed_exchange(nic, 0, 300);
    take_over(bed);
    victim_was_left_behind(bed);
    close(fd);
    testbed_finish_anew(bed);
}

/* The card goes on without; a migration that went by it has to begin anew. */
static void a_log_that_was_truncated(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t len = TESTBED_END_GPA / 4096 / 8 + 1;
    int fd = memfd_create("log", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    assert_int_equal(front_end_set_log_base(&nic->fe, fd, len, 0), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    take_over(bed);
    testbed_exchange(nic, 0, 300);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/dirty_log/lost"), 1);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/vhost_user/sessions"), 1);
    close(fd);
    bystander_went_over(bed);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(a_state_on_its_way_arrives),
        TESTBED_TEST(a_transfer_that_is_held_open_stops_nobody),
        TESTBED_TEST(what_a_reset_left_is_still_there),
        TESTBED_TEST(interrupts_by_message_go_on),
        TESTBED_TEST(a_notice_that_waits_is_said),
        TESTBED_TEST(a_speed_that_was_set_does_not_follow_the_next_endpoint),
        TESTBED_TEST(VU_SEC_01_a_message_that_was_begun_has_to_end),
        TESTBED_TEST(a_ring_that_the_new_configuration_has_no_room_for),
        TESTBED_TEST(post_copy),
        TESTBED_TEST(memory_that_was_truncated),
        TESTBED_TEST(memory_that_was_sealed),
        TESTBED_TEST(a_log_that_was_truncated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
