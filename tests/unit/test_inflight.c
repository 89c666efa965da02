/* SPDX-License-Identifier: MIT */
/*
 * A device that is killed between any two stores (VU-RC-03). It works in a child process that is
 * stepped instruction by instruction; each time its stores have changed what outlives it (the ring
 * and its record) a copy is kept. From each copy another device takes over, and the driver must get
 * every buffer back exactly once, in order, with its length: a driver that did nothing meanwhile,
 * and one that took what it saw and filled the slots again.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "format_bed.h"
#include "ring/inflight.h"

enum {
    RING_SIZE = 16,
    CHAINS = 8,       /* in the ring when the device begins */
    MORE = 3,         /* that a busy driver adds */
    RECORD_LEN = 832, /* region of a packed ring of 16, 64-aligned; any split one is shorter */
    STEPS_MAX = 3000000,
    COPIES_MAX = 4096,
    PLAIN = VIRTQUEUE_INDIRECT | VIRTQUEUE_EVENT_IDX,
};

#define DATA FORMAT_BED_NEXT_GPA

/* What outlives the device. */
struct copy {
    uint8_t ring[RING_SIZE * 16];
    uint8_t record[RECORD_LEN];
};

struct inflight_bed {
    struct format_bed format;
    struct inflight_region *record; /* owned, shared with the child */
    uint8_t *pages;                 /* owned: the driver's memory as it is in each copy */
    struct copy *copy;              /* owned */
    unsigned copy_count;
    uint32_t id[CHAINS + MORE]; /* in the order in which they were offered */
    unsigned offered;
};

static const struct driver_buffer sent[3] = {
    {DATA, 10, DEVICE_READS}, {DATA + 64, 10, DEVICE_READS}, {DATA + 128, 10, DEVICE_READS}};
static const struct driver_buffer received[3] = {
    {DATA, 50, DEVICE_WRITES}, {DATA + 64, 50, DEVICE_WRITES}, {DATA + 128, 50, DEVICE_WRITES}};

static int writes(const struct inflight_bed *bed)
{
    return !(bed->format.features & VIRTQUEUE_BATCH_USED);
}

/* Each buffer is told from the others by the bytes that are written to it. */
static uint32_t len_of(const struct inflight_bed *bed, unsigned index)
{
    return writes(bed) ? 20 + index : 0;
}

static int setup(void **state)
{
    struct inflight_bed *bed = calloc(1, sizeof(*bed));

    *state = bed;
    if (bed == NULL || format_bed_init(&bed->format, FORMAT_BED_READ_ONLY) < 0)
        return -1;
    bed->copy = calloc(COPIES_MAX, sizeof(*bed->copy));
    bed->record = mmap(NULL, RECORD_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return bed->copy == NULL || bed->record == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
    struct inflight_bed *bed = *state;

    munmap(bed->record, RECORD_LEN);
    free(bed->copy);
    free(bed->pages);
    format_bed_free(&bed->format);
    free(bed);
    return 0;
}

static void *copy_of(const void *from, size_t len)
{
    void *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, from, len);
    return copy;
}

/* Descriptors of a packed ring, used ring of a split one. */
static void *ring_memory(struct inflight_bed *bed)
{
    const struct driver_ring *ring = bed->format.ring;
    int packed = (bed->format.features & VIRTQUEUE_PACKED) != 0;

    return guest_ram_at(&bed->format.ram, packed ? ring->desc_area : ring->device_area,
                        sizeof(bed->copy->ring));
}

static void copy_take(struct inflight_bed *bed)
{
    struct copy *copy = &bed->copy[bed->copy_count++];

    check(bed->copy_count < COPIES_MAX, "too many copies");
    memcpy(copy->ring, ring_memory(bed), sizeof(bed->copy->ring));
    memcpy(copy->record, bed->record, RECORD_LEN);
}

static const struct guest_ram_region *driver_region(const struct inflight_bed *bed)
{
    return &bed->format.ram.region[FORMAT_BED_DRIVER];
}

static void copy_restore(struct inflight_bed *bed, const struct copy *copy)
{
    memcpy(driver_region(bed)->map, bed->pages, driver_region(bed)->used);
    memcpy(ring_memory(bed), copy->ring, sizeof(bed->copy->ring));
    memcpy(bed->record, copy->record, RECORD_LEN);
}

static int copy_differs(struct inflight_bed *bed)
{
    const struct copy *last = &bed->copy[bed->copy_count - 1];

    return memcmp(last->ring, ring_memory(bed), sizeof(bed->copy->ring)) != 0 ||
           memcmp(last->record, bed->record, RECORD_LEN) != 0;
}

static void offer(struct inflight_bed *bed, unsigned slots)
{
    bed->id[bed->offered++] =
        format_bed_offer(&bed->format, writes(bed) ? received : sent, slots, CHAIN_DIRECT);
}

/* A device where the last one was cut off. The base is one that a front-end has from long ago. */
static void device_start(struct inflight_bed *bed)
{
    struct virtqueue_config config = format_bed_config(&bed->format);
    struct error err = {""};

    config.base = bed->format.features & VIRTQUEUE_PACKED ? 0x80008000 : 0;
    config.record = bed->record;
    check(virtqueue_start(&bed->format.queue, &config, bed->format.memory, &err) == 0, "%s",
          err.text);
}

