/* SPDX-License-Identifier: MIT */
/* Endpoints that die and return behind a card whose driver is at work: what the driver sees, what
 * `vionic inspect` says, and that every frame is completed once. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "host.h"
#include "stamp.h"
#include "testbed.h"

enum {
    TEST_ETHERTYPE = 0x88b5,
    GUEST = 1, /* sources of stamps */
    HOST = 2,
};

static const char *no_namespace; /* why there is none, or NULL */
static uint8_t frame[NET_FRAME_MAX];

struct life {
    struct testbed *bed;
    struct testbed_nic *nic;
    uint32_t sent, answered;
};

static struct life begin(void **state, const char *nic)
{
    struct testbed_options options = {.nic = nic};
    struct life life = {.bed = testbed_start(state, &options)};

    life.nic = &life.bed->nic[VICTIM];
    return life;
}

static void wait_text(struct life *life, const char *path, const char *wanted)
{
    daemon_wait_text(&life->bed->daemon, path, wanted);
}

static void expect_error(struct life *life, const char *words)
{
    char error[512];

    daemon_text(&life->bed->daemon, "nic0/endpoint_error", error, sizeof(error));
    check(strstr(error, words) != NULL, "endpoint_error is \"%s\", without \"%s\"", error, words);
}

/* A burst while nobody is there: taken from the driver, each once. */
static void send_into_nowhere(struct life *life)
{
    for (unsigned i = 0; i < NET_TX_SLOTS; i++) {
        stamp_make(frame, 200 + i, life->nic->mac, (struct stamp){GUEST, ++life->sent});
        net_driver_send(&life->nic->net[0], frame, 200 + i);
    }
    net_driver_drain(&life->nic->net[0]);
}

/* ---- tap ---------------------------------------------------------------------------------- */

/* Both ways over the interface of the name, as it is now. */
static void exchange_over(struct life *life, const char *ifname)
{
    struct stamp stamp = {GUEST, ++life->sent};
    int host = host_socket(ifname, TEST_ETHERTYPE, HOST_PLAIN);
    int len;

    stamp_make(frame, 1000, life->nic->mac, stamp);
    net_driver_send(&life->nic->net[0], frame, 1000);
    stamp.number = 0;
    len = (int)host_receive(host, frame, sizeof(frame));
    assert_int_equal(stamp_read(frame, (uint32_t)len, &stamp), STAMP_WHOLE);
    assert_int_equal(stamp.number, life->sent);
    stamp_make(frame, 700, life->nic->mac, (struct stamp){HOST, ++life->answered});
    host_send(host, frame, 700);
    do { /* the kernel speaks too, on an interface that was moved */
        len = net_driver_receive(&life->nic->net[0], frame, sizeof(frame), WAIT_LONG_MS);
        check(len > 0, "the host's frame did not come");
    } while (stamp_read(frame, (uint32_t)len, &stamp) == STAMP_NONE);
    assert_int_equal(stamp_read(frame, (uint32_t)len, &stamp), STAMP_WHOLE);
    assert_int_equal(stamp.number, life->answered);
    net_driver_drain(&life->nic->net[0]);
    close(host);
}

static void a_tap_of_ours_is_made_again(void **state)
{
    struct life life;

    if (no_namespace != NULL)
        skip();
    life = begin(state, "endpoint=tap:ifname=life0");
    for (unsigned round = 1; round <= 3; round++) {
        exchange_over(&life, "life0");
        host_command("ip link del life0");
        send_into_nowhere(&life);
        daemon_wait_number(&life.bed->daemon, "nic0/endpoint_failures", round);
        wait_text(&life, "nic0/endpoint_state", "open");
        wait_text(&life, "nic0/link", "up");
    }
    exchange_over(&life, "life0");
    expect_error(&life, "endpoint tap went away");
    testbed_finish(life.bed);
}

