/* SPDX-License-Identifier: MIT */
/* The endpoint `user` when there are no more files. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "peer.h"

/* A connection that finds no file waits; nobody spins for it, and it is served when there is one.
 */
static void without_files_a_connection_waits(void **state)
{
    uint16_t port = peer_free_port(SOCK_STREAM);
    struct rlimit limit, none;
    struct peer_tcp tcp;
    struct peer peer;
    unsigned wakes = 0;
    char text[96];
    int fd, lowest;

    (void)state;
    snprintf(text, sizeof(text), "user:hostfwd=tcp:127.0.0.1:%u-:22", port);
    peer_open(&peer, text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    fd = peer_connect_local(SOCK_STREAM, port);
    lowest = dup(fd);
    close(lowest);
    none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (uint64_t end = clock_now_ns() + 500 * CLOCK_MILLISECOND_NS; clock_now_ns() < end;) {
        if (!guest_wait(&peer.guest, 10))
            continue;
        wakes++;
        guest_receive(&peer.guest, 64);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_in_range(wakes, 1, 450);
    peer_tcp_accept(&tcp, &peer, 22);
    close(fd);
    peer_close(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_files_a_connection_waits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