static unsigned index_of(const struct inflight_bed *bed, uint32_t token)
{
    uint32_t id = bed->format.features & VIRTQUEUE_PACKED ? token & 0xffff : token;

    for (unsigned i = bed->offered; i-- > 0;) {
        if (bed->id[i] == id)
            return i;
    }
    return 0; /* lengths tell that it was not one of them */
}

/* Completes chains [from, to) of the batch. */
static void push(struct inflight_bed *bed, unsigned from, unsigned to)
{
    struct format_bed *format = &bed->format;

    if (!writes(bed)) {
        virtqueue_push_each(&format->queue, &format->batch.chain[from], NULL, to - from);
        return;
    }
    for (unsigned i = from; i < to; i++) { /* all of them are one frame */
        uint32_t token = format->batch.chain[i].token;

        if (i + 1 < to)
            virtqueue_push_part(&format->queue, token, len_of(bed, index_of(bed, token)));
        else
            virtqueue_push(&format->queue, token, len_of(bed, index_of(bed, token)));
    }
}

/* What runs in the child: two batches, with chains that go back in between. */
static void work(struct inflight_bed *bed)
{
    unsigned count = format_bed_pop_many(&bed->format, 64);
    unsigned half = count / 2;

    push(bed, 0, half - 1);
    push(bed, half - 1, half);
    virtqueue_unpop(&bed->format.queue, &bed->format.batch, half);
    virtqueue_flush(&bed->format.queue);
    count = format_bed_pop_many(&bed->format, 64);
    push(bed, 0, count);
    virtqueue_flush(&bed->format.queue);
}

static void take_over_and_work(struct inflight_bed *bed)
{
    device_start(bed);
    push(bed, 0, format_bed_pop_many(&bed->format, 64));
    virtqueue_flush(&bed->format.queue);
}

/* Runs `act` in a child, step by step, and keeps a copy behind each of its stores. */
static void copies_collect(struct inflight_bed *bed, void (*act)(struct inflight_bed *bed))
{
    pid_t pid = fork();
    unsigned steps = 0;
    int status;

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(1);
        raise(SIGSTOP);
        act(bed);
        _exit(0);
    }
    bed->copy_count = 0;
    copy_take(bed);
    check(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "no child to trace");
    while (WIFSTOPPED(status)) {
        if (copy_differs(bed))
            copy_take(bed);
        check(steps++ < STEPS_MAX, "the device does not end");
        check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0, "no step");
        check(waitpid(pid, &status, 0) == pid, "no child");
    }
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the device ended with 0x%x",
          (unsigned)status);
}

/* ---- the driver, in as many lives as there are copies ---- */

struct driver_copy {
    struct driver_split split;
    struct driver_packed packed;
    struct driver_ring *ring; /* back-pointer */
    uint32_t id[CHAINS + MORE];
    unsigned offered;
};

static void driver_swap(struct inflight_bed *bed, struct driver_copy *driver)
{
    struct driver_copy now = {.split = bed->format.split,
                              .packed = bed->format.packed,
                              .ring = bed->format.ring,
                              .offered = bed->offered};

    memcpy(now.id, bed->id, sizeof(now.id));
    bed->format.split = driver->split;
    bed->format.packed = driver->packed;
    bed->format.ring = driver->ring;
    bed->offered = driver->offered;
    memcpy(bed->id, driver->id, sizeof(bed->id));
    *driver = now;
}

/* The driver as it was, its books in memory of their own: swapped in for one life. */
static void driver_copy(struct inflight_bed *bed, struct driver_copy *ret)
{
    size_t words = RING_SIZE * sizeof(uint16_t);

    *ret = (struct driver_copy){.split = bed->format.split,
                                .packed = bed->format.packed,
                                .ring = bed->format.ring,
                                .offered = bed->offered};
    memcpy(ret->id, bed->id, sizeof(ret->id));
    if (bed->format.features & VIRTQUEUE_PACKED) {
        ret->packed.free_id = copy_of(bed->format.packed.free_id, words);
        ret->packed.list_len = copy_of(bed->format.packed.list_len, words);
    } else {
        ret->split.chain_len = copy_of(bed->format.split.chain_len, words);
    }
    if (bed->format.ring->in_order.id != NULL) {
        uint32_t *order = copy_of(bed->format.ring->in_order.id,
                                  RING_SIZE * sizeof(*bed->format.ring->in_order.id));

        if (bed->format.features & VIRTQUEUE_PACKED)
            ret->packed.ring.in_order.id = order;
        else
            ret->split.ring.in_order.id = order;
    }
}

static void driver_copy_free(struct inflight_bed *bed, struct driver_copy *copy)
{
    if (bed->format.features & VIRTQUEUE_PACKED) {
        free(copy->packed.free_id);
        free(copy->packed.list_len);
        free(copy->packed.ring.in_order.id);
    } else {
        free(copy->split.chain_len);
        free(copy->split.ring.in_order.id);
    }
}

