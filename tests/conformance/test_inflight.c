/* SPDX-License-Identifier: MIT */
/* GET_INFLIGHT_FD and SET_INFLIGHT_FD, what a front-end may do to the memory, and odd bases. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "testbed.h"

enum {
    SIZE = 64,
    HEADER_LEN = 32, /* of a packed region */
    AREAS_KEPT = 2,  /* by a NIC, of those that it made */
};

#define PACKED (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED)

static struct vu_inflight area_of(unsigned queues, unsigned size)
{
    return (struct vu_inflight){.queues = (uint16_t)queues, .queue_size = (uint16_t)size, .fd = -1};
}

/* A session on which features are agreed and nothing else was said. */
static struct testbed *session(void **state, uint64_t features)
{
    struct testbed_options options = {.features = features, .queue_size = SIZE};
    struct testbed *bed = testbed_start(state, &options);

    bed->fds_at_rest += AREAS_KEPT;
    testbed_reconnect_acknowledging(&bed->nic[VICTIM]);
    front_end_hello(&bed->nic[VICTIM].fe, &bed->nic[VICTIM].setup);
    return bed;
}

static uint8_t *map_area(const struct vu_inflight *area)
{
    uint8_t *map = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, area->fd, 0);

    assert_true(map != MAP_FAILED);
    return map;
}

