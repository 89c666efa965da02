/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of the benchmark, on one CPU. For each line on standard input, a number of
 * seconds, it runs that long and answers with one line:
 *
 *     send SOCKET LEN PAIRS            "FRAMES BYTES SECONDS": sends frames of LEN bytes
 *     receive SOCKET LEN PAIRS IFNAME  the same: sends them into the host's interface, and receives
 *     pass SOCKET LEN SOCKET           the same: sends at the first card, receives at the second
 *     kick SOCKET PAUSE_US             "COUNT P50 P99 P999" in ns: from the kick to the completion
 *     interrupt SOCKET PAUSE_US IFNAME the same: from a frame on the host's interface to the call
 *     attach SOCKET [SOCKET…]          "COUNT 0 SECONDS": a guest that does nothing, at each
 *
 * PAIRS: of the card, all in use; with more than one, frames to the guest are of BLAST_FLOWS flows.
 * PAUSE_US lies between two frames: shorter than a back-end looks on, or longer.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "blast.h"
#include "check.h"
#include "guest.h"

enum {
    SAMPLES_MAX = 1 << 20,
    LATENCY_FRAME_LEN = 64,
    QUIET_NS = 5000000, /* nothing came for so long: nothing is on the way any more */
    INTERRUPT_TIMEOUT_MS = 1000,
    WARM_UP_NS = 2000000000,
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- frames a second --------------------------------------------------------------------- */

static void tell_rate(uint64_t frames, uint64_t bytes, uint64_t ns)
{
    printf("%llu %llu %.6f\n", (unsigned long long)frames, (unsigned long long)bytes,
           (double)ns / 1e9);
}

static void run_send(struct load_guest *guest, uint64_t for_ns)
{
    uint64_t begin = now_ns(), frames = 0, now;

    do {
        frames += load_guest_send(guest, LOAD_RING_SIZE);
        now = now_ns();
    } while (now - begin < for_ns);
    tell_rate(frames, frames * guest->pair[0].frame_len, now - begin);
    load_guest_drain(guest);
}

static void run_receive(struct load_guest *guest, struct blast *blast, uint64_t for_ns)
{
    uint64_t begin = now_ns(), frames = 0, bytes = 0, now, last;

    blast->sent = 0;
    do {
        blast_paced(blast, frames);
        frames += load_guest_receive(guest, &bytes);
        now = now_ns();
    } while (now - begin < for_ns);
    tell_rate(frames, bytes, now - begin);
    for (last = now; now_ns() - last < QUIET_NS;) {
        if (load_guest_receive(guest, &bytes) != 0)
            last = now_ns();
    }
}

static void run_pass(struct load_guest guest[2], uint64_t for_ns)
{
    uint64_t begin = now_ns(), frames = 0, bytes = 0, now, last;

    do {
        load_guest_send(&guest[0], LOAD_RING_SIZE);
        frames += load_guest_receive(&guest[1], &bytes);
        now = now_ns();
    } while (now - begin < for_ns);
    tell_rate(frames, bytes, now - begin);
    for (last = now; guest[0].pair[0].tx_in_flight != 0 || now_ns() - last < QUIET_NS;) {
        load_guest_reap(&guest[0]);
        if (load_guest_receive(&guest[1], &bytes) != 0)
            last = now_ns();
    }
}

/* ---- latency ----------------------------------------------------------------------------- */

static uint64_t sample[SAMPLES_MAX];

static int compare(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void tell_latency(size_t count)
{
    qsort(sample, count, sizeof(sample[0]), compare);
    printf("%zu %llu %llu %llu\n", count, (unsigned long long)sample[count / 2],
           (unsigned long long)sample[count * 99 / 100],
           (unsigned long long)sample[count * 999 / 1000]);
}

static void pause_ns(uint64_t ns)
{
    uint64_t begin = now_ns();

    while (now_ns() - begin < ns)
        ;
}

static uint64_t kick_once(struct load_guest *guest)
{
    uint64_t begin = now_ns();

    load_guest_send(guest, 1);
    load_guest_drain(guest);
    return now_ns() - begin;
}

/* A driver that sleeps until its interrupt, as one does in a guest. */
static uint64_t interrupt_once(struct load_guest *guest, struct blast *blast)
{
    struct driver_ring *ring = guest->pair[0].ring[LOAD_RX];
    struct pollfd call = {.fd = guest->fe.vring[LOAD_RX].call_fd, .events = POLLIN};
    uint64_t bytes = 0, begin, took, count;

    do { /* a network has words of its own */
        ring->ops->interrupts(ring, INTERRUPTS_ON);
    } while (load_guest_receive(guest, &bytes) != 0);
    begin = now_ns();
    blast_send(blast, 1);
    check(poll(&call, 1, INTERRUPT_TIMEOUT_MS) == 1, "no interrupt came");
    took = now_ns() - begin;
    check(read(call.fd, &count, sizeof(count)) == sizeof(count), "the call fd is empty");
    while (load_guest_receive(guest, &bytes) != 0)
        ;
    return took;
}

/* Until the first frame comes: an interface takes a moment to come up. */
static void warm_up(struct load_guest *guest, struct blast *blast)
{
    uint64_t begin = now_ns(), bytes = 0;

    do {
        check(now_ns() - begin < WARM_UP_NS, "nothing comes through");
        blast_send(blast, 1);
        pause_ns(1000000);
    } while (load_guest_receive(guest, &bytes) == 0);
}

static void run_latency(struct load_guest *guest, struct blast *blast, uint64_t pause,
                        uint64_t for_ns)
{
    uint64_t begin = now_ns();
    size_t count = 0;

    while (now_ns() - begin < for_ns && count < SAMPLES_MAX) {
        sample[count++] = blast == NULL ? kick_once(guest) : interrupt_once(guest, blast);
        pause_ns(pause);
    }
    tell_latency(count);
}

/* ---- the command line -------------------------------------------------------------------- */

/* The next window's length; 0: there is none. */
static uint64_t next_window(void)
{
    char line[32];

    if (fgets(line, sizeof(line), stdin) == NULL)
        return 0;
    return (uint64_t)(atof(line) * 1e9);
}

/* ifname: where the frames come from; NULL: the guest sends them. */
static void serve_frames(const char *socket, uint32_t len, unsigned pairs, const char *ifname)
{
    static struct load_guest guest;
    struct blast blast;
    uint64_t for_ns;

    load_guest_attach(&guest, socket, len, pairs);
    if (ifname != NULL)
        blast_open(&blast, ifname, len, pairs);
    puts("ready");
    while ((for_ns = next_window()) != 0) {
        if (ifname == NULL)
            run_send(&guest, for_ns);
        else
            run_receive(&guest, &blast, for_ns);
    }
}

static void serve_passing(const char *from, const char *to, uint32_t len)
{
    static struct load_guest guest[2];
    uint64_t for_ns;

    load_guest_attach(&guest[0], from, len, 1);
    load_guest_attach(&guest[1], to, len, 1);
    puts("ready");
    while ((for_ns = next_window()) != 0)
        run_pass(guest, for_ns);
}

static void serve_latency(const char *socket, uint64_t pause, const char *ifname)
{
    static struct load_guest guest;
    struct driver_ring *ring;
    struct blast blast;
    uint64_t for_ns;

    load_guest_attach(&guest, socket, LATENCY_FRAME_LEN, 1);
    ring = guest.pair[0].ring[LOAD_TX];
    ring->ops->interrupts(ring, INTERRUPTS_OFF);
    if (ifname != NULL) {
        blast_open(&blast, ifname, LATENCY_FRAME_LEN, 1);
        warm_up(&guest, &blast);
    }
    puts("ready");
    while ((for_ns = next_window()) != 0)
        run_latency(&guest, ifname == NULL ? NULL : &blast, pause, for_ns);
}

static void serve_attached(char **socket, unsigned count)
{
    struct load_guest *guest = calloc(count, sizeof(*guest));
    uint64_t begin = now_ns();

    check(guest != NULL, "out of memory");
    for (unsigned i = 0; i < count; i++)
        load_guest_attach(&guest[i], socket[i], LATENCY_FRAME_LEN, 1);
    tell_rate(count, 0, now_ns() - begin);
    while (next_window() != 0)
        ;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    const char *fourth = argc > 4 ? argv[4] : NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(mode, "attach") == 0)
        serve_attached(argv + 2, (unsigned)argc - 2);
    else if (argc == 5 && strcmp(mode, "send") == 0)
        serve_frames(argv[2], (uint32_t)atoi(argv[3]), (unsigned)atoi(fourth), NULL);
    else if (argc == 6 && strcmp(mode, "receive") == 0)
        serve_frames(argv[2], (uint32_t)atoi(argv[3]), (unsigned)atoi(fourth), argv[5]);
    else if (fourth && strcmp(mode, "pass") == 0)
        serve_passing(argv[2], fourth, (uint32_t)atoi(argv[3]));
    else if (argc > 3 && (strcmp(mode, "kick") == 0 || (strcmp(mode, "interrupt") == 0 && fourth)))
        serve_latency(argv[2], (uint64_t)atoi(argv[3]) * 1000, fourth);
    else {
        fprintf(stderr, "usage: see the top of bench/load/load.c\n");
        return 2;
    }
    return 0;
}