/* What somebody else made is waited for; who makes it again is not in competition with us. */
static void a_tap_of_others_is_waited_for(void **state)
{
    struct life life;

    if (no_namespace != NULL)
        skip();
    host_command("ip tuntap add dev life1 mode tap vnet_hdr");
    host_command("ip link set life1 up");
    life = begin(state, "endpoint=tap:ifname=life1");
    for (unsigned round = 1; round <= 2; round++) {
        exchange_over(&life, "life1");
        host_command("ip link del life1");
        send_into_nowhere(&life);
        wait_text(&life, "nic0/endpoint_state", "gone");
        wait_text(&life, "nic0/link", "down");
        daemon_wait_number(&life.bed->daemon, "nic0/endpoint_tries", 2);
        expect_error(&life, "life1 has gone; make it again");
        host_command("ip tuntap add dev life1 mode tap vnet_hdr");
        host_command("ip link set life1 up");
        wait_text(&life, "nic0/endpoint_state", "open");
        wait_text(&life, "nic0/link", "up");
    }
    exchange_over(&life, "life1");
    assert_int_equal(daemon_number(&life.bed->daemon, "nic0/endpoint_failures"), 2);
    host_command("ip link del life1");
    wait_text(&life, "nic0/endpoint_state", "gone");
    testbed_finish(life.bed);
}

/* A process that does nothing in a network namespace of its own. */
static pid_t hold_namespace(void)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_return_code(pipe(ready), errno);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    check(read(ready[0], &byte, 1) == 1, "no second namespace");
    close(ready[0]);
    return pid;
}

/* Moving takes an interface down. Its state is watched where it is now, and so is its end. */
static void a_tap_that_is_moved_is_followed(void **state)
{
    struct life life;
    pid_t there;

    if (no_namespace != NULL)
        skip();
    strcpy(((struct testbed *)*state)->daemon.sandbox,
           "off"); /* who enters namespaces needs that */
    life = begin(state, "endpoint=tap:ifname=life2");
    exchange_over(&life, "life2");
    there = hold_namespace();
    host_command("ip link set life2 netns %d name moved2", (int)there);
    wait_text(&life, "nic0/link", "down");
    send_into_nowhere(&life);
    host_command("nsenter --net=/proc/%d/ns/net ip link set moved2 up", (int)there);
    wait_text(&life, "nic0/link", "up");
    wait_text(&life, "nic0/endpoint/ifname", "moved2");
    send_into_nowhere(&life);
    assert_int_equal(daemon_number(&life.bed->daemon, "nic0/endpoint_failures"), 0);
    host_command("nsenter --net=/proc/%d/ns/net ip link del moved2", (int)there);
    daemon_wait_number(&life.bed->daemon, "nic0/endpoint_failures", 1);
    wait_text(&life, "nic0/endpoint_state", "open"); /* ours: made again, here */
    wait_text(&life, "nic0/link", "up");
    exchange_over(&life, "life2");
    kill(there, SIGKILL);
    waitpid(there, NULL, 0);
    testbed_finish(life.bed);
}

/* ---- out of files -------------------------------------------------------------------------- */

static void an_endpoint_that_finds_no_fds_is_tried_again(void **state)
{
    struct life life;

    if (no_namespace != NULL)
        skip();
    life = begin(state, "endpoint=tap:ifname=life3");
    exchange_over(&life, "life3");
    daemon_fd_count_settled(&life.bed->daemon);
    daemon_limit_fds(&life.bed->daemon, 0); /* its own are free again, and one goes to inspect */
    host_command("ip link del life3");
    sleep_ms(500);
    daemon_limit_fds(&life.bed->daemon, 1);
    wait_text(&life, "nic0/endpoint_state", "gone");
    expect_error(&life, "Too many open files");
    send_into_nowhere(&life);
    daemon_limit_fds(&life.bed->daemon, DAEMON_FDS_ENOUGH);
    wait_text(&life, "nic0/endpoint_state", "open");
    wait_text(&life, "nic0/link", "up");
    exchange_over(&life, "life3");
    testbed_finish(life.bed);
}