static void VU_RC_05_VU_RC_02_area_is_made(void **state)
{
    struct testbed *bed = session(state, 0);
    struct vu_inflight area = area_of(2, SIZE);
    struct stat status;
    uint8_t *map;

    assert_int_equal(front_end_get_inflight(&bed->nic[VICTIM].fe, &area, VU_INFLIGHT_LEN), 0);
    assert_int_equal(area.offset, 0);
    assert_int_equal(area.queues, 2);
    assert_int_equal(area.queue_size, SIZE);
    assert_true(area.size >= 2 * (16 + SIZE * 16));
    assert_int_equal(fstat(area.fd, &status), 0);
    assert_int_equal(status.st_size, area.size);
    assert_int_equal(fcntl(area.fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
                     F_SEAL_SHRINK | F_SEAL_GROW);
    map = map_area(&area);
    for (uint64_t i = 0; i < area.size; i++)
        assert_int_equal(map[i], 0);
    munmap(map, area.size);
    assert_int_equal(front_end_set_inflight(&bed->nic[VICTIM].fe, &area, VU_INFLIGHT_LEN), 0);
    close(area.fd);
    testbed_finish_anew(bed);
}

static void VU_RC_05_VU_RC_02_area_of_packed_rings_has_a_free_list(void **state)
{
    struct testbed *bed = session(state, PACKED);
    struct vu_inflight area = area_of(2, SIZE);
    size_t stride = (HEADER_LEN + SIZE * 32 + 63) / 64 * 64;
    uint8_t *map;

    assert_int_equal(front_end_get_inflight(&bed->nic[VICTIM].fe, &area, VU_INFLIGHT_LEN), 0);
    assert_int_equal(area.size, 2 * stride);
    map = map_area(&area);
    for (unsigned q = 0; q < 2; q++) {
        const uint8_t *region = map + q * stride;

        assert_int_equal(region[8] | region[9], 0); /* version: nothing was recorded */
        assert_int_equal(region[20], 1);            /* wrap counters */
        assert_int_equal(region[21], 1);
        for (unsigned i = 0; i < SIZE; i++)
            assert_int_equal(wire_get16(region + HEADER_LEN + 32 * i + 2, WIRE_LITTLE), i + 1);
    }
    munmap(map, area.size);
    close(area.fd);
    testbed_finish_anew(bed);
}

/* 20 bytes, or 24 with the padding of the C struct. */
static void VU_HDR_04_both_lengths_of_a_description(void **state)
{
    static const uint32_t len[] = {VU_INFLIGHT_LEN_BARE, VU_INFLIGHT_LEN};
    struct testbed *bed = session(state, 0);
    struct front_end *fe = &bed->nic[VICTIM].fe;

    for (unsigned i = 0; i < 2; i++) {
        struct vu_inflight area = area_of(2, SIZE);

        assert_int_equal(front_end_get_inflight(fe, &area, len[i]), 0);
        assert_int_equal(front_end_set_inflight(fe, &area, len[i]), 0);
        close(area.fd);
    }
    testbed_finish_anew(bed);
}

static void expect_refused(struct front_end *fe, uint32_t request, const struct vu_inflight *area)
{
    struct vu_message message = vu_message(request, area, VU_INFLIGHT_LEN);

    if (request == VU_SET_INFLIGHT_FD && area->fd >= 0)
        vu_message_add_fd(&message, area->fd);
    assert_int_equal(front_end_request(fe, &message, 0), 1);
}

static void VU_SEC_05_VU_RC_05_areas_that_can_not_be(void **state)
{
    static const uint16_t bad[][2] = {{0, SIZE},     {4, SIZE},  {256, SIZE}, {65535, 65535},
                                      {2, 0},        {2, 32769}, {2, 65535},  {0, 0},
                                      {65535, SIZE}, {1, 65535}};
    struct testbed *bed = session(state, 0);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_inflight good = area_of(2, SIZE);

    assert_int_equal(front_end_get_inflight(fe, &good, VU_INFLIGHT_LEN), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vu_inflight area = good;

        area.queues = bad[i][0];
        area.queue_size = bad[i][1];
        expect_refused(fe, VU_GET_INFLIGHT_FD, &area);
        expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    }
    close(good.fd);
    testbed_finish_anew(bed);
}

static void VU_RC_05_memory_that_is_too_small(void **state)
{
    struct testbed *bed = session(state, 0);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_inflight good = area_of(2, SIZE);
    struct vu_inflight area;
    int pipes[2];

    assert_int_equal(front_end_get_inflight(fe, &good, VU_INFLIGHT_LEN), 0);
    area = good;
    area.fd = -1; /* none */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area = good;
    area.size = 2 * (16 + SIZE * 16) - 1; /* no room for the second ring */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area.size = good.size + 1; /* runs past the file's end */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area.size = UINT64_MAX;
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area = good;
    area.offset = 64; /* so does this */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area.offset = UINT64_MAX - 63; /* wraps */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    area.offset = 7; /* misaligned */
    area.size -= 64;
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    assert_int_equal(pipe(pipes), 0);
    area = good;
    area.fd = pipes[0]; /* no memory file */
    expect_refused(fe, VU_SET_INFLIGHT_FD, &area);
    close(pipes[0]);
    close(pipes[1]);
    close(good.fd);
    testbed_finish_anew(bed);
}

/* A file without blocks, longer than any process has addresses: what rings need of it is taken. */
static void sparse_memory_takes_no_address_space(void **state)
{
    struct testbed *bed = session(state, 0);
    struct vu_inflight area = area_of(2, SIZE);

    area.size = 1ull << 60;
    area.fd = memfd_create("area", MFD_CLOEXEC);
    assert_int_equal(ftruncate(area.fd, (off_t)area.size), 0);
    assert_int_equal(front_end_set_inflight(&bed->nic[VICTIM].fe, &area, VU_INFLIGHT_LEN), 0);
    close(area.fd);
    testbed_finish_anew(bed);
}

static void VU_SEC_08_areas_that_come_at_the_wrong_time(void **state)
{
    struct testbed_options options = {.queue_size = SIZE};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_inflight area = area_of(2, SIZE);

    bed->fds_at_rest += AREAS_KEPT;
    assert_int_equal(front_end_get_inflight(&nic->fe, &area, VU_INFLIGHT_LEN), 0);
    expect_refused(&nic->fe, VU_SET_INFLIGHT_FD, &area); /* rings run */
    testbed_exchange(nic, 0, 100);
    testbed_reconnect(nic);
    nic->setup.pf = VU_PF_REPLY_ACK; /* it was not agreed on */
    front_end_hello(&nic->fe, &nic->setup);
    expect_refused(&nic->fe, VU_GET_INFLIGHT_FD, &area);
    expect_refused(&nic->fe, VU_SET_INFLIGHT_FD, &area);
    close(area.fd);
    nic->setup.pf = nic->options.pf;
    testbed_finish_anew(bed);
}

static unsigned maps_of(struct testbed *bed)
{
    char path[64];
    unsigned lines = 0;
    FILE *file;
    int byte;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)bed->daemon.pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while ((byte = fgetc(file)) != EOF)
        lines += byte == '\n';
    fclose(file);
    return lines;
}

