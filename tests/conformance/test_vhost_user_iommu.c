/* SPDX-License-Identifier: MIT */
/*
 * A guest behind an IOMMU (ACCESS_PLATFORM): every descriptor, table and ring lies at an address
 * that the front-end has to be asked for, maps come and go with each packet, and what was taken
 * away is not touched any more.
 */
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "clockwork.h"
#include "iommu_bed.h"

enum {
    RX = 0,
    TX = 1,
};

/* ---- traffic ---------------------------------------------------------------------------- */

static void check_traffic(void **state, struct testbed_options options)
{
    static const uint32_t lengths[] = {60, 1514, 1000, 300};
    struct testbed *bed;
    struct testbed_nic *nic;

    options.iommu = 1;
    bed = testbed_start(state, &options);
    nic = &bed->nic[VICTIM];
    for (unsigned i = 0; i < 12; i++) {
        iommu_bed_exchange(nic, lengths[i % 4]);
        testbed_exchange(nic, 0, 100 + i);
    }
    check(iommu_bed_count(bed, "misses") > 100, "%u misses",
          (unsigned)iommu_bed_count(bed, "misses"));
    check(iommu_bed_count(bed, "invalidations") > 100, "few invalidations");
    check(iommu_bed_count(bed, "entries") <= IOMMU_CACHE_ENTRIES, "too many entries");
    assert_int_equal(iommu_bed_count(bed, "refused"), 0);
    assert_int_equal(iommu_bed_count(bed, "denied"), 0);
    assert_int_equal(nic->iommu.unknown, 0);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/0/tx_dropped"), 0);
    testbed_finish(bed);
}

static void VU_MEM_07_split(void **state)
{
    check_traffic(state, (struct testbed_options){.features = IOMMU_USUAL});
}

static void VU_MEM_07_split_indirect(void **state)
{
    check_traffic(state,
                  (struct testbed_options){.features = IOMMU_USUAL, .shape = CHAIN_INDIRECT});
}

static void VU_MEM_07_packed(void **state)
{
    check_traffic(state, (struct testbed_options){.features = IOMMU_PACKED});
}

static void VU_MEM_07_packed_indirect(void **state)
{
    check_traffic(state,
                  (struct testbed_options){.features = IOMMU_PACKED, .shape = CHAIN_INDIRECT});
}

/* Rings of several pages, small buffers: a frame takes many, and none is in one page's reach. */
static void VU_MEM_07_long_rings_and_mergeable_buffers(void **state)
{
    check_traffic(state, (struct testbed_options){.features = IOMMU_USUAL,
                                                  .mergeable = 1,
                                                  .queue_size = 1024,
                                                  .rx_slots = 400,
                                                  .rx_buffer_len = 300});
}

/* ---- what was taken away ------------------------------------------------------------------ */

/* A mapping of a buffer that is in flight. */
static struct iommu_mapping *mapping_of(struct testbed_nic *nic, unsigned vring, uint32_t id)
{
    struct iommu_mapping *mapping = nic->iommu.mapping;

    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++, mapping++) {
        if (mapping->ring == nic->ring[vring] && mapping->id == id)
            return mapping;
    }
    fail_msg("buffer %u of ring %u is not mapped", id, vring);
    return NULL;
}

static uint64_t other_memory(struct testbed_nic *nic, uint64_t len, uint8_t fill)
{
    uint64_t gpa = guest_ram_alloc(&nic->ram, 0, len, IOMMU_PAGE);

    memset(guest_ram_at(&nic->ram, gpa, len), fill, len);
    return gpa;
}

/* Receive buffers whose pages the device knows lie elsewhere from the answer on: a frame goes where
 * they are now, and where they were nothing changes. */
