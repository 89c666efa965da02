/* SPDX-License-Identifier: MIT */
/*
 * Post-copy migration as QEMU does it at the destination: the rings start before their memory has
 * come, and every page comes when it is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "postcopy_bed.h"

enum {
    RX = 0,
    TX = 1,
    PAGE = 4096,
    FRAMES = 5,
    FRAME_LEN = 900,
};

/* What the source sends, page by page. */
struct source {
    int uffd;
    uint64_t base[2]; /* where the back-end has mapped the regions */
    uint64_t size[2];
    uint8_t *page[2]; /* owned: their contents, up to page_len; zeroes behind */
    uint64_t page_len[2];
    _Atomic int ends;
    _Atomic unsigned faults;
    pthread_t thread;
};

static void no_kick(void *context)
{
    (void)context;
}

static int word(struct front_end *fe, uint32_t request)
{
    struct vu_message message = vu_message_u64(request, 0);

    return front_end_request(fe, &message, 0);
}

/* ---- the source ---- */

static void page_place(struct source *source, unsigned region, uint64_t at)
{
    static const uint8_t zeroes[PAGE];
    struct uffdio_copy copy = {
        .dst = source->base[region] + at,
        .src = (uintptr_t)(at < source->page_len[region] ? source->page[region] + at : zeroes),
        .len = PAGE,
    };

    if (ioctl(source->uffd, UFFDIO_COPY, &copy) < 0)
        check(errno == EEXIST, "no page at 0x%llx", (unsigned long long)at);
}

static void *source_run(void *context)
{
    struct source *source = context;

    while (!source->ends) {
        struct pollfd readable = {.fd = source->uffd, .events = POLLIN};
        struct uffd_msg message;

        if (poll(&readable, 1, 10) != 1 ||
            read(source->uffd, &message, sizeof(message)) != sizeof(message))
            continue;
        source->faults++;
        for (unsigned i = 0; i < 2; i++) {
            uint64_t at = (message.arg.pagefault.address & ~(PAGE - 1ull)) - source->base[i];

            if (at < source->size[i])
                page_place(source, i, at);
        }
    }
    return NULL;
}

/* Keeps the guest's memory aside and leaves nothing of it where the guest and the device look. */
static void memory_leaves(struct testbed_nic *nic, struct source *source)
{
    for (unsigned i = 0; i < 2; i++) {
        struct guest_ram_region *region = &nic->ram.region[i];

        source->size[i] = region->size;
        source->page_len[i] = (region->used + PAGE - 1) & ~(PAGE - 1ull);
        source->page[i] = malloc(source->page_len[i] + 1);
        check(source->page[i] != NULL, "no memory");
        memcpy(source->page[i], region->map, source->page_len[i]);
        check(fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        (off_t)(region->offset + region->size)) == 0,
              "memory can't be emptied");
    }
}

static void source_free(struct source *source)
{
    free(source->page[0]);
    free(source->page[1]);
    if (source->uffd >= 0)
        close(source->uffd);
}

/* ---- the front-end ---- */

/* The reply is the table with other addresses. */
static void share_table(struct testbed_nic *nic, struct source *source)
{
    uint64_t table[1 + 4 * 2] = {2};
    struct vu_message message;

    for (unsigned i = 0; i < 2; i++) {
        const struct guest_ram_region *region = &nic->ram.region[i];

        memcpy(&table[1 + 4 * i],
               (uint64_t[]){region->gpa, region->size, region->uva, region->offset}, 32);
    }
    message = vu_message(VU_SET_MEM_TABLE, table, sizeof(table));
    vu_message_add_fd(&message, nic->ram.region[0].fd);
    vu_message_add_fd(&message, nic->ram.region[1].fd);
    assert_int_equal(front_end_ask(&nic->fe, &message), 0);
    assert_int_equal(message.size, sizeof(table));
    for (unsigned i = 0; i < 2; i++) {
        memcpy(&source->base[i], message.payload + 8 + 32 * i + 16, 8);
        assert_memory_equal(message.payload + 8 + 32 * i, &table[1 + 4 * i], 16);
        assert_int_equal(source->base[i] % PAGE, 0);
    }
}

/* The same by slots: a reply each, and one word for all. */
static void share_slots(struct testbed_nic *nic, struct source *source)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct guest_ram_region *region = &nic->ram.region[i];
        uint64_t words[5] = {0, region->gpa, region->size, region->uva, region->offset};
        struct vu_message message = vu_message(VU_ADD_MEM_REG, words, sizeof(words));

        vu_message_add_fd(&message, region->fd);
        assert_int_equal(front_end_ask(&nic->fe, &message), 0);
        assert_int_equal(message.size, sizeof(words));
        memcpy(&source->base[i], message.payload + 24, 8);
    }
}

static void guest_leaves_frames(struct testbed_nic *nic)
{
    uint8_t frame[FRAME_LEN];

    for (unsigned i = 0; i < 2; i++) {
        nic->ring[i]->kick = no_kick;
        nic->ring[i]->event_idx = (nic->fe.features & VIRTIO_F_EVENT_IDX) != 0;
        nic->ring[i]->ops->interrupts(nic->ring[i], INTERRUPTS_ON);
    }
    net_driver_post(&nic->net[0], nic->net[0].rx_slots);
    for (unsigned i = 0; i < FRAMES; i++) {
        net_frame_make(frame, sizeof(frame), nic->mac, i);
        net_driver_send(&nic->net[0], frame, sizeof(frame));
    }
}

