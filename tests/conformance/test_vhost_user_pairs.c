/* SPDX-License-Identifier: MIT */
/* As many pairs as a card may have, over vhost-user. Its messages with a file descriptor name 256
 * rings, so the control queue of 128 pairs is one too many, and that of 127 the last but one. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "control_driver.h"
#include "daemon.h"
#include "front_end_start.h"
#include "net_driver.h"

#define USUAL   (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)
#define CTRL_VQ (1ull << 17)
#define MQ      (1ull << 22)

enum {
    RINGS_MAX = FRONT_END_VRINGS_MAX,
    RING_SIZE = 16,
    SEATS = 3,
};

static const uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};

struct pairs_bed {
    struct daemon daemon;
    struct guest_ram ram;
    struct front_end fe;
    struct driver_split split[RINGS_MAX];
    struct driver_ring *ring[RINGS_MAX]; /* back-pointers */
    struct front_end_setup setup;
    unsigned pair_of_seat[SEATS];
    struct net_driver net[SEATS]; /* of the pairs that have one: first, middle, last */
    struct control_driver control;
    uint32_t seed;
};

static int bed_setup(void **state)
{
    struct pairs_bed *bed = calloc(1, sizeof(*bed));

    *state = bed;
    if (bed == NULL)
        return -1;
    front_end_init(&bed->fe);
    guest_ram_init(&bed->ram);
    guest_ram_add(&bed->ram, 0x100000, 64 << 20, 0);
    daemon_init(&bed->daemon);
    return 0;
}

static int bed_teardown(void **state)
{
    struct pairs_bed *bed = *state;

    daemon_free(&bed->daemon);
    front_end_close(&bed->fe);
    for (unsigned i = 0; i < RINGS_MAX; i++)
        driver_split_free(&bed->split[i]);
    guest_ram_free(&bed->ram);
    free(bed);
    return 0;
}

static struct pairs_bed *start_daemon(void **state, const char *nic)
{
    struct pairs_bed *bed = *state;
    char path[DAEMON_PATH_LEN];

    daemon_add_nic(&bed->daemon, nic);
    bed->daemon.workers = 3;
    daemon_start(&bed->daemon);
    daemon_socket(&bed->daemon, 0, path);
    front_end_connect(&bed->fe, path);
    return bed;
}

/* The front-end brings so many rings up, of which the first pairs are pairs. */
static void start(struct pairs_bed *bed, unsigned pairs, unsigned rings, uint64_t features)
{
    struct driver_split_options ring = {.size = RING_SIZE, .event_idx = 1};
    struct net_options net = {.header_len = NET_HEADER_MODERN, .rx_buffer_len = 2048};

    for (unsigned i = 0; i < rings; i++) {
        driver_split_init(&bed->split[i], &bed->ram, &ring);
        bed->ring[i] = &bed->split[i].ring;
    }
    bed->setup = (struct front_end_setup){.ram = &bed->ram,
                                          .vring = bed->ring,
                                          .vring_count = rings,
                                          .features = features,
                                          .pf = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_CONFIG};
    front_end_start_cloud_hypervisor(&bed->fe, &bed->setup);
    bed->pair_of_seat[1] = pairs / 2;
    bed->pair_of_seat[2] = pairs - 1;
    for (unsigned seat = 0; seat < SEATS; seat++) {
        unsigned rx = 2 * bed->pair_of_seat[seat];

        net_driver_init(&bed->net[seat], bed->ring[rx], bed->ring[rx + 1], &net);
        net_driver_post(&bed->net[seat], RING_SIZE);
    }
}

static void exchange(struct pairs_bed *bed, unsigned seat)
{
    uint8_t frame[300], got[NET_FRAME_MAX];

    net_frame_make(frame, sizeof(frame), mac, ++bed->seed);
    net_driver_send(&bed->net[seat], frame, sizeof(frame));
    check(net_driver_receive(&bed->net[seat], got, sizeof(got), WAIT_LONG_MS) == sizeof(frame),
          "pair %u did not get its frame", bed->pair_of_seat[seat]);
    assert_memory_equal(got, frame, sizeof(frame));
    net_driver_drain(&bed->net[seat]);
}

static void exchange_everywhere(struct pairs_bed *bed)
{
    for (unsigned i = 0; i < 50; i++) {
        for (unsigned seat = 0; seat < SEATS; seat++)
            exchange(bed, seat);
    }
}