static void VU_MEM_07_pages_that_went_are_not_written(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_driver *net = &nic->net[0];
    uint64_t elsewhere = other_memory(nic, 64 * 2 * IOMMU_PAGE, 0x55);
    static uint8_t before[64 * 2048], frame[200];
    struct driver_used used;
    uint64_t count, at;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    memcpy(before, guest_ram_at(&nic->ram, net->rx_gpa[0], sizeof(before)), sizeof(before));
    for (uint32_t id = 0; id < 64; id++) {
        struct iommu_mapping *mapping = mapping_of(nic, RX, id);

        assert_int_equal(driver_iommu_invalidate(&nic->iommu, mapping->iova, mapping->len), 0);
        driver_iommu_move(&nic->iommu, mapping->iova, elsewhere + id * 2 * IOMMU_PAGE);
    }
    count = iommu_bed_count(bed, "misses");
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_send(net, frame, sizeof(frame));
    assert_true(driver_ring_wait(nic->ring[RX], WAIT_LONG_MS, &used));
    assert_int_equal(used.len, NET_HEADER_MODERN + sizeof(frame));
    assert_memory_equal(before, guest_ram_at(&nic->ram, net->rx_gpa[0], sizeof(before)),
                        sizeof(before));
    at = elsewhere + used.id * 2 * IOMMU_PAGE + net->rx_gpa[net->rx_slot_of[used.id]] % IOMMU_PAGE +
         NET_HEADER_MODERN;
    assert_memory_equal(guest_ram_at(&nic->ram, at, sizeof(frame)), frame, sizeof(frame));
    assert_true(iommu_bed_count(bed, "misses") > count);
    net_driver_drain(net);
    testbed_finish(bed);
}

/* The same for a frame that is sent: what is read is what lies there now. */
static void VU_MEM_07_pages_that_went_are_not_read(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct net_driver *net = &nic->net[0];
    uint8_t old[200], new[200], got[NET_FRAME_MAX];
    uint64_t elsewhere = other_memory(nic, 2 * IOMMU_PAGE, 0);
    uint64_t gpa;

    testbed_exchange(nic, 0, 300);
    net_frame_make(old, sizeof(old), nic->mac, 1);
    net_frame_make(new, sizeof(new), nic->mac, 2);
    net_driver_queue(net, old, sizeof(old));
    gpa = net->tx_gpa[net->tx_free[net->tx_free_count]];
    memcpy((uint8_t *)guest_ram_at(&nic->ram, elsewhere, 2 * IOMMU_PAGE) + gpa % IOMMU_PAGE +
               NET_HEADER_MODERN,
           new, sizeof(new));
    for (unsigned i = 0; i < IOMMU_MAPPINGS_MAX; i++) {
        struct iommu_mapping *each = &nic->iommu.mapping[i];

        if (each->ring != nic->ring[TX])
            continue;
        assert_int_equal(driver_iommu_update(&nic->iommu, each->iova), 0); /* it may know already */
        assert_int_equal(driver_iommu_invalidate(&nic->iommu, each->iova, each->len), 0);
        driver_iommu_move(&nic->iommu, each->iova, elsewhere);
    }
    driver_ring_flush(nic->ring[TX]);
    assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), sizeof(new));
    assert_memory_equal(got, new, sizeof(new));
    net_driver_drain(net);
    testbed_finish(bed);
}

/* From the answer on the device leaves a ring alone that it has no address for, and it goes on
 * with the next mapping. `all`: the whole address space goes, as QEMU says it. */