static void V01_V04_areas_do_not_pile_up(void **state)
{
    struct testbed *bed = session(state, 0);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    unsigned fds = 0, maps = 0;

    for (unsigned i = 0; i < 500; i++) {
        struct vu_inflight area = area_of(2, SIZE);

        assert_int_equal(front_end_get_inflight(fe, &area, VU_INFLIGHT_LEN), 0);
        assert_int_equal(front_end_set_inflight(fe, &area, VU_INFLIGHT_LEN), 0);
        close(area.fd);
        if (i == 50) {
            fds = daemon_fd_count_settled(&bed->daemon);
            maps = maps_of(bed);
        }
    }
    daemon_check_fds(&bed->daemon, fds);
    assert_in_range(maps_of(bed), 0, maps + 8); /* a sanitizer's own come and go */
    testbed_finish_anew(bed);
}

static uint64_t blocks_of(const struct vu_inflight *area)
{
    struct stat status;

    assert_int_equal(fstat(area->fd, &status), 0);
    return (uint64_t)status.st_blocks;
}

/* The memory of areas is the daemon's to pay, however many files of them the front-end keeps: it
 * has the one in use and the last one, in one session or in many. */
static void VU_RC_05_areas_that_are_kept_cost_nothing(void **state)
{
    struct testbed *bed = session(state, PACKED);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_inflight area[24];
    unsigned full = 0;

    for (unsigned i = 0; i < 24; i++) {
        area[i] = area_of(2, SIZE);
        assert_int_equal(front_end_get_inflight(fe, &area[i], VU_INFLIGHT_LEN), 0);
        check(blocks_of(&area[i]) != 0, "area %u is empty", i);
        if (i % 3 == 0)
            assert_int_equal(front_end_set_inflight(fe, &area[i], VU_INFLIGHT_LEN), 0);
        check(blocks_of(&area[i / 3 * 3]) != 0 || i % 8 < i % 3,
              "area %u was emptied while it was in use", i / 3 * 3);
        if (i % 8 == 7) {
            testbed_reconnect_acknowledging(&bed->nic[VICTIM]);
            front_end_hello(fe, &bed->nic[VICTIM].setup);
        }
    }
    for (unsigned i = 0; i < 24; i++) {
        full += blocks_of(&area[i]) != 0;
        close(area[i].fd);
    }
    assert_in_range(full, 1, 2);
    testbed_finish_anew(bed);
}

/* The daemon that takes over knows which ones the one before has made. */
static void areas_that_are_kept_cost_nothing_after_takeovers(void **state)
{
    struct testbed *bed = session(state, PACKED);
    struct front_end *fe = &bed->nic[VICTIM].fe;
    struct vu_inflight area[6];
    unsigned full = 0;

    for (unsigned i = 0; i < 6; i++) {
        area[i] = area_of(2, SIZE);
        assert_int_equal(front_end_get_inflight(fe, &area[i], VU_INFLIGHT_LEN), 0);
        if (i % 2 == 0)
            assert_int_equal(front_end_set_inflight(fe, &area[i], VU_INFLIGHT_LEN), 0);
        daemon_take_over(&bed->daemon, getenv("VIONIC"));
        check(blocks_of(&area[i / 2 * 2]) != 0, "area %u was emptied while it was in use", i);
    }
    for (unsigned i = 0; i < 6; i++) {
        full += blocks_of(&area[i]) != 0;
        close(area[i].fd);
    }
    assert_in_range(full, 1, 2);
    testbed_finish_anew(bed);
}

/* Words of a record that no ring can have led to, or any others: the ring starts all the same, from
 * where its driver says. */
