/* SPDX-License-Identifier: MIT */
/*
 * The endpoint `stream` with those it is for at the other end: passt, and QEMU's own network
 * back-ends without a machine. They run in a network namespace of the test's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "host.h"
#include "peer.h"
#include "stream_guest.h"

#define GATEWAY PEER_IP(10, 0, 2, 2)

enum {
    START_MS = 10000,
};

static const char *no_namespace; /* why there is none, or NULL */

/* ---- programs -----------------------------------------------------------------------------------
 */

static int is_installed(const char *program)
{
    char command[128];

    snprintf(command, sizeof(command), "command -v %s >/dev/null", program);
    return system(command) == 0;
}

static pid_t program_start(const char *const words[])
{
    pid_t pid;

    if (!is_installed(words[0])) {
        print_message("skipped, %s is not installed\n", words[0]);
        skip();
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDIN_FILENO);
    execvp(words[0], (char *const *)words);
    _exit(127);
}

static void program_stop(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

/* ---- a guest's questions ------------------------------------------------------------------------
 */

static void guest_begin(struct peer *peer, const char *format, const char *path)
{
    memset(peer, 0, sizeof(*peer));
    peer->ip = PEER_IP(10, 0, 2, 15);
    stream_open(&peer->guest, format, path);
}

/* The program may take a while to be there. */
static void guest_wait_up(struct peer *peer)
{
    uint64_t end = clock_now_ns() + START_MS * CLOCK_MILLISECOND_NS;

    while (!peer->guest.endpoint->ops->link_up(peer->guest.endpoint)) {
        check(clock_now_ns() < end, "no connection");
        stream_settle(&peer->guest);
        usleep(10000);
    }
    stream_settle(&peer->guest);
}

static void ask_for_gateway(struct peer *peer)
{
    static const uint8_t request[42] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 0x08, 0x06,
        0,    1,    0x08, 0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0,    1,
        10,   0,    2,    15,   0,    0,    0,    0,    0,    0,    10, 0, 2,    2,
    };
    const struct guest_frame *answer;

    peer_send(peer, request, sizeof(request));
    do {
        answer = peer_wait_frame(peer, 0x0806, 5000);
        assert_non_null(answer);
    } while (answer->bytes[21] != 2); /* it may ask for us first */
    assert_true(answer->len >= 42);
    assert_memory_equal(answer->bytes + 28, request + 38, 4);
}