static void check_ring_goes(void **state, struct testbed_options options, int all)
{
    struct testbed *bed;
    struct testbed_nic *nic;
    static uint8_t frame[IOMMU_FRAMES][100], got[NET_FRAME_MAX], before[8192];
    uint64_t used;

    options.iommu = 1;
    bed = testbed_start(state, &options);
    nic = &bed->nic[VICTIM];
    used = nic->ring[TX]->device_area;
    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    nic->iommu.silent = 1;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(driver_iommu_invalidate(&nic->iommu, all ? 0 : iommu_bed_ring(nic, i),
                                                 all ? 0 : IOMMU_PAGE),
                         0);
    for (unsigned i = 0; i < IOMMU_FRAMES; i++) {
        net_frame_make(frame[i], sizeof(frame[i]), nic->mac, i);
        net_driver_queue(&nic->net[0], frame[i], sizeof(frame[i]));
    }
    nic->ring[TX]->ops->publish(nic->ring[TX]);
    memcpy(before, guest_ram_at(&nic->ram, used, IOMMU_PAGE), IOMMU_PAGE);
    memcpy(before + IOMMU_PAGE, guest_ram_at(&nic->ram, nic->ring[TX]->desc_area, IOMMU_PAGE),
           IOMMU_PAGE);
    driver_ring_kick(nic->ring[TX]);
    iommu_bed_settle(bed);
    assert_memory_equal(before, guest_ram_at(&nic->ram, used, IOMMU_PAGE), IOMMU_PAGE);
    assert_memory_equal(before + IOMMU_PAGE,
                        guest_ram_at(&nic->ram, nic->ring[TX]->desc_area, IOMMU_PAGE), IOMMU_PAGE);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 200);
    nic->iommu.silent = 0;
    assert_int_equal(driver_iommu_update(&nic->iommu, iommu_bed_ring(nic, RX)), 0);
    assert_int_equal(driver_iommu_update(&nic->iommu, iommu_bed_ring(nic, TX)), 0);
    for (unsigned i = 0; i < IOMMU_FRAMES; i++) {
        assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), WAIT_LONG_MS), 100);
        assert_memory_equal(got, frame[i], 100);
    }
    net_driver_drain(&nic->net[0]);
    testbed_finish(bed);
}

static void VU_MEM_07_ring_goes_and_comes(void **state)
{
    check_ring_goes(state, (struct testbed_options){.features = IOMMU_USUAL}, 0);
}

static void VU_MEM_07_packed_ring_goes_and_comes(void **state)
{
    check_ring_goes(state, (struct testbed_options){.features = IOMMU_PACKED}, 0);
}

static void VU_MEM_07_all_goes_and_comes(void **state)
{
    check_ring_goes(state, (struct testbed_options){.features = IOMMU_USUAL}, 1);
}

static void VU_MEM_07_all_goes_and_comes_packed(void **state)
{
    check_ring_goes(state, (struct testbed_options){.features = IOMMU_PACKED}, 1);
}

/* ---- who does not answer, or answers wrongly ---------------------------------------------- */

/* An operator who asks why a ring stands still sees what it waits for; 0: for nothing. */
static void check_waits(struct testbed *bed, unsigned ring, uint64_t page, const char *access)
{
    char path[64], shown[32], expected[32] = "";

    snprintf(path, sizeof(path), "nic0/vhost_user/iommu/waiting/%u/iova", ring);
    if (page != 0)
        snprintf(expected, sizeof(expected), "0x%llx", (unsigned long long)page);
    daemon_text(&bed->daemon, path, shown, sizeof(shown));
    assert_string_equal(shown, expected);
    snprintf(path, sizeof(path), "nic0/vhost_user/iommu/waiting/%u/access", ring);
    daemon_text(&bed->daemon, path, shown, sizeof(shown));
    assert_string_equal(shown, page == 0 ? "" : access);
}

static uint64_t page_of(uint64_t iova)
{
    return iova & ~(uint64_t)(IOMMU_PAGE - 1);
}

/* Nothing is mapped: rings wait for their parts, with one question each, and cost nothing; they can
 * be stopped as ever. */