static void VU_RC_04_records_are_bounded(void **state)
{
    struct vu_inflight area = area_of(0, 0);
    struct testbed_options options = {.features = PACKED, .queue_size = SIZE};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t *map;

    bed->fds_at_rest += AREAS_KEPT;
    testbed_connect(&bed->nic[BYSTANDER]);
    nic->setup.inflight = &area;
    testbed_connect(nic);
    map = map_area(&area);
    srand(1);
    for (unsigned round = 0; round < 60; round++) {
        testbed_exchange(nic, 0, 100 + round);
        front_end_close(&nic->fe);
        testbed_restart_rings(nic, 0);
        if (round % 3 == 0) { /* all of it, a version that is known apart */
            for (uint64_t i = 0; i < area.size; i++)
                map[i] = (uint8_t)rand();
        } else {
            for (unsigned i = 0; i < 1 + round / 10; i++) /* the places, and entries */
                map[(round % 2 ? 0 : area.size / 2) + 10 + (unsigned)rand() % 200] =
                    (uint8_t)rand();
        }
        map[8] = map[area.size / 2 + 8] = 1;
        map[9] = map[area.size / 2 + 9] = 0;
        testbed_connect(nic);
        daemon_check_alive(&bed->daemon);
    }
    assert_true(daemon_number(&bed->daemon, "nic0/queues/0/rx_ring/records_refused") > 5);
    munmap(map, area.size);
    close(area.fd);
    testbed_finish(bed);
}