static void ask_for_echo(struct peer *peer)
{
    uint8_t data[1200] = {8, 0, 0, 0, 0x12, 0x34, 0, 1};
    struct peer_packet packet = {
        .protocol = IPPROTO_ICMP, .destination = GATEWAY, .data = data, .data_len = sizeof(data)};
    uint16_t sum;

    for (unsigned i = 8; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    sum = internet_checksum(data, sizeof(data), 0);
    data[2] = (uint8_t)(sum >> 8);
    data[3] = (uint8_t)sum;
    peer_send_packet(peer, &packet);
    peer_expect(peer, IPPROTO_ICMP, &packet);
    assert_int_equal(packet.source, GATEWAY);
    assert_int_equal(packet.data_len, sizeof(data));
    assert_int_equal(packet.data[0], 0);
    assert_memory_equal(packet.data + 8, data + 8, sizeof(data) - 8);
}

static void ask_for_lease(struct peer *peer, uint32_t expected)
{
    static const uint8_t mac[] = {0x52, 0x54, 0, 0, 0, 1};
    static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
    uint8_t data[300] = {1, 1, 6, 0, 0xab, 0xcd, 0xef, 1};
    struct peer_packet packet = {.protocol = IPPROTO_UDP,
                                 .destination = 0xffffffff,
                                 .source_port = 68,
                                 .destination_port = 67,
                                 .data = data,
                                 .data_len = sizeof(data)};

    memcpy(data + 28, mac, sizeof(mac));
    memcpy(data + 236, options, sizeof(options));
    peer->ip = 0;
    peer_send_packet(peer, &packet);
    peer->ip = PEER_IP(10, 0, 2, 15);
    peer_expect(peer, IPPROTO_UDP, &packet);
    assert_int_equal(packet.destination_port, 68);
    assert_memory_equal(packet.data + 4, data + 4, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(packet.data[16 + i], expected >> (24 - 8 * i) & 0xff);
}

/* ---- passt --------------------------------------------------------------------------------------
 */

/* passt takes its network from an interface with a default route. */
static void make_network(void)
{
    static int made;

    if (no_namespace != NULL) {
        print_message("skipped, %s\n", no_namespace);
        skip();
    }
    if (made)
        return;
    made = 1;
    host_command("ip link set lo up");
    host_command("ip tuntap add uplink0 mode tap");
    host_command("ip addr add 10.0.2.15/24 dev uplink0");
    host_command("ip link set uplink0 up");
    host_command("ip route add default via 10.0.2.2 dev uplink0");
}

/* It gives up being root, and makes its socket as somebody else. */
static const char *passt_path(void)
{
    static char path[128];
    char folder[128];

    snprintf(folder, sizeof(folder), "%s.d", stream_path());
    mkdir(folder, 0700);
    chmod(folder, 0777);
    *strrchr(folder, '/') = '\0';
    chmod(folder, 0711);
    snprintf(path, sizeof(path), "%s.d/passt", stream_path());
    return path;
}

static void passt_free(const char *path)
{
    char folder[128];

    unlink(path);
    snprintf(folder, sizeof(folder), "%s.d", stream_path());
    rmdir(folder);
}

static void passt_gives_a_lease_and_is_replaced(void **state)
{
    struct peer peer;
    const char *path;
    char socket_path[128];
    const char *words[] = {"passt", "-f", "-q", "-e", "-4", "-D", "none", "-s", socket_path, NULL};

    (void)state;
    make_network();
    path = passt_path();
    snprintf(socket_path, sizeof(socket_path), "%s", path);
    for (unsigned round = 0; round < 2; round++) {
        pid_t passt = program_start(words);

        if (round == 0)
            guest_begin(&peer, "stream:path=%s,reconnect=20", path);
        guest_wait_up(&peer);
        ask_for_lease(&peer, PEER_IP(10, 0, 2, 15));
        ask_for_gateway(&peer);
        program_stop(passt);
        unlink(path);
        stream_wait_link(&peer.guest, 0);
    }
    peer_close(&peer);
    passt_free(path);
}

/* ---- QEMU
 * ---------------------------------------------------------------------------------------- */

/* QEMU without a machine: its NAT network on a hub with the back-end that is to be tried. */
static pid_t qemu_start(const char *netdev)
{
    const char *words[] = {"qemu-system-x86_64",
                           "-M",
                           "none",
                           "-nodefaults",
                           "-display",
                           "none",
                           "-netdev",
                           netdev,
                           "-netdev",
                           "user,id=nat,ipv6=off",
                           "-netdev",
                           "hubport,id=left,hubid=0,netdev=wire",
                           "-netdev",
                           "hubport,id=right,hubid=0,netdev=nat",
                           NULL};

    return program_start(words);
}

static void ask_qemu(const char *netdev, const char *spec)
{
    struct peer peer;
    char text[256];
    pid_t qemu;

    snprintf(text, sizeof(text), netdev, stream_path());
    if (strstr(spec, "mode=server") != NULL)
        guest_begin(&peer, spec, stream_path());
    qemu = qemu_start(text);
    if (strstr(spec, "mode=server") == NULL)
        guest_begin(&peer, spec, stream_path());
    guest_wait_up(&peer);
    ask_for_gateway(&peer);
    ask_for_echo(&peer);
    ask_for_lease(&peer, PEER_IP(10, 0, 2, 15));
    program_stop(qemu);
    stream_wait_link(&peer.guest, 0);
    peer_close(&peer);
    unlink(stream_path());
}

static void qemu_stream_listens(void **state)
{
    (void)state;
    ask_qemu("stream,id=wire,server=on,addr.type=unix,addr.path=%s", "stream:path=%s,reconnect=20");
}

static void qemu_stream_connects(void **state)
{
    (void)state;
    ask_qemu("stream,id=wire,server=off,addr.type=unix,addr.path=%s", "stream:path=%s,mode=server");
}

static void qemu_socket_connects_over_tcp(void **state)
{
    (void)state;
    make_network();
    ask_qemu("socket,id=wire,connect=127.0.0.1:4711", "stream:address=127.0.0.1:4711,mode=server");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passt_gives_a_lease_and_is_replaced),
        cmocka_unit_test(qemu_stream_listens),
        cmocka_unit_test(qemu_stream_connects),
        cmocka_unit_test(qemu_socket_connects_over_tcp),
    };

    no_namespace = host_enter_namespace();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