/* Takes what is there; each has to be the next one. Returns how many were taken up to now. */
static unsigned driver_take(struct inflight_bed *bed, unsigned taken)
{
    struct driver_used used;

    while (bed->format.ring->ops->take(bed->format.ring, &used)) {
        check(taken < bed->offered, "a buffer too many came back");
        check(used.id == bed->id[taken], "buffer %u came back in place of %u", used.id,
              bed->id[taken]);
        check(used.len == len_of(bed, taken), "buffer %u came back with length %u", taken,
              used.len);
        taken++;
    }
    return taken;
}

enum driver_manner {
    DRIVER_WAITS,
    DRIVER_GOES_ON,
};

static void expect_recovery(struct inflight_bed *bed, const struct copy *copy,
                            enum driver_manner manner)
{
    struct driver_copy driver;
    unsigned taken = 0;

    copy_restore(bed, copy);
    driver_copy(bed, &driver);
    driver_swap(bed, &driver);
    if (manner == DRIVER_GOES_ON) {
        taken = driver_take(bed, 0);
        for (unsigned i = 0; i < MORE && taken > i; i++)
            offer(bed, 1);
    }
    device_start(bed);
    assert_int_equal(counter_get(&bed->format.queue.records_refused), 0);
    taken = driver_take(bed, taken);
    check(!writes(bed) || (taken != 1 && taken != 2 && (taken <= 4 || taken >= CHAINS)),
          "%u buffers are shown: a part of a frame", taken);
    push(bed, 0, format_bed_pop_many(&bed->format, 64));
    virtqueue_flush(&bed->format.queue);
    taken = driver_take(bed, taken);
    assert_int_equal(taken, bed->offered);
    assert_int_equal(bed->format.queue.fault, QUEUE_FAULT_NONE);
    for (unsigned i = 0; i < RING_SIZE; i++)
        format_bed_round_trip(&bed->format);
    virtqueue_stop(&bed->format.queue);
    driver_swap(bed, &driver);
    driver_copy_free(bed, &driver);
}

static void expect_recovery_of_all(struct inflight_bed *bed)
{
    assert_in_range(bed->copy_count, 4, COPIES_MAX);
    for (unsigned i = 0; i < bed->copy_count; i++) {
        expect_recovery(bed, &bed->copy[i], DRIVER_WAITS);
        expect_recovery(bed, &bed->copy[i], DRIVER_GOES_ON);
    }
}

/* A ring that went round a bit, with CHAINS in it, of 1, 2, 1, 2 … slots. */
static void begin(struct inflight_bed *bed, uint32_t features)
{
    format_bed_start(&bed->format, RING_SIZE, features);
    memset(bed->record, 0, RECORD_LEN);
    device_start(bed);
    for (unsigned i = 0; i < 7; i++)
        format_bed_round_trip(&bed->format);
    bed->offered = 0;
    for (unsigned i = 0; i < CHAINS; i++)
        offer(bed, 1 + i % 2);
    free(bed->pages);
    bed->pages = copy_of(driver_region(bed)->map, driver_region(bed)->used);
}

static const uint32_t rings[] = {
    PLAIN,
    PLAIN | VIRTQUEUE_BATCH_USED,
    PLAIN | VIRTQUEUE_PACKED,
    PLAIN | VIRTQUEUE_PACKED | VIRTQUEUE_BATCH_USED,
};

static void VU_RC_03_killed_between_any_two_stores(void **state)
{
    struct inflight_bed *bed = *state;

    for (unsigned r = 0; r < 4; r++) {
        begin(bed, rings[r]);
        copies_collect(bed, work);
        expect_recovery_of_all(bed);
    }
}

/* Words 5 and 6 of a record: a place, and the one behind all that was pushed. More than two slots
 * are in between, and the driver can't see them yet. */
static int is_pending(const struct copy *copy)
{
    uint16_t behind = wire_get16(copy->record + 16, WIRE_LITTLE);
    uint16_t shown = wire_get16(copy->record + 18, WIRE_LITTLE);
    uint16_t flags = wire_get16(copy->ring + 16 * shown + 14, WIRE_LITTLE);

    return (uint16_t)(behind + RING_SIZE - shown) % RING_SIZE >= 3 && flags & SLOT_AVAIL &&
           !(flags & SLOT_USED);
}

/* … while it takes over from one that was killed. */
static void VU_RC_03_killed_while_it_takes_over(void **state)
{
    struct inflight_bed *bed = *state;

    for (unsigned r = 2; r < 4; r++) {
        struct copy pending;
        unsigned at = 0;

        begin(bed, rings[r]);
        copies_collect(bed, work);
        while (!is_pending(&bed->copy[at]))
            check(++at < bed->copy_count, "nothing was ever pending");
        pending = bed->copy[at];
        copy_restore(bed, &pending);
        copies_collect(bed, take_over_and_work);
        expect_recovery_of_all(bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(VU_RC_03_killed_between_any_two_stores, setup, teardown),
        cmocka_unit_test_setup_teardown(VU_RC_03_killed_while_it_takes_over, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