/* The endpoint is there, but a pair gets no queue of it: the link is down until it does. */
static void a_pair_without_a_queue_is_tried_again(void **state)
{
    struct life life = begin(state, "endpoint=null:generate=300,rate=1000");
    struct front_end *fe = &life.nic->fe;

    assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_ENABLE, 0, 0), 0);
    assert_int_equal(front_end_sync(fe), 0);
    daemon_fd_count_settled(&life.bed->daemon);
    daemon_limit_fds(&life.bed->daemon, 0); /* none for its timer */
    assert_int_equal(front_end_vring_state(fe, VU_SET_VRING_ENABLE, 0, 1), 0);
    assert_int_equal(front_end_sync(fe), 0);
    sleep_ms(300);
    daemon_limit_fds(&life.bed->daemon, DAEMON_FDS_ENOUGH);
    wait_text(&life, "nic0/endpoint_state", "open");
    expect_error(&life, "no timer for queue 0: Too many open files");
    wait_text(&life, "nic0/link", "up");
    check(net_driver_receive(&life.nic->net[0], frame, sizeof(frame), WAIT_LONG_MS) == 300,
          "no frame afterwards");
    testbed_finish(life.bed);
}

/* ---- stream -------------------------------------------------------------------------------- */

static int listen_at(struct life *life)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/wire", life->bed->daemon.directory);
    unlink(address.sun_path);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(fd, 1), errno);
    return fd;
}

enum parting {
    PART_CLOSE,
    PART_HALF_WRITE, /* it reads on, and says no more */
    PART_HALF_READ,  /* it takes no more */
    PART_MIDDLE,     /* of a frame */
    PART_RUBBISH,
    PART_COUNT,
};

static const char *const parting_words[PART_COUNT] = {
    "closed the connection",
    "closed the connection",
    "Broken pipe",
    "in the middle of a frame",
    "length",
};

static void part(int peer, enum parting how)
{
    static const uint8_t begun[] = {0, 0, 1, 0, 1, 2, 3}, rubbish[] = {0xff, 0xff, 0xff, 0xff, 1};

    if (how == PART_HALF_WRITE)
        shutdown(peer, SHUT_WR);
    else if (how == PART_HALF_READ)
        shutdown(peer, SHUT_RD);
    else if (how == PART_MIDDLE)
        assert_int_equal(send(peer, begun, sizeof(begun), 0), sizeof(begun));
    else if (how == PART_RUBBISH)
        assert_int_equal(send(peer, rubbish, sizeof(rubbish), 0), sizeof(rubbish));
    if (how == PART_CLOSE || how == PART_MIDDLE)
        close(peer);
}

static void a_peer_that_parts_is_told_apart_and_found_again(void **state)
{
    char text[256], why[128];
    struct testbed *bed = *state;
    struct life life;

    snprintf(text, sizeof(text), "endpoint=stream:path=%s/wire,reconnect=5", bed->daemon.directory);
    life = begin(state, text);
    wait_text(&life, "nic0/endpoint/last_error", "No such file or directory");
    for (enum parting how = 0; how < PART_COUNT; how++) {
        int listener = listen_at(&life);
        int peer = accept(listener, NULL, NULL);

        close(listener);
        wait_text(&life, "nic0/link", "up");
        part(peer, how);
        if (how == PART_HALF_READ) /* who says nothing does not find out */
            send_into_nowhere(&life);
        daemon_wait_number(&life.bed->daemon, "nic0/endpoint/connections_lost", how + 1);
        send_into_nowhere(&life);
        wait_text(&life, "nic0/link", "down");
        daemon_text(&life.bed->daemon, "nic0/endpoint/last_loss", why, sizeof(why));
        check(strstr(why, parting_words[how]) != NULL, "last_loss %u is \"%s\"", how, why);
        if (how != PART_CLOSE && how != PART_MIDDLE)
            close(peer);
    }
    testbed_finish(life.bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(a_tap_of_ours_is_made_again),
        TESTBED_TEST(a_tap_of_others_is_waited_for),
        TESTBED_TEST(a_tap_that_is_moved_is_followed),
        TESTBED_TEST(an_endpoint_that_finds_no_fds_is_tried_again),
        TESTBED_TEST(a_pair_without_a_queue_is_tried_again),
        TESTBED_TEST(a_peer_that_parts_is_told_apart_and_found_again),
    };

    no_namespace = host_enter_namespace();
    if (no_namespace != NULL)
        print_message("skipping what needs one: %s\n", no_namespace);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