static void VU_MEM_07_rings_wait_for_a_front_end_that_is_silent(void **state)
{
    struct testbed *bed = iommu_bed_start_silent(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint32_t base = 1;

    assert_int_equal(iommu_bed_count(bed, "misses"), 2);
    assert_int_equal(iommu_bed_count(bed, "entries"), 0);
    for (unsigned i = 0; i < 2; i++)
        check_waits(bed, i, page_of(iommu_bed_ring(nic, i)), "read");
    testbed_exchange(&bed->nic[BYSTANDER], 0, 200);
    assert_int_equal(front_end_get_vring_base(&nic->fe, TX, &base), 0);
    assert_int_equal(base, 0);
    check_waits(bed, TX, 0, NULL);
    front_end_start_vring(&nic->fe, TX, &nic->vring[TX]);
    nic->iommu.silent = 0;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(driver_iommu_update(&nic->iommu, iommu_bed_ring(nic, i)), 0);
    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    for (unsigned i = 0; i < 2; i++)
        check_waits(bed, i, 0, NULL);
    testbed_finish(bed);
}

/* A buffer that is mapped nowhere holds up its own ring only. */
static void VU_MEM_07_buffer_that_is_mapped_nowhere(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    struct driver_desc desc = {.addr = 0xdead0000, .len = 100};
    uint16_t used;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    used = driver_split_used_idx(tx);
    driver_split_offer(tx, testbed_write_chain(tx, &desc, 1));
    testbed_publish(tx);
    iommu_bed_settle(bed);
    assert_int_equal(nic->iommu.last_asked, 0xdead0000);
    check_waits(bed, TX, 0xdead0000, "read");
    assert_int_equal(nic->iommu.unknown, 1);
    for (unsigned i = 0; i < 20; i++)
        driver_ring_kick(&tx->ring);
    iommu_bed_settle(bed);
    assert_int_equal(nic->iommu.unknown, 1);
    assert_int_equal(driver_split_used_idx(tx), used);
    assert_int_equal(testbed_tx_drops(bed), 0);
    testbed_finish_anew(bed);
}

/* Nobody could map what runs past the address space: it is bad at once, and not asked for. */
static void VU_MEM_07_buffer_that_wraps(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    const struct driver_desc descs[] = {
        {.addr = UINT64_MAX - 0x7ff, .len = 0x1000},
        {.addr = UINT64_MAX - 15, .len = 32, .flags = DESC_INDIRECT},
    };
    uint64_t misses, drops;
    uint16_t used;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    misses = iommu_bed_count(bed, "misses");
    drops = testbed_tx_drops(bed);
    used = driver_split_used_idx(tx);
    for (unsigned i = 0; i < 2; i++)
        driver_split_offer(tx, testbed_write_chain(tx, &descs[i], 1));
    testbed_publish(tx);
    iommu_bed_settle(bed);
    assert_int_equal(driver_split_used_idx(tx), (uint16_t)(used + 2));
    assert_int_equal(testbed_tx_drops(bed), drops + 2);
    assert_int_equal(iommu_bed_count(bed, "misses"), misses);
    testbed_finish_anew(bed);
}

/* A page that lies apart from its neighbours. */
static void tell_page(struct testbed_nic *nic, uint64_t iova, uint64_t gpa)
{
    struct iotlb_message message = {.iova = iova,
                                    .size = IOMMU_PAGE,
                                    .uva = guest_ram_uva(&nic->ram, gpa),
                                    .perm = IOMMU_BOTH,
                                    .type = IOTLB_UPDATE};

    assert_int_equal(driver_iommu_tell(&nic->iommu, &message), 0);
}

/* A chain that the cache could never hold as a whole is a bad one, not an endless question. */
static void VU_MEM_07_chain_that_is_more_than_the_cache(void **state)
{
    struct testbed *bed = testbed_start(
        state, &(struct testbed_options){.features = IOMMU_USUAL, .iommu = 1, .queue_size = 1024});
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split *tx = testbed_tx(nic, 0);
    const struct driver_desc desc = {.addr = 1ull << 40, .len = 16 << 20};
    uint16_t used;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    for (unsigned i = 0; i < IOMMU_CACHE_ENTRIES / 2 + 1; i++)
        tell_page(nic, desc.addr + i * (uint64_t)IOMMU_PAGE,
                  TESTBED_RAM_GPA + i % 2 * 2 * IOMMU_PAGE);
    used = driver_split_used_idx(tx);
    driver_split_offer(tx, testbed_write_chain(tx, &desc, 1));
    testbed_publish(tx);
    iommu_bed_settle(bed);
    assert_int_equal(driver_split_used_idx(tx), (uint16_t)(used + 1));
    assert_int_equal(nic->iommu.unknown, 0);
    testbed_finish_anew(bed);
}

static void check_last_refusal(struct testbed *bed, const char *words)
{
    char text[256];

    daemon_text(&bed->daemon, "nic0/vhost_user/last_refusal", text, sizeof(text));
    check(strstr(text, words) != NULL, "last_refusal says: %s", text);
}

/* A ring whose pages come back scattered rests, and inspect says why; it goes on with others. */
static void VU_MEM_07_ring_in_pieces(void **state)
{
    struct testbed *bed = testbed_start(
        state, &(struct testbed_options){.features = IOMMU_USUAL, .iommu = 1, .queue_size = 1024});
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t at = iommu_bed_ring(nic, TX);

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    nic->iommu.silent = 1;
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, at, 4 * IOMMU_PAGE), 0);
    for (unsigned i = 0; i < 4; i++)
        tell_page(nic, at + i * (uint64_t)IOMMU_PAGE, TESTBED_RAM_GPA + i % 2 * 2 * IOMMU_PAGE);
    check_last_refusal(bed, "in pieces");
    nic->iommu.silent = 0;
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, at, 4 * IOMMU_PAGE), 0);
    iommu_bed_exchange(nic, 300);
    testbed_finish(bed);
}

