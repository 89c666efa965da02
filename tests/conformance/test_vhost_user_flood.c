/* SPDX-License-Identifier: MIT */
/* A hundred thousand bad messages: each is refused, and nothing of any stays in the daemon. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    MESSAGES = 100000,
    WARM = 60000, /* from here on nothing grows: a sanitizer's quarantine is full */
    BATCH = 24,   /* sent before their answers are read */
    RSS_KIB = 32 * 1024,
    MAPS = 40, /* mappings that come and go with the allocator */
};

struct bad {
    uint32_t request;
    uint32_t size;
    uint64_t word[9];
    unsigned memory_fds, folder_fds, device_fds;
};

#define REGION(gpa, size, uva, offset) (gpa), (size), (uva), (offset)

static const struct bad table[] = {
    {VU_SET_MEM_TABLE, 40, {1, REGION(0x1000, 1ull << 62, 0x71000, 0)}, 1, 0, 0},
    {VU_SET_MEM_TABLE, 40, {1, REGION(0x1000, 0x1000, 0x71000, 0)}, 3, 0, 0},
    {VU_SET_MEM_TABLE, 40, {1, REGION(0x1000, 0x1000, 0x71000, 0)}, 0, 1, 0},
    {VU_SET_MEM_TABLE, 40, {1, REGION(0x1000, 0x1000, 0x71000, 0)}, 0, 0, 1},
    {VU_SET_MEM_TABLE,
     72,
     {2, REGION(0x1000, 0x1000, 0x71000, 0), REGION(0x1800, 0x1000, 0x91000, 0)},
     2,
     0,
     0},
    {VU_SET_MEM_TABLE, 8, {0xffffffff}, 8, 0, 0},
    {VU_ADD_MEM_REG, 40, {0, REGION(1ull << 40, 0, 1ull << 41, 0)}, 1, 0, 0},
    {VU_ADD_MEM_REG, 40, {0, REGION(1ull << 40, 0x1000, 1ull << 41, ~0xfffull)}, 1, 0, 0},
    {VU_ADD_MEM_REG, 40, {0, REGION(1ull << 40, 0x1000, 1ull << 41, 0)}, 0, 0, 2},
    {VU_REM_MEM_REG, 40, {0, REGION(1ull << 40, 0x1000, 1ull << 41, 0)}, 1, 0, 0},
    {VU_SET_LOG_BASE, 16, {0, 0}, 1, 0, 0},
    {VU_SET_LOG_BASE, 16, {~0ull, 1}, 1, 0, 0},
    {VU_SET_VRING_NUM, 8, {0x4000000000ull}, 0, 0, 0},
    {VU_SET_VRING_NUM, 8, {99}, 1, 0, 0},
    {VU_SET_VRING_ADDR, 40, {0, 1, 3, 5, 7}, 0, 0, 0},
    {VU_SET_VRING_BASE, 8, {0x1000000000000ull}, 0, 0, 0},
    {VU_SET_VRING_KICK, 8, {77}, 1, 0, 0},
    {VU_SET_VRING_KICK, 8, {0}, 0, 0, 1},
    {VU_SET_VRING_CALL, 8, {VU_NO_FD}, 1, 0, 0},
    {VU_SET_VRING_CALL, 8, {0}, 0, 0, 0},
    {VU_SET_VRING_CALL, 8, {1}, 0, 1, 0},
    {VU_SET_VRING_ERR, 8, {0}, 0, 0, 1},
    {VU_SET_VRING_ERR, 8, {1}, 2, 2, 2},
    {VU_SET_VRING_ENABLE, 8, {0x200000000ull}, 0, 0, 0},
    {VU_SET_VRING_ENDIAN, 8, {0x200000000ull}, 0, 0, 0},
    {VU_SET_FEATURES, 8, {~0ull}, 0, 0, 0},
    {VU_SET_PROTOCOL_FEATURES, 8, {~0ull}, 0, 0, 0},
    {VU_SET_STATUS, 8, {0x100}, 0, 0, 0},
    {VU_SET_CONFIG, 16, {0x400000000ull}, 0, 0, 0},
    {VU_NET_SET_MTU, 8, {1}, 0, 0, 0},
    {VU_SET_BACKEND_REQ_FD, 0, {0}, 0, 0, 0},
    {VU_SET_BACKEND_REQ_FD, 0, {0}, 0, 1, 0},
    {VU_VRING_KICK, 8, {0}, 0, 0, 0},
    {VU_IOTLB_MSG, 32, {0}, 0, 0, 0},
    {99, 64, {0}, 4, 2, 2},
};

static void add_fds(struct vu_message *message, unsigned count, int fd)
{
    while (count-- > 0)
        vu_message_add_fd(message, fd);
}

static unsigned maps_of(const struct testbed *bed)
{
    char line[512];
    unsigned count = 0;
    FILE *maps;

    snprintf(line, sizeof(line), "/proc/%d/maps", (int)bed->daemon.pid);
    maps = fopen(line, "r");
    check(maps != NULL, "no %s", line);
    while (fgets(line, sizeof(line), maps) != NULL)
        count++;
    fclose(maps);
    return count;
}

static void VU_SEC_02_VU_SEC_04_V01_hundred_thousand_bad_messages(void **state)
{
    static struct vu_message message[sizeof(table) / sizeof(table[0])], reply;
    struct testbed *bed = testbed_start(state, NULL);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int device = open("/dev/zero", O_RDWR | O_CLOEXEC);
    unsigned kinds = sizeof(table) / sizeof(table[0]);
    unsigned fds = daemon_fd_count_settled(&bed->daemon);
    unsigned maps = 0;
    uint64_t rss = 0;

    for (unsigned i = 0; i < kinds; i++) {
        message[i] = vu_message(table[i].request, table[i].word, table[i].size);
        message[i].flags = VU_VERSION | VU_NEED_REPLY;
        add_fds(&message[i], table[i].memory_fds, nic->ram.region[0].fd);
        add_fds(&message[i], table[i].folder_fds, folder);
        add_fds(&message[i], table[i].device_fds, device);
    }
    for (unsigned sent = 0; sent < MESSAGES; sent += BATCH) {
        for (unsigned i = 0; i < BATCH; i++)
            assert_int_equal(front_end_send(&nic->fe, &message[(sent + i) % kinds]), 0);
        for (unsigned i = 0; i < BATCH; i++) {
            assert_int_equal(front_end_receive(&nic->fe, &reply), 0);
            check(reply.payload[0] != 0, "kind %u was accepted", (sent + i) % kinds);
        }
        if (sent / BATCH == WARM / BATCH) {
            maps = maps_of(bed);
            rss = daemon_rss_kib(&bed->daemon);
        }
    }
    check(maps_of(bed) <= maps + MAPS, "%u mappings, then %u", maps, maps_of(bed));
    check(daemon_rss_kib(&bed->daemon) <= rss + RSS_KIB, "%llu KiB, then %llu KiB",
          (unsigned long long)rss, (unsigned long long)daemon_rss_kib(&bed->daemon));
    daemon_check_fds(&bed->daemon, fds);
    assert_true(daemon_number(&bed->daemon, "nic0/vhost_user/refused") >= MESSAGES);
    testbed_exchange(nic, 0, 100); /* what is right is as it was */
    close(folder);
    close(device);
    testbed_finish_anew(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TESTBED_TEST(VU_SEC_02_VU_SEC_04_V01_hundred_thousand_bad_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
