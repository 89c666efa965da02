/* SPDX-License-Identifier: MIT */
/*
 * The limit that a tap sets: a bare loop of writev or readv on it, and nothing else. For each line
 * on standard input, a number of seconds, it answers "FRAMES BUSY_NS SECONDS"; busy is the loop's
 * CPU time without the stretches in which the tap had nothing.
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
    CLOCK_EVERY = 32 /* frames between two looks at the clock */
};

static uint8_t header[LOAD_HEADER_LEN];
static uint8_t frame[LOAD_FRAME_MAX];
static atomic_int blasting;
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
        if (atomic_load_explicit(&blasting, memory_order_relaxed))
            blast_send(&blast, BLAST_BATCH);
        else
            usleep(100);
    }
    return NULL;
}

/* Frames moved, and the time in which there was nothing to move. */
struct moved {
    uint64_t frames, empty_ns;
};

static struct moved loop(int fd, int writes, const struct iovec iov[2], uint64_t until)
{
    struct moved moved = {0};
    uint64_t empty_since = 0;

    for (unsigned i = 0;; i++) {
        ssize_t len = writes ? writev(fd, iov, 2) : readv(fd, iov, 2);

        if (len >= 0)
            moved.frames++;
        if (len < 0 && errno != EAGAIN)
            return moved;
        if (len < 0 && empty_since == 0)
            empty_since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        if (len >= 0 && empty_since != 0) {
            moved.empty_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - empty_since;
            empty_since = 0;
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
    struct iovec iov[2] = {{header, LOAD_HEADER_LEN}, {frame, writes ? len : sizeof(frame)}};
    uint64_t begin = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    struct moved moved = loop(fd, writes, iov, begin + for_ns);

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
    load_frame_make(header, frame, len);
    if (!writes) {
        blast_open(&blast, argv[1], len);
        check(pthread_create(&thread, NULL, blast_main, argv[5]) == 0, "no thread");
    }
    pin(argv[4]);
    puts("ready");
    while (fgets(line, sizeof(line), stdin) != NULL) {
        atomic_store(&blasting, 1);
        run(fd, writes, len, (uint64_t)(atof(line) * 1e9));
        atomic_store(&blasting, 0);
    }
    return 0;
}