/* The ring behind the last pair, without a control queue: nobody is asked for what nobody uses. */
static void VU_MEM_07_ring_that_nobody_uses(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct driver_split_options options = {.size = 64};
    struct driver_split extra;
    uint64_t misses;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    misses = iommu_bed_count(bed, "misses");
    driver_split_init(&extra, &nic->ram, &options);
    extra.ring.dma = &nic->iommu.dma;
    front_end_start_ring(&nic->fe, 2, &extra.ring);
    iommu_bed_settle(bed);
    assert_int_equal(iommu_bed_count(bed, "misses"), misses);
    iommu_bed_exchange(nic, 300);
    testbed_finish(bed);
    driver_split_free(&extra);
}

/* A NIC that could ask nobody says so. */
static void VU_MEM_07_no_channel_to_ask_by(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    assert_int_equal(shutdown(nic->fe.backend_fd, SHUT_RDWR), 0);
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, 0, 0), 0);
    check_last_refusal(bed, "no channel to ask");
    check_waits(bed, RX, page_of(iommu_bed_ring(nic, RX)), "read");
    testbed_finish_anew(bed);
}

/* A buffer that is to be written and may only be read: asked for once; the answer makes it a bad
 * one, which is completed and counted, and the front-end hears of it. */
static void VU_MEM_07_writes_that_are_not_allowed(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[100];
    struct driver_used used;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, 0, 0), 0);
    iommu_bed_settle(bed); /* the rings are there again, and of the buffers nothing */
    nic->iommu.read_only = 1;
    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    net_driver_send(&nic->net[0], frame, sizeof(frame));
    assert_true(driver_ring_wait(nic->ring[RX], WAIT_LONG_MS, &used));
    assert_int_equal(used.len, 0);
    iommu_bed_settle(bed);
    assert_true(iommu_bed_count(bed, "denied") > 0);
    assert_true(nic->iommu.failed > 0);
    assert_true(testbed_rx_bad_buffers(bed) > 0);
    testbed_finish_anew(bed);
}

