/* SPDX-License-Identifier: MIT */
/*
 * The limit that a tap sets: a bare loop of writev or readv on it, and nothing else, with memory as
 * the load's guest has it: frames behind a header, received ones in buffers that go round. For each
 * line on standard input, a number of
 * seconds, it answers "FRAMES BUSY_NS SECONDS"; busy is the loop's CPU time without the stretches
 * in which the tap had nothing.
 *
 *     tap_loop IFNAME write LEN CPU
 *     tap_loop IFNAME read LEN CPU LOAD_CPU    with a thread that sends frames into the interface
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "blast.h"
#include "check.h"
#include "guest.h"

enum {
    CLOCK_EVERY = 32, /* frames between two looks at the clock */
    MEMORY_LEN = LOAD_RING_SIZE * LOAD_BUFFER_LEN,
};

static uint8_t header[LOAD_HEADER_LEN];
static _Alignas(LOAD_BUFFER_LEN) uint8_t memory[MEMORY_LEN];
static uint32_t buffers;      /* of a frame */
static atomic_int blasting;   /* partner: the blasting thread */
static atomic_ullong arrived; /* frames, in all windows; partner: the blasting thread */
static sem_t blast_begins;
static struct blast blast;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pin(const char *cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)atoi(cpu), &set);
    check(sched_setaffinity(0, sizeof(set), &set) == 0, "there is no CPU %s", cpu);
}

static int tap_open(const char *ifname)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int header_len = LOAD_HEADER_LEN;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
    check(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "the tap %s can't be opened", ifname);
    check(ioctl(fd, TUNSETVNETHDRSZ, &header_len) == 0 &&
              ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0,
          "the tap %s takes no offloads", ifname);
    return fd;
}

static void *blast_main(void *cpu)
{
    pin(cpu);
    for (;;) {
        sem_wait(&blast_begins); /* no CPU is taken from others between two windows */
        while (atomic_load_explicit(&blasting, memory_order_relaxed))
            blast_paced(&blast, atomic_load_explicit(&arrived, memory_order_relaxed));
    }
    return NULL;
}

/* Frames moved, and the time in which there was nothing to move. */
struct moved {
    uint64_t frames, empty_ns;
};

/* Where the next frame goes; returns how many spans that are. */
static int place(struct iovec *iov, uint64_t number, int writes, uint32_t frame_len)
{
    uint32_t first = (uint32_t)(number % (LOAD_RING_SIZE / buffers)) * buffers;
    uint8_t *at = memory + (size_t)first * LOAD_BUFFER_LEN;

    iov[0] = (struct iovec){header, LOAD_HEADER_LEN};
    iov[1] = (struct iovec){at + LOAD_HEADER_LEN, frame_len};
    if (writes)
        return 2;
    iov[1].iov_len = LOAD_BUFFER_LEN - LOAD_HEADER_LEN;
    for (uint32_t i = 1; i < buffers; i++)
        iov[1 + i] = (struct iovec){at + (size_t)i * LOAD_BUFFER_LEN, LOAD_BUFFER_LEN};
    return 1 + (int)buffers;
}

static struct moved loop(int fd, int writes, uint32_t frame_len, uint64_t until)
{
    struct iovec iov[1 + LOAD_RING_SIZE];
    int spans = place(iov, 0, writes, frame_len);
    struct moved moved = {0};
    uint64_t before = atomic_load_explicit(&arrived, memory_order_relaxed);
    uint64_t empty_since = 0, tried = 0; /* the stretch without a frame; before the last try */

    for (unsigned i = 0;; i++) {
        ssize_t len;

        if (empty_since != 0)
            tried = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        len = writes ? writev(fd, iov, spans) : readv(fd, iov, spans);
        if (len < 0 && errno != EAGAIN)
            return moved;
        if (len >= 0) {
            moved.frames++;
            atomic_store_explicit(&arrived, before + moved.frames, memory_order_relaxed);
            moved.empty_ns += empty_since != 0 ? tried - empty_since : 0;
            empty_since = 0;
            spans = place(iov, moved.frames, writes, frame_len);
        } else if (empty_since == 0) {
            empty_since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        }
        if (i % CLOCK_EVERY == 0 && clock_ns(CLOCK_MONOTONIC) >= until)
            break;
    }
    if (empty_since != 0)
        moved.empty_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - empty_since;
    return moved;
}

static void run(int fd, int writes, uint32_t len, uint64_t for_ns)
{
    uint64_t begin = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    struct moved moved = loop(fd, writes, len, begin + for_ns);

    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("%llu %llu %.6f\n", (unsigned long long)moved.frames,
           (unsigned long long)(cpu > moved.empty_ns ? cpu - moved.empty_ns : 0),
           (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e9);
}

int main(int argc, char **argv)
{
    int writes = argc == 5 && strcmp(argv[2], "write") == 0;
    char line[32];
    uint32_t len;
    pthread_t thread;
    int fd;

    if (!writes && argc != 6) {
        fprintf(stderr, "usage: see the top of bench/load/tap_loop.c\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    len = (uint32_t)atoi(argv[3]);
    fd = tap_open(argv[1]);
    buffers = (LOAD_HEADER_LEN + len + LOAD_BUFFER_LEN - 1) / LOAD_BUFFER_LEN;
    for (uint32_t i = 0; i + buffers <= LOAD_RING_SIZE; i += buffers)
        load_frame_make(header, memory + (size_t)i * LOAD_BUFFER_LEN + LOAD_HEADER_LEN, len);
    if (!writes) {
        blast_open(&blast, argv[1], len);
        check(sem_init(&blast_begins, 0, 0) == 0, "no semaphore");
        check(pthread_create(&thread, NULL, blast_main, argv[5]) == 0, "no thread");
    }
    pin(argv[4]);
    puts("ready");
    while (fgets(line, sizeof(line), stdin) != NULL) {
        atomic_store(&blasting, 1);
        sem_post(&blast_begins);
        run(fd, writes, len, (uint64_t)(atof(line) * 1e9));
        atomic_store(&blasting, 0);
    }
    return 0;
}