static void guest_finds_frames(struct testbed_nic *nic)
{
    uint8_t frame[FRAME_LEN], got[NET_FRAME_MAX];

    for (unsigned i = 0; i < 2; i++)
        nic->ring[i]->kick = NULL;
    for (unsigned i = 0; i < FRAMES; i++) {
        net_frame_make(frame, sizeof(frame), nic->mac, i);
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS),
                         FRAME_LEN);
        assert_memory_equal(got, frame, FRAME_LEN);
    }
    net_driver_drain(&nic->net[0]);
}

static void migrate(void **state, uint32_t request,
                    void (*share)(struct testbed_nic *nic, struct source *source))
{
    struct testbed *bed = postcopy_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct source source = {.uffd = -1};
    uint64_t answer = 1;

    guest_leaves_frames(nic);
    memory_leaves(nic, &source);
    source.uffd = postcopy_bed_listen(&nic->fe);
    share(nic, &source);
    assert_int_equal(pthread_create(&source.thread, NULL, source_run, &source), 0);
    assert_int_equal(word(&nic->fe, request), 0);
    front_end_start_ring(&nic->fe, RX, nic->ring[RX]);
    front_end_start_ring(&nic->fe, TX, nic->ring[TX]);
    check(wait_eventfd(nic->fe.vring[RX].call_fd, WAIT_LONG_MS) > 0, "no frame came");
    testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    assert_true(source.faults >= 4);   /* the rings, frames, buffers */
    for (unsigned i = 0; i < 2; i++) { /* the rest, before the guest itself looks */
        for (uint64_t at = 0; at < source.page_len[i]; at += PAGE)
            page_place(&source, i, at);
    }
    guest_finds_frames(nic);
    assert_int_equal(front_end_get_u64(&nic->fe, VU_POSTCOPY_END, &answer), 0);
    assert_int_equal(answer, 0);
    source.ends = 1;
    pthread_join(source.thread, NULL);
    source_free(&source);
    testbed_exchange(nic, 0, 1000);
    testbed_finish(bed);
}

static void VU_PC_01_pages_come_when_they_are_touched(void **state)
{
    migrate(state, VU_SET_MEM_TABLE, share_table);
}

static void VU_PC_01_pages_of_slots(void **state)
{
    migrate(state, VU_ADD_MEM_REG, share_slots);
}

static void VU_PC_01_steps_out_of_order(void **state)
{
    struct testbed *bed = postcopy_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct source source = {.uffd = -1};
    uint64_t answer;

    assert_true(front_end_simple(&nic->fe, VU_POSTCOPY_LISTEN) > 0);
    assert_true(word(&nic->fe, VU_SET_MEM_TABLE) > 0);
    source.uffd = postcopy_bed_listen(&nic->fe);
    assert_true(front_end_simple(&nic->fe, VU_POSTCOPY_ADVISE) > 0);
    assert_true(front_end_simple(&nic->fe, VU_POSTCOPY_LISTEN) > 0);
    assert_true(word(&nic->fe, VU_SET_MEM_TABLE) > 0); /* no memory to go on with */
    share_slots(nic, &source);
    assert_true(front_end_rem_mem_reg(&nic->fe, &nic->ram.region[0]) > 0);
    assert_int_equal(word(&nic->fe, VU_ADD_MEM_REG), 0);
    assert_int_equal(word(&nic->fe, VU_ADD_MEM_REG), 0); /* a second time, as QEMU 7.2 */
    assert_int_equal(front_end_get_u64(&nic->fe, VU_POSTCOPY_END, &answer), 0);
    assert_int_equal(answer, 0);
    source_free(&source);
    testbed_finish_anew(bed);
}

/* The front-end dies while the daemon waits for a page: the kernel lets go of it. */
static void VU_PC_01_front_end_dies_before_the_pages_come(void **state)
{
    struct testbed *bed = postcopy_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct source source = {.uffd = -1};
    struct vu_message kick = vu_message_u64(VU_SET_VRING_KICK, TX | VU_NO_FD); /* starts at once */

    guest_leaves_frames(nic);
    memory_leaves(nic, &source);
    source.uffd = postcopy_bed_listen(&nic->fe);
    share_table(nic, &source);
    assert_int_equal(word(&nic->fe, VU_SET_MEM_TABLE), 0);
    assert_int_equal(front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, TX, nic->ring[TX]->size), 0);
    assert_int_equal(front_end_set_ring_addr(&nic->fe, TX, nic->ring[TX]), 0);
    assert_int_equal(front_end_send(&nic->fe, &kick), 0);
    sleep_ms(WAIT_QUIET_MS);
    source_free(&source);
    testbed_disconnect(nic);
    nic->ring[RX]->kick = nic->ring[TX]->kick = NULL;
    testbed_finish_anew(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_PC_01_pages_come_when_they_are_touched),
        TESTBED_TEST(VU_PC_01_pages_of_slots),
        TESTBED_TEST(VU_PC_01_steps_out_of_order),
        TESTBED_TEST(VU_PC_01_front_end_dies_before_the_pages_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
