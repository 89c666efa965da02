/* SPDX-License-Identifier: MIT */
/* A front-end that means harm with the guest memory it shares (conformance.md 6.5 and 6.8). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "odd_fd.h"
#include "stalling_file.h"
#include "testbed.h"

enum {
    TX = 1,
};

static struct testbed *bed_of(void **state)
{
    return testbed_start(state, NULL);
}

struct region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uva;
    uint64_t offset;
};

/* A table that says `count` regions, holds `filled`, and comes with `fds` descriptors. */
static int send_table(struct testbed_nic *nic, const struct region *region, unsigned filled,
                      uint32_t count, unsigned fds)
{
    struct {
        uint32_t count;
        uint32_t padding;
        struct region region[16];
    } table = {.count = count};
    struct vu_message message;

    memcpy(table.region, region, filled * sizeof(*region));
    message = vu_message(VU_SET_MEM_TABLE, &table, 8 + filled * (uint32_t)sizeof(*region));
    for (unsigned i = 0; i < fds; i++)
        vu_message_add_fd(&message, nic->ram.region[0].fd);
    return front_end_request(&nic->fe, &message, 0);
}

/* Each bad table is refused, and the good one stays live: packets go on. */
static void VU_SEC_04_VU_MEM_02_V07_bad_memory_tables(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t file = nic->ram.region[0].size;
    struct region good = {0x1000, 0x1000, 0x71000, 0};
    struct region table[][2] = {
        {{0x1000, 0, 0x71000, 0}},                       /* empty */
        {{0x1000, file + 0x1000, 0x71000, 0}},           /* longer than its file */
        {{0x1000, 0x1000, 0x71000, file}},               /* behind the end of the file */
        {{0x1000, 0x2000, 0x71000, file - 0x1000}},      /* runs over the end */
        {{0x1000, 0x1000, 0x71000, UINT64_MAX - 0xfff}}, /* offset + size wraps */
        {{0x1000, 1ull << 63, 0x71000, 0}},              /* half of all there is */
        {{0x1000, UINT64_MAX, 0x71000, 0}},              /* all of it */
        {{UINT64_MAX - 0xfff, 0x2000, 0x71000, 0}},      /* gpa wraps */
        {{0x1000, 0x2000, UINT64_MAX - 0xfff, 0}},       /* user address wraps */
        {{0x1000, 0x1000, 0x71000, 0}, {0x1800, 0x1000, 0x91000, 0}}, /* overlap in gpa */
        {{0x1000, 0x1000, 0x71000, 0}, {0x9000, 0x1000, 0x71800, 0}}, /* overlap in user space */
        {{0x1000, 0x1000, 0x71000, 0}, {0x1000, 0x1000, 0x71000, 0}}, /* the same twice */
    };
    unsigned fds = daemon_fd_count_settled(&bed->daemon);

    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        unsigned count = table[i][1].size != 0 ? 2 : 1;

        check(send_table(nic, table[i], count, count, count) > 0, "table %u was accepted", i);
        testbed_exchange(nic, 0, 100);
    }
    assert_true(send_table(nic, &good, 1, 1, 0) > 0); /* no fd, too many fds */
    assert_true(send_table(nic, &good, 1, 1, 2) > 0);
    assert_true(send_table(nic, &good, 0, 0, 0) > 0);
    assert_true(send_table(nic, &good, 1, UINT32_MAX, 1) > 0);
    testbed_exchange(nic, 0, 100);
    daemon_check_fds(&bed->daemon, fds);
    testbed_finish_anew(bed);
}