/* What can't be a mapping is refused and counted, and changes nothing. */
static void VU_MEM_07_mappings_that_can_not_be(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t uva = guest_ram_uva(&nic->ram, TESTBED_RAM_GPA);
    uint64_t end = guest_ram_uva(&nic->ram, TESTBED_END_GPA - 1) + 1;
    const struct iotlb_message bad[] = {
        {1 << 20, 0, uva, IOMMU_BOTH, IOTLB_UPDATE, {0}},              /* nothing */
        {UINT64_MAX - 4095, 8192, uva, IOMMU_BOTH, IOTLB_UPDATE, {0}}, /* wraps */
        {1 << 20, UINT64_MAX, uva, IOMMU_BOTH, IOTLB_UPDATE, {0}},
        {1 << 20, 4096, UINT64_MAX - 100, IOMMU_BOTH, IOTLB_UPDATE, {0}},
        {1 << 20, 4096, uva - 1, IOMMU_BOTH, IOTLB_UPDATE, {0}}, /* in no region */
        {1 << 20, 4096, 0, IOMMU_BOTH, IOTLB_UPDATE, {0}},
        {1 << 20, 4096, end - 4095, IOMMU_BOTH, IOTLB_UPDATE, {0}}, /* runs out of one */
        {1 << 20, 4096, uva, 0, IOTLB_UPDATE, {0}},                 /* allows nothing */
        {1 << 20, 4096, uva, 4, IOTLB_UPDATE, {0}},                 /* … or what is not known */
        {1 << 20, 4096, uva, 0xff, IOTLB_UPDATE, {0}},
        {1 << 20, 4096, uva, IOMMU_BOTH, IOTLB_MISS, {0}}, /* not a front-end's to say */
        {1 << 20, 4096, uva, IOMMU_BOTH, IOTLB_ACCESS_FAIL, {0}},
        {1 << 20, 4096, uva, IOMMU_BOTH, 0, {0}},
        {1 << 20, 4096, uva, IOMMU_BOTH, 5, {0}},
        {1 << 20, 4096, uva, IOMMU_BOTH, 255, {0}},
    };
    struct vu_message brief = vu_message(VU_IOTLB_MSG, &bad[0], 25);
    uint64_t entries;

    testbed_exchange(nic, 0, 300);
    iommu_bed_settle(bed);
    entries = iommu_bed_count(bed, "entries");
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check(driver_iommu_tell(&nic->iommu, &bad[i]) > 0, "message %u was accepted", i);
    assert_int_equal(iommu_bed_count(bed, "refused"), sizeof(bad) / sizeof(bad[0]));
    assert_int_equal(iommu_bed_count(bed, "entries"), entries);
    testbed_exchange(nic, 0, 300);
    assert_true(front_end_request(&nic->fe, &brief, 0) < 0); /* no message at all */
    testbed_finish_anew(bed);
}

/* Far more than the cache holds: it stays as large as it is, and the oldest are asked for again. */
static void VU_MEM_07_more_mappings_than_there_is_room_for(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t uva = guest_ram_uva(&nic->ram, TESTBED_RAM_GPA);

    testbed_exchange(nic, 0, 300);
    for (unsigned i = 0; i < 2 * IOMMU_CACHE_ENTRIES; i++) {
        struct iotlb_message message = {.iova = (1ull << 40) + i * 8192ull,
                                        .size = 4096,
                                        .uva = uva + (i * 8192ull) % (64 << 20),
                                        .perm = IOMMU_BOTH,
                                        .type = IOTLB_UPDATE};

        assert_int_equal(driver_iommu_tell(&nic->iommu, &message), 0);
    }
    assert_int_equal(iommu_bed_count(bed, "entries"), IOMMU_CACHE_ENTRIES);
    assert_true(iommu_bed_count(bed, "evicted") >= IOMMU_CACHE_ENTRIES);
    testbed_exchange(&bed->nic[BYSTANDER], 0, 300);
    for (unsigned i = 0; i < 10; i++)
        iommu_bed_exchange(nic, 500);
    /* Nothing that overlaps is kept twice. */
    assert_int_equal(driver_iommu_invalidate(&nic->iommu, 1ull << 40, 1ull << 30), 0);
    assert_true(iommu_bed_count(bed, "entries") < IOMMU_CACHE_ENTRIES / 2);
    iommu_bed_exchange(nic, 500);
    testbed_finish(bed);
}

/* ---- the agreement ------------------------------------------------------------------------ */

static uint64_t offered_features(struct testbed_nic *nic)
{
    testbed_reconnect_acknowledging(nic);
    return nic->fe.offered & (IOMMU_USUAL | VHOST_F_PROTOCOL_FEATURES);
}

