/* SPDX-License-Identifier: MIT */
/*
 * The limit that a tap sets: a bare loop of writev or readv on its queues in turn, and nothing
 * else, with memory as the load's guest has it: frames behind a header, received ones in buffers
 * that go round, a flow a queue. For each line on standard input, a number of seconds, it answers
 * "FRAMES BUSY_NS SECONDS"; busy is the loop's CPU time without the stretches in which the tap had
 * nothing.
 *
 *     tap_loop IFNAME write LEN QUEUES CPU
 *     tap_loop IFNAME read LEN QUEUES CPU LOAD_CPU  with a thread that sends frames into the
 *                                                   interface
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
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "blast.h"
#include "check.h"
#include "guest.h"

enum {
    CLOCK_EVERY = 32, /* frames between two looks at the clock */
    TURN = 64,        /* frames of a queue before the next one's turn */
};

/* One queue of the tap, and the guest's memory that its frames lie in. */
struct queue {
    int fd;
    uint8_t *slot;   /* mapped, slot_count of slot_len bytes */
    uint64_t number; /* of the next frame */
};

static uint8_t header[LOAD_HEADER_LEN];
static struct queue queue[LOAD_PAIRS_MAX];
static unsigned queue_count;
static int writes;
static uint32_t frame_len;
static uint32_t slot_len, slot_count;
static uint32_t slots;        /* of a frame */
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

    if (queue_count > 1)
        request.ifr_flags |= IFF_MULTI_QUEUE;
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
    check(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "the tap %s can't be opened", ifname);
    check(ioctl(fd, TUNSETVNETHDRSZ, &header_len) == 0 &&
              ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0,
          "the tap %s takes no offloads", ifname);
    return fd;
}

/* A sent frame lies in one slot of many, a received one in as many buffers as it needs. */
static void memory_plan(void)
{
    uint32_t len = LOAD_HEADER_LEN + frame_len;

    slot_len = writes ? (len + 63) / 64 * 64 : LOAD_BUFFER_LEN;
    slot_count = writes ? LOAD_TX_SLOTS : LOAD_RING_SIZE;
    slots = (len + slot_len - 1) / slot_len;
}

static void queue_open(unsigned index, const char *ifname)
{
    struct queue *opened = &queue[index];
    void *memory = mmap(NULL, (size_t)slot_count * slot_len, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    check(memory != MAP_FAILED, "out of memory");
    opened->fd = tap_open(ifname);
    opened->slot = memory;
    for (uint32_t i = 0; writes && i < slot_count; i++) {
        uint8_t *frame = opened->slot + (size_t)i * slot_len + LOAD_HEADER_LEN;

        load_frame_make(header, frame, frame_len);
        load_frame_set_flow(frame, index);
    }
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

/* Where the queue's next frame goes; returns how many spans that are. */
static int place(const struct queue *at, struct iovec *iov)
{
    uint32_t first = (uint32_t)(at->number % (slot_count / slots)) * slots;
    uint8_t *slot = at->slot + (size_t)first * slot_len;

    iov[0] = (struct iovec){header, LOAD_HEADER_LEN};
    iov[1] =
        (struct iovec){slot + LOAD_HEADER_LEN, writes ? frame_len : slot_len - LOAD_HEADER_LEN};
    for (uint32_t i = 1; i < slots; i++)
        iov[1 + i] = (struct iovec){slot + (size_t)i * slot_len, slot_len};
    return 1 + (int)slots;
}

/* As many frames as a turn has, or there are. -1: the tap broke. */
static int turn_run(struct queue *at)
{
    struct iovec iov[1 + LOAD_RING_SIZE];

    for (int done = 0; done < TURN; done++, at->number++) {
        int spans = place(at, iov);
        ssize_t len = writes ? writev(at->fd, iov, spans) : readv(at->fd, iov, spans);

        if (len < 0)
            return errno == EAGAIN ? done : -1;
    }
    return TURN;
}

static struct moved loop(uint64_t until)
{
    struct moved moved = {0};
    uint64_t before = atomic_load_explicit(&arrived, memory_order_relaxed);
    uint64_t empty_since = 0, tried = 0; /* when the queues had nothing; before the last try */
    unsigned unlooked = 0;               /* at the clock, frames and turns */

    for (unsigned i = 0, idle = 0;; i = (i + 1) % queue_count) {
        int done;

        if (empty_since != 0)
            tried = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        done = turn_run(&queue[i]);
        if (done < 0)
            return moved;
        idle = done == 0 ? idle + 1 : 0;
        if (done != 0) {
            moved.frames += (unsigned)done;
            atomic_store_explicit(&arrived, before + moved.frames, memory_order_relaxed);
            moved.empty_ns += empty_since != 0 ? tried - empty_since : 0;
            empty_since = 0;
        } else if (empty_since == 0 && idle >= queue_count) {
            empty_since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        }
        unlooked += (unsigned)done + 1;
        if (unlooked < CLOCK_EVERY)
            continue;
        unlooked = 0;
        if (clock_ns(CLOCK_MONOTONIC) >= until)
            break;
    }
    if (empty_since != 0)
        moved.empty_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - empty_since;
    return moved;
}

static void run(uint64_t for_ns)
{
    uint64_t begin = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    struct moved moved = loop(begin + for_ns);

    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("%llu %llu %.6f\n", (unsigned long long)moved.frames,
           (unsigned long long)(cpu > moved.empty_ns ? cpu - moved.empty_ns : 0),
           (double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e9);
}

int main(int argc, char **argv)
{
    char line[32];
    pthread_t thread;

    writes = argc == 6 && strcmp(argv[2], "write") == 0;
    if (!writes && argc != 7) {
        fprintf(stderr, "usage: see the top of bench/load/tap_loop.c\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    frame_len = (uint32_t)atoi(argv[3]);
    queue_count = (unsigned)atoi(argv[4]);
    check(queue_count >= 1 && queue_count <= LOAD_PAIRS_MAX, "%u queues", queue_count);
    memory_plan();
    for (unsigned i = 0; i < queue_count; i++)
        queue_open(i, argv[1]);
    if (!writes) {
        blast_open(&blast, argv[1], frame_len, queue_count);
        check(sem_init(&blast_begins, 0, 0) == 0, "no semaphore");
        check(pthread_create(&thread, NULL, blast_main, argv[6]) == 0, "no thread");
    }
    pin(argv[5]);
    puts("ready");
    while (fgets(line, sizeof(line), stdin) != NULL) {
        atomic_store(&blasting, 1);
        sem_post(&blast_begins);
        run((uint64_t)(atof(line) * 1e9));
        atomic_store(&blasting, 0);
    }
    return 0;
}