static void VU_SEC_04_more_regions_than_allowed(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct region region[16];

    for (unsigned i = 0; i < 16; i++)
        region[i] = (struct region){(1 + i) * 0x10000, 0x1000, 0x700000 + i * 0x10000, 0};
    assert_true(send_table(nic, region, 9, 9, 8) > 0);
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

static void VU_SEC_04_fds_that_are_no_memory(void **state)
{
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];

    for (unsigned kind = ODD_FD_FILE + 1; kind < ODD_FD_KINDS; kind++) {
        struct guest_ram_region region = {
            .fd = odd_fd(kind), .gpa = 1ull << 40, .uva = 1ull << 41, .size = 4096};

        check(front_end_add_mem_reg(&nic->fe, &region) > 0, "kind %u was mapped", kind);
        close(region.fd);
    }
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

/* A worker that touched such a page would stand still for ever, with all its NICs; so would the
 * control thread, if it asked anything about the file. */
static void VU_SEC_04_file_whose_pages_never_come(void **state)
{
    static const uint32_t fd_requests[] = {
        VU_SET_VRING_KICK, VU_SET_VRING_CALL,     VU_SET_VRING_ERR,  VU_SET_LOG_BASE,
        VU_SET_LOG_FD,     VU_SET_BACKEND_REQ_FD, VU_SET_INFLIGHT_FD};
    static const uint64_t payload[3] = {4096};
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed;
    struct testbed_nic *nic;
    struct stalling_file file;
    struct guest_ram_region region = {.gpa = 1ull << 40, .uva = 1ull << 41, .size = 4096};
    char path[64], said[512];

    if (!stalling_file_open(&file)) {
        print_message("skipped, FUSE can't be mounted here\n");
        skip();
    }
    bed = testbed_start(state, &options);
    nic = &bed->nic[VICTIM];
    region.fd = file.fd;
    check(front_end_add_mem_reg(&nic->fe, &region) > 0, "it was mapped");
    for (unsigned i = 0; i < sizeof(fd_requests) / sizeof(fd_requests[0]); i++) {
        struct vu_message message = vu_message(fd_requests[i], payload, sizeof(payload));

        vu_message_add_fd(&message, file.fd);
        check(front_end_request(&nic->fe, &message, 0) > 0, "request %u took it", fd_requests[i]);
    }
    assert_true(front_end_add_mem_reg(&nic->fe, &region) > 0);
    snprintf(path, sizeof(path), "nic%u/vhost_user/last_refusal", nic->index);
    daemon_text(&bed->daemon, path, said, sizeof(said));
    check(strstr(said, "FUSE or network file system") != NULL, "it says: %s", said);
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
    stalling_file_close(&file);
}

/* On a disk of this host they come. */
static void VU_MEM_01_file_on_a_disk(void **state)
{
    struct testbed_options options = {.pf = ~VU_PF_INBAND};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct guest_ram_region region = {.gpa = 1ull << 40, .uva = 1ull << 41, .size = 4096};

    region.fd = open(bed->daemon.directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_return_code(region.fd, errno);
    assert_return_code(ftruncate(region.fd, 4096), errno);
    assert_int_equal(front_end_add_mem_reg(&nic->fe, &region), 0);
    testbed_exchange(nic, 0, 100);
    close(region.fd);
    testbed_finish(bed);
}

/* What is more than memory-max or memory-regions is refused and counted; the table that was there
 * stays live, and what fits is taken afterwards. */
static void VU_SEC_04_limits_of_memory_are_the_operators(void **state)
{
    struct testbed_options options = {.nic = "memory-max=128,memory-regions=4,endpoint=loopback",
                                      .bystander = "endpoint=loopback"};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct region large = {0x1000, 129ull << 20, 0x71000, 0};
    struct region many[5];
    char path[64];

    for (unsigned i = 0; i < 5; i++)
        many[i] = (struct region){0x100000ull * i, 0x1000, 0x71000000 + 0x100000ull * i, 0};
    snprintf(path, sizeof(path), "nic%u/vhost_user/memory_refused", nic->index);
    assert_true(send_table(nic, &large, 1, 1, 1) > 0);
    assert_int_equal(daemon_number(&bed->daemon, path), 1);
    testbed_exchange(nic, 0, 100);
    assert_true(send_table(nic, many, 5, 5, 5) > 0);
    assert_int_equal(daemon_number(&bed->daemon, path), 2);
    testbed_exchange(nic, 0, 100);
    assert_int_equal(send_table(nic, many, 4, 4, 4), 0);
    testbed_finish_anew(bed);
}

/* Ring parts that are aligned for the guest lie at odd addresses here: refused or served, never a
 * fault. */
static void VU_SEC_04_region_that_begins_at_an_odd_byte(void **state)
{
    static const uint64_t offset[] = {1, 2, 3, 7};
    struct testbed *bed = testbed_start_daemon(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t used = nic->ram.region[0].used;
    uint64_t size = nic->ram.region[0].size;

    testbed_connect(&bed->nic[BYSTANDER]);
    for (unsigned i = 0; i < 4; i++) {
        struct guest_ram shifted = nic->ram;
        uint8_t frame[100];

        testbed_reconnect_acknowledging(nic);
        assert_int_equal(front_end_set_features(&nic->fe, nic->fe.offered & nic->options.features),
                         0);
        shifted.region[0].offset = offset[i]; /* the same file, read one byte later */
        shifted.region[0].size = size - 64;
        if (front_end_set_mem_table(&nic->fe, &shifted) == 0) {
            for (unsigned ring = 0; ring < 2; ring++) {
                int refused = front_end_vring_state(&nic->fe, VU_SET_VRING_NUM, ring, 64);

                refused |= front_end_set_vring_addr(&nic->fe, ring, &nic->vring[ring]);
                refused |= front_end_set_vring_call(&nic->fe, ring);
                refused |= front_end_set_vring_kick(&nic->fe, ring);
                refused |= front_end_vring_state(&nic->fe, VU_SET_VRING_ENABLE, ring, 1);
                nic->vring[ring].ring.kick_fd = nic->fe.vring[ring].kick_fd;
                assert_true(refused >= 0);
            }
            net_frame_make(frame, sizeof(frame), nic->mac, 1);
            driver_ring_kick(&nic->vring[TX].ring);
            sleep_ms(WAIT_QUIET_MS);
        }
        daemon_check_alive(&bed->daemon);
    }
    assert_int_equal(nic->ram.region[0].used, used);
    testbed_finish_anew(bed);
}

/* The file shrinks under the running rings: SIGBUS must not kill the other NICs. */
static void VU_MEM_06_memory_file_is_truncated_under_traffic(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint64_t size = nic->ram.region[0].size;
    uint64_t one = 1;

    testbed_exchange(nic, 0, 100);
    assert_int_equal(ftruncate(nic->ram.region[0].fd, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(write(nic->fe.vring[TX].kick_fd, &one, sizeof(one)), sizeof(one));
        sleep_ms(WAIT_QUIET_MS);
        daemon_check_alive(&bed->daemon);
        testbed_exchange(&bed->nic[BYSTANDER], 0, 100);
    }
    assert_int_equal(ftruncate(nic->ram.region[0].fd, (off_t)size), 0);
    testbed_finish_anew(bed);
}

static void VU_SEC_02_fds_do_not_leak_over_many_bad_messages(void **state)
{
    struct testbed *bed = bed_of(state);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    struct region bad = {0x1000, 1ull << 62, 0x71000, 0};
    unsigned fds = daemon_fd_count_settled(&bed->daemon);

    for (unsigned i = 0; i < 2000; i++)
        assert_true(send_table(nic, &bad, 1, 1, 1) > 0);
    daemon_check_fds(&bed->daemon, fds);
    testbed_exchange(nic, 0, 100);
    testbed_finish_anew(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_SEC_04_VU_MEM_02_V07_bad_memory_tables),
        TESTBED_TEST(VU_SEC_04_limits_of_memory_are_the_operators),
        TESTBED_TEST(VU_SEC_04_more_regions_than_allowed),
        TESTBED_TEST(VU_SEC_04_fds_that_are_no_memory),
        TESTBED_TEST(VU_SEC_04_file_whose_pages_never_come),
        TESTBED_TEST(VU_MEM_01_file_on_a_disk),
        TESTBED_TEST(VU_SEC_04_region_that_begins_at_an_odd_byte),
        TESTBED_TEST(VU_MEM_06_memory_file_is_truncated_under_traffic),
        TESTBED_TEST(VU_SEC_02_fds_do_not_leak_over_many_bad_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