/* GEN-FT-10: the operator counts on the IOMMU; a driver that does without gets no card. */
static void GEN_FT_10_driver_that_does_not_accept(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t features = offered_features(nic);
    uint64_t status = 0;

    assert_true(nic->fe.offered & VIRTIO_F_ACCESS_PLATFORM);
    assert_true(front_end_set_features(&nic->fe, features) > 0);
    assert_int_equal(
        front_end_set_status(&nic->fe, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK), 0);
    assert_int_equal(front_end_get_status(&nic->fe, &status), 0);
    assert_int_equal(status & STATUS_FEATURES_OK, 0);
    assert_int_equal(front_end_set_features(&nic->fe, features | VIRTIO_F_ACCESS_PLATFORM), 0);
    testbed_finish_anew(bed);
}

/* Off unless it is asked for, and then nothing of it can be said. */
static void GEN_FT_10_not_offered_by_default(void **state)
{
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct iotlb_message message = {.size = 4096,
                                    .uva = guest_ram_uva(&nic->ram, TESTBED_RAM_GPA),
                                    .perm = IOMMU_BOTH,
                                    .type = IOTLB_UPDATE};

    assert_false(nic->fe.offered & VIRTIO_F_ACCESS_PLATFORM);
    assert_true(driver_iommu_tell(&nic->iommu, &message) > 0);
    testbed_exchange(nic, 0, 300);
    testbed_finish_anew(bed);
}

/* VU-PF-03: nobody could be asked without the channel, nor waited for without acknowledgements. */
static void VU_PF_03_needs_a_channel_and_answers(void **state)
{
    struct testbed *bed = iommu_bed_start(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t features = offered_features(nic) | VIRTIO_F_ACCESS_PLATFORM;

    assert_true((nic->fe.pf_offered & VU_PF_BACKEND_REQ) && (nic->fe.pf_offered & VU_PF_REPLY_ACK));
    assert_int_equal(front_end_set_protocol_features(&nic->fe, VU_PF_REPLY_ACK), 0);
    assert_true(front_end_set_features(&nic->fe, features) > 0);
    assert_int_equal(front_end_set_protocol_features(&nic->fe, VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ),
                     0);
    assert_int_equal(front_end_set_features(&nic->fe, features), 0);
    testbed_finish_anew(bed);
}

static const struct CMUnitTest tests[] = {
    TESTBED_TEST(VU_MEM_07_split),
    TESTBED_TEST(VU_MEM_07_split_indirect),
    TESTBED_TEST(VU_MEM_07_packed),
    TESTBED_TEST(VU_MEM_07_packed_indirect),
    TESTBED_TEST(VU_MEM_07_long_rings_and_mergeable_buffers),
    TESTBED_TEST(VU_MEM_07_pages_that_went_are_not_written),
    TESTBED_TEST(VU_MEM_07_pages_that_went_are_not_read),
    TESTBED_TEST(VU_MEM_07_ring_goes_and_comes),
    TESTBED_TEST(VU_MEM_07_packed_ring_goes_and_comes),
    TESTBED_TEST(VU_MEM_07_all_goes_and_comes),
    TESTBED_TEST(VU_MEM_07_all_goes_and_comes_packed),
    TESTBED_TEST(VU_MEM_07_rings_wait_for_a_front_end_that_is_silent),
    TESTBED_TEST(VU_MEM_07_buffer_that_is_mapped_nowhere),
    TESTBED_TEST(VU_MEM_07_buffer_that_wraps),
    TESTBED_TEST(VU_MEM_07_chain_that_is_more_than_the_cache),
    TESTBED_TEST(VU_MEM_07_ring_in_pieces),
    TESTBED_TEST(VU_MEM_07_ring_that_nobody_uses),
    TESTBED_TEST(VU_MEM_07_no_channel_to_ask_by),
    TESTBED_TEST(VU_MEM_07_writes_that_are_not_allowed),
    TESTBED_TEST(VU_MEM_07_mappings_that_can_not_be),
    TESTBED_TEST(VU_MEM_07_more_mappings_than_there_is_room_for),
    TESTBED_TEST(GEN_FT_10_driver_that_does_not_accept),
    TESTBED_TEST(GEN_FT_10_not_offered_by_default),
    TESTBED_TEST(VU_PF_03_needs_a_channel_and_answers),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