static void finish(struct pairs_bed *bed)
{
    daemon_check_alive(&bed->daemon);
    front_end_close(&bed->fe);
    daemon_check_idle(&bed->daemon);
    daemon_stop(&bed->daemon);
}

/* ---- 128 --------------------------------------------------------------------------------------
 */

/* As QEMU and Cloud Hypervisor: the device has no part in the control queue. */
static void VU_MQ_02_all_pairs_of_a_vmm_that_keeps_the_control_queue(void **state)
{
    struct pairs_bed *bed = start_daemon(state, "queues=128,endpoint=loopback");
    json_t *queues;

    start(bed, 128, 256, USUAL | MQ);
    exchange_everywhere(bed);
    queues = daemon_inspect(&bed->daemon, "nic0/queues");
    assert_int_equal(json_object_size(queues), 128);
    json_decref(queues);
    assert_int_equal(daemon_number(&bed->daemon, "nic0/queues/127/tx_packets"), 50);
    finish(bed);
}

static void expect_refusal(struct pairs_bed *bed, const char *words)
{
    json_t *text = daemon_inspect(&bed->daemon, "nic0/vhost_user/last_refusal");

    assert_non_null(text);
    check(strstr(json_string_value(text), words) != NULL, "it says: %s", json_string_value(text));
    json_decref(text);
}

static void VU_SEC_05_control_queue_that_has_no_number(void **state)
{
    static const uint32_t request[] = {VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ENABLE,
                                       VU_SET_VRING_ENDIAN};
    struct pairs_bed *bed = start_daemon(state, "queues=128,endpoint=loopback");
    struct vu_message kick = vu_message_u64(VU_SET_VRING_KICK, 256);
    uint64_t count = 0;

    start(bed, 128, 256, USUAL | MQ | CTRL_VQ);
    assert_int_equal(front_end_get_u64(&bed->fe, VU_GET_QUEUE_NUM, &count), 0);
    assert_int_equal(count, 256);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(front_end_vring_state(&bed->fe, request[i], 256, 1) > 0);
        expect_refusal(bed, "needs queues=127 or less");
        assert_true(front_end_vring_state(&bed->fe, request[i], 257, 1) > 0);
        expect_refusal(bed, "ring 257 does not exist");
    }
    assert_true(front_end_set_ring_addr(&bed->fe, 256, bed->ring[0]) > 0);
    expect_refusal(bed, "needs queues=127 or less");
    vu_message_add_fd(&kick, bed->fe.vring[0].kick_fd); /* to the device: ring 0, and no fd */
    assert_true(front_end_request(&bed->fe, &kick, VU_NEED_REPLY) > 0);
    exchange(bed, 0);
    finish(bed);
}

/* ---- 127 and the control queue ----------------------------------------------------------------
 */

static unsigned set_pairs(struct pairs_bed *bed, unsigned pairs)
{
    return control_driver_ask(&bed->control, (uint8_t[]){4, 0, (uint8_t)pairs, 0}, 4);
}

static void CTL_MQ_01_most_pairs_with_the_devices_control_queue(void **state)
{
    struct pairs_bed *bed = start_daemon(state, "queues=127,endpoint=loopback");
    uint64_t count = 0;

    start(bed, 127, 255, USUAL | MQ | CTRL_VQ);
    assert_int_equal(front_end_get_u64(&bed->fe, VU_GET_QUEUE_NUM, &count), 0);
    assert_int_equal(count, 255);
    control_driver_init(&bed->control, bed->ring[254], 0);
    exchange(bed, 0);
    assert_int_equal(set_pairs(bed, 128), CONTROL_ACK_ERR);
    assert_int_equal(set_pairs(bed, 127), CONTROL_ACK_OK);
    exchange_everywhere(bed);
    assert_int_equal(set_pairs(bed, 1), CONTROL_ACK_OK);
    exchange(bed, 0);
    finish(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(VU_MQ_02_all_pairs_of_a_vmm_that_keeps_the_control_queue,
                                        bed_setup, bed_teardown),
        cmocka_unit_test_setup_teardown(VU_SEC_05_control_queue_that_has_no_number, bed_setup,
                                        bed_teardown),
        cmocka_unit_test_setup_teardown(CTL_MQ_01_most_pairs_with_the_devices_control_queue,
                                        bed_setup, bed_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