/* Its file is cut off under the daemon while it records. */
static void VU_RC_04_area_that_is_truncated(void **state)
{
    struct testbed_options options = {.features = PACKED, .queue_size = SIZE};
    struct testbed *bed = testbed_start_daemon(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct vu_inflight area = area_of(2, SIZE);

    area.size = 2 * (HEADER_LEN + SIZE * 32 + 32);
    area.fd = memfd_create("area", MFD_CLOEXEC);
    assert_int_equal(ftruncate(area.fd, 1 << 20), 0);
    testbed_connect(&bed->nic[BYSTANDER]);
    nic->setup.inflight = &area;
    testbed_connect(nic);
    testbed_exchange(nic, 0, 100);
    assert_int_equal(ftruncate(area.fd, 0), 0);
    for (unsigned i = 0; i < 10; i++)
        testbed_exchange(nic, 0, 100);
    close(area.fd);
    nic->setup.inflight = NULL;
    testbed_finish(bed);
}

/* Frames that wait when the daemon comes back, and a base that is not where the ring stands. */
static void goes_on(void **state, struct testbed_options options, enum front_end_base base)
{
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    static uint8_t frame[500], got[2048];

    for (unsigned round = 0; round < 4; round++) {
        testbed_exchange(nic, 0, 100);
        daemon_kill(&bed->daemon);
        front_end_close(&nic->fe);
        for (unsigned i = 0; i < 20; i++) {
            net_frame_make(frame, sizeof(frame), nic->mac, i);
            net_driver_queue(&nic->net[0], frame, sizeof(frame));
        }
        nic->ring[1]->ops->publish(nic->ring[1]);
        daemon_start(&bed->daemon);
        front_end_connect(&nic->fe, nic->socket);
        nic->setup.base = base;
        nic->options.start(&nic->fe, &nic->setup);
        for (unsigned i = 0; i < 20; i++) {
            net_frame_make(frame, sizeof(frame), nic->mac, i);
            assert_int_equal(net_driver_receive(&nic->net[0], got, sizeof(got), 10000), 500);
            assert_memory_equal(got, frame, sizeof(frame));
        }
        net_driver_drain(&nic->net[0]);
    }
    testbed_disconnect(&bed->nic[BYSTANDER]);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

static void VU_RC_07_base_that_skips_what_is_queued(void **state)
{
    goes_on(state, (struct testbed_options){.start = front_end_start_cloud_hypervisor},
            BASE_BEHIND);
}

static void VU_RC_07_split_ring_from_an_old_base(void **state)
{
    goes_on(state, (struct testbed_options){.start = front_end_start_qemu}, BASE_FIRST);
}

static void VU_RC_07_packed_ring_from_an_old_base(void **state)
{
    goes_on(state, (struct testbed_options){.start = front_end_start_qemu, .features = PACKED},
            BASE_FIRST);
}

/* A packed ring that its driver made anew while no daemon ran, and one of another machine on the
 * same socket: neither is taken for the one that is recorded. */
static void VU_RC_04_records_of_another_life(void **state)
{
    struct testbed_options options = {.features = PACKED, .queue_size = SIZE};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned round = 0; round < 6; round++) {
        for (unsigned i = 0; i < 3 + 30 * round; i++)
            testbed_exchange(nic, 0, 100);
        daemon_kill(&bed->daemon);
        front_end_close(&nic->fe);
        if (round % 2) { /* memory of its own, at the same addresses */
            struct guest_ram_region *region = &nic->ram.region[0];
            int fd = memfd_create("ram", MFD_CLOEXEC);

            assert_int_equal(ftruncate(fd, (off_t)(region->offset + region->size)), 0);
            assert_true(mmap(region->map, region->size, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_FIXED, fd, (off_t)region->offset) != MAP_FAILED);
            close(region->fd);
            region->fd = fd;
        }
        testbed_restart_rings(nic, 0);
        daemon_start(&bed->daemon);
        testbed_connect(nic);
    }
    testbed_exchange(nic, 0, 100);
    testbed_disconnect(&bed->nic[BYSTANDER]);
    testbed_connect(&bed->nic[BYSTANDER]);
    testbed_finish(bed);
}

/* Where others may make files, as in /tmp, a link of theirs may lead to any file of ours. */
static void rings_file_with_a_second_name_is_left_alone(void **state)
{
    static const char precious[] = "precious";
    struct testbed_options options = {.features = PACKED, .queue_size = SIZE};
    struct testbed *bed = *state;
    char path[DAEMON_PATH_LEN], link_path[DAEMON_PATH_LEN + 8], text[16] = "";
    int fd;

    snprintf(path, sizeof(path), "%.40s/precious", bed->daemon.directory);
    daemon_socket(&bed->daemon, VICTIM, link_path);
    strcat(link_path, ".rings");
    fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(write(fd, precious, sizeof(precious)), sizeof(precious));
    assert_int_equal(link(path, link_path), 0);
    bed = testbed_start(state, &options);
    testbed_exchange(&bed->nic[VICTIM], 0, 100);
    assert_int_equal(pread(fd, text, sizeof(text), 0), sizeof(precious));
    assert_string_equal(text, precious);
    close(fd);
    unlink(path);
    unlink(link_path);
    testbed_finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_RC_05_VU_RC_02_area_is_made),
        TESTBED_TEST(VU_RC_05_VU_RC_02_area_of_packed_rings_has_a_free_list),
        TESTBED_TEST(VU_HDR_04_both_lengths_of_a_description),
        TESTBED_TEST(VU_SEC_05_VU_RC_05_areas_that_can_not_be),
        TESTBED_TEST(VU_RC_05_memory_that_is_too_small),
        TESTBED_TEST(sparse_memory_takes_no_address_space),
        TESTBED_TEST(VU_SEC_08_areas_that_come_at_the_wrong_time),
        TESTBED_TEST(V01_V04_areas_do_not_pile_up),
        TESTBED_TEST(VU_RC_05_areas_that_are_kept_cost_nothing),
        TESTBED_TEST(areas_that_are_kept_cost_nothing_after_takeovers),
        TESTBED_TEST(VU_RC_04_records_are_bounded),
        TESTBED_TEST(VU_RC_04_area_that_is_truncated),
        TESTBED_TEST(VU_RC_07_base_that_skips_what_is_queued),
        TESTBED_TEST(VU_RC_07_split_ring_from_an_old_base),
        TESTBED_TEST(VU_RC_07_packed_ring_from_an_old_base),
        TESTBED_TEST(VU_RC_04_records_of_another_life),
        TESTBED_TEST(rings_file_with_a_second_name_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
