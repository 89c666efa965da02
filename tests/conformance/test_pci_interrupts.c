/* SPDX-License-Identifier: MIT */
/* Interrupts of virtio-pci: the ISR register, INTA, and MSI-X with its masks (virtio 1.4, 4.1.4.5
 * and 4.1.5.1.2). */
#include <string.h>

#include "check.h"
#include "clockwork.h"
#include "register_bed.h"

enum {
    COMMAND = 0x04,
    COMMAND_MEMORY = 2,
    COMMAND_MASTER = 4,
    COMMAND_ON = COMMAND_MEMORY | COMMAND_MASTER,
    COMMAND_INTX_OFF = 1 << 10,
    STATUS_REGISTER = 0x06,
    STATUS_INTERRUPT = 1 << 3,

    USED = 1,
    CHANGED = 2,

    RX = 0,
    TX = 1,
};

#define ADDRESS(n) (0xfee00000ull + 0x1000 * (n))

static struct register_bed *open_bed(void **state)
{
    struct bed_options options = {.transport = DEVICE_PCI, .vectors = 8};

    return register_bed_open(state, &options);
}

static unsigned count(struct register_bed *bed, unsigned data)
{
    return atomic_load(&bed->device.msi[data]);
}

static int line(struct register_bed *bed)
{
    return atomic_load(&bed->device.line);
}

static int interrupt_status(struct register_bed *bed)
{
    return (register_read(&bed->driver, SPACE_PCI_CONFIG, STATUS_REGISTER, 2) & STATUS_INTERRUPT) !=
           0;
}

static void command(struct register_bed *bed, unsigned value)
{
    register_write(&bed->driver, SPACE_PCI_CONFIG, COMMAND, 2, value);
}

/* Running, with MSI-X: receive queue on vector 0, transmit on 1, config on 2; the data word of each
 * is its number. No frame has moved yet. */
static struct register_bed *start_msix(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE);
    for (unsigned i = 0; i < 3; i++)
        register_driver_put_msix(&bed->driver, i, ADDRESS(i), i);
    register_bed_prepare(bed, BED_BIT(32) | BED_STATUS); /* an interrupt for every batch */
    assert_int_equal(register_driver_map_queue(&bed->driver, RX, 0), 0);
    assert_int_equal(register_driver_map_queue(&bed->driver, TX, 1), 1);
    assert_int_equal(register_driver_map_config(&bed->driver, 2), 2);
    bed_write_status(bed, STATUS_RUNNING);
    net_driver_post(&bed->net[0], 64);
    return bed;
}

/* ---- ISR and INTA ------------------------------------------------------------------------------
 */

static void PCI_08_isr_and_line(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_BIT(32) | BED_STATUS);
    assert_int_equal(register_driver_isr(&bed->driver), 0);
    register_bed_exchange(bed, 0, 100);
    register_bed_await_line(bed, 1);
    sleep_ms(5); /* both queues have told */
    assert_true(interrupt_status(bed));
    assert_int_equal(register_driver_isr(&bed->driver), USED);
    assert_int_equal(line(bed), 0);
    assert_false(interrupt_status(bed));
    assert_int_equal(register_driver_isr(&bed->driver), 0);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(line(bed), 1);
    assert_int_equal(register_driver_isr(&bed->driver), CHANGED);
    assert_int_equal(line(bed), 0);
}

static void PCI_08_interrupt_disable(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_start(bed, BED_USUAL | BED_STATUS);
    command(bed, COMMAND_ON | COMMAND_INTX_OFF);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(line(bed), 0);
    assert_true(interrupt_status(bed)); /* it would like to */
    command(bed, COMMAND_ON);
    assert_int_equal(line(bed), 1);
    command(bed, COMMAND_ON | COMMAND_INTX_OFF);
    assert_int_equal(line(bed), 0);
    assert_int_equal(register_driver_isr(&bed->driver), CHANGED);
    command(bed, COMMAND_ON);
    assert_int_equal(line(bed), 0);
}

/* As iPXE does it: rings and kicks come before the features, and the ISR is polled all the time. */
static void BOOT_03_rings_and_kicks_before_features(void **state)
{
    struct register_bed *bed = open_bed(state);

    register_bed_make_rings(bed, BED_BIT(32));
    bed_write_status(bed, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    for (unsigned i = 0; i < 2; i++)
        register_driver_start_ring(&bed->driver, i, bed->ring[i]);
    net_driver_post(&bed->net[0], 8);
    bed->driver.ops->notify(&bed->driver, 0, 0);
    assert_int_equal(register_driver_isr(&bed->driver), 0);
    bed->driver.ops->write_driver_features(&bed->driver, 1, 1);
    bed_write_status(bed, STATUS_BEFORE_QUEUES);
    bed_write_status(bed, STATUS_RUNNING);
    for (unsigned i = 0; i < 200; i++) {
        register_bed_exchange(bed, 0, 100);
        register_driver_isr(&bed->driver);
    }
    assert_int_equal(bed_status(bed), STATUS_RUNNING);
}

static void PCI_08_driver_that_waits_for_the_line_sees_every_frame(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint8_t frame[2048];
    unsigned received = 0;

    register_bed_start(bed, BED_BIT(32));
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t end = now_ms() + WAIT_LONG_MS;

        register_bed_send(bed, 0, 100);
        while (received <= i) {
            while (!line(bed))
                check(now_ms() < end, "an interrupt was lost at frame %u", i);
            register_driver_isr(&bed->driver);
            while (net_driver_receive(&bed->net[0], frame, sizeof(frame), 0) >= 0)
                received++;
            net_driver_reap(&bed->net[0]);
        }
    }
}

/* ---- MSI-X -------------------------------------------------------------------------------------
 */

static void PCI_09_each_event_has_its_vector(void **state)
{
    struct register_bed *bed = start_msix(state);

    register_bed_exchange(bed, 0, 100);
    assert_true(register_bed_await(bed, &bed->device.msi[RX], 1) >= 1);
    assert_true(register_bed_await(bed, &bed->device.msi[TX], 1) >= 1);
    assert_int_equal(count(bed, 2), 0);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(count(bed, 2), 1);
    for (unsigned i = 0; i < 3; i++)
        assert_true(atomic_load(&bed->device.msi_address[i]) == ADDRESS(i));
    assert_int_equal(line(bed), 0);
    assert_false(interrupt_status(bed));
    /* PCI-08: of the ISR bits only that of config is set under MSI-X. */
    assert_int_equal(register_driver_isr(&bed->driver), CHANGED);
}

static void PCI_09_vectors_that_are_none(void **state)
{
    struct register_bed *bed = open_bed(state);

    for (unsigned vector = 8; vector < 0x10000; vector += 997) {
        assert_int_equal(register_driver_map_queue(&bed->driver, TX, 3), 3);
        assert_int_equal(register_driver_map_queue(&bed->driver, TX, vector), MSIX_NO_VECTOR);
        assert_int_equal(register_driver_map_config(&bed->driver, 7), 7);
        assert_int_equal(register_driver_map_config(&bed->driver, vector), MSIX_NO_VECTOR);
    }
    assert_int_equal(register_driver_map_config(&bed->driver, 8), MSIX_NO_VECTOR);
}

static void PCI_09_no_vector_means_silence(void **state)
{
    struct register_bed *bed = start_msix(state);

    register_driver_map_queue(&bed->driver, RX, MSIX_NO_VECTOR);
    register_driver_map_queue(&bed->driver, TX, MSIX_NO_VECTOR);
    register_driver_map_config(&bed->driver, MSIX_NO_VECTOR);
    for (unsigned i = 0; i < 10; i++)
        register_bed_exchange(bed, 0, 100);
    register_device_set_link(&bed->device, 0);
    sleep_ms(5);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(count(bed, i), 0);
    assert_int_equal(line(bed), 0);
}

static void PCI_09_shared_vector(void **state)
{
    struct register_bed *bed = start_msix(state);

    register_driver_put_msix(&bed->driver, 5, ADDRESS(5), 5);
    register_driver_map_queue(&bed->driver, RX, 5);
    register_driver_map_queue(&bed->driver, TX, 5);
    register_driver_map_config(&bed->driver, 5);
    register_bed_exchange(bed, 0, 100);
    assert_true(register_bed_await(bed, &bed->device.msi[5], 2) >= 2);
    register_device_set_link(&bed->device, 0);
    assert_true(count(bed, 5) >= 3);
    assert_int_equal(count(bed, 0) + count(bed, 1) + count(bed, 2), 0);
}

static void PCI_09_masked_vector_is_pending(void **state)
{
    struct register_bed *bed = start_msix(state);
    uint64_t end = now_ms() + WAIT_LONG_MS;

    register_driver_mask_msix(&bed->driver, TX, 1);
    register_driver_mask_msix(&bed->driver, 2, 1);
    for (unsigned i = 0; i < 10; i++)
        register_bed_exchange(bed, 0, 100);
    register_device_set_link(&bed->device, 0);
    while (!register_driver_msix_pending(&bed->driver, TX))
        check(now_ms() < end, "no pending bit");
    assert_int_equal(register_driver_msix_pending(&bed->driver, RX), 0);
    assert_int_equal(register_driver_msix_pending(&bed->driver, 2), 1);
    assert_int_equal(count(bed, TX), 0);
    assert_int_equal(count(bed, 2), 0);
    register_driver_mask_msix(&bed->driver, TX, 0);
    register_driver_mask_msix(&bed->driver, 2, 0);
    assert_int_equal(count(bed, TX), 1); /* one for all */
    assert_int_equal(count(bed, 2), 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(register_driver_msix_pending(&bed->driver, i), 0);
    register_driver_mask_msix(&bed->driver, TX, 1);
    register_driver_mask_msix(&bed->driver, TX, 0);
    assert_int_equal(count(bed, TX), 1);
}

static void PCI_09_masked_function_is_pending(void **state)
{
    struct register_bed *bed = start_msix(state);
    uint64_t end = now_ms() + WAIT_LONG_MS;

    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE | MSIX_CONTROL_MASK);
    register_bed_exchange(bed, 0, 100);
    while (!register_driver_msix_pending(&bed->driver, TX) ||
           !register_driver_msix_pending(&bed->driver, RX))
        check(now_ms() < end, "no pending bit");
    assert_int_equal(count(bed, RX) + count(bed, TX), 0);
    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE);
    assert_int_equal(count(bed, RX), 1);
    assert_int_equal(count(bed, TX), 1);
}

/* PCI-13: a message is a write to memory. */
static void PCI_13_no_message_without_bus_master(void **state)
{
    struct register_bed *bed = start_msix(state);

    command(bed, COMMAND_MEMORY);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(count(bed, 2), 0);
    assert_int_equal(register_driver_msix_pending(&bed->driver, 2), 1);
    command(bed, COMMAND_ON);
    assert_int_equal(count(bed, 2), 1);
}

static void PCI_09_reset_forgets_vectors_and_pending_bits(void **state)
{
    struct register_bed *bed = start_msix(state);

    register_driver_mask_msix(&bed->driver, 2, 1);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(register_driver_msix_pending(&bed->driver, 2), 1);
    bed_write_status(bed, 0);
    assert_int_equal(register_driver_msix_pending(&bed->driver, 2), 0);
    register_driver_mask_msix(&bed->driver, 2, 0);
    assert_int_equal(count(bed, 2), 0);
    assert_int_equal(register_driver_isr(&bed->driver), 0);
}

static void PCI_09_back_to_the_line(void **state)
{
    struct register_bed *bed = start_msix(state);

    register_bed_exchange(bed, 0, 100);
    register_driver_set_msix(&bed->driver, 0);
    register_driver_isr(&bed->driver);
    register_bed_exchange(bed, 0, 100);
    register_bed_await_line(bed, 1);
    /* MSI-X again: the line goes down, the bit stays. */
    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE);
    assert_int_equal(line(bed), 0);
    assert_int_equal(register_driver_isr(&bed->driver) & USED, USED);
}

/* ---- the table ---------------------------------------------------------------------------------
 */

static void PCI_09_table_of_every_width(void **state)
{
    struct register_bed *bed = open_bed(state);
    uint32_t table = bed->driver.msix_table;

    for (unsigned vector = 0; vector < 8; vector++) {
        uint32_t entry = table + 16 * vector;

        assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, entry + 12, 4), 1);
        register_write(&bed->driver, SPACE_PCI_BAR, entry, 8, 0x1122334455667788ull);
        register_write(&bed->driver, SPACE_PCI_BAR, entry + 8, 8, 0xfffffffe99aabbccull);
        assert_true(register_read(&bed->driver, SPACE_PCI_BAR, entry, 8) == 0x1122334455667788ull);
        assert_true(register_read(&bed->driver, SPACE_PCI_BAR, entry + 8, 8) == 0x99aabbccull);
        assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, entry + 3, 2), 0x4455);
        assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, entry + 9, 1), 0xbb);
        /* What is no whole word is undefined; here it changes nothing. */
        register_write(&bed->driver, SPACE_PCI_BAR, entry, 1, 0);
        register_write(&bed->driver, SPACE_PCI_BAR, entry + 2, 4, 0);
        register_write(&bed->driver, SPACE_PCI_BAR, entry + 4, 8, 0);
        assert_true(register_read(&bed->driver, SPACE_PCI_BAR, entry, 8) == 0x1122334455667788ull);
    }
    /* Behind the table there is nothing, and pending bits are the device's. */
    register_write(&bed->driver, SPACE_PCI_BAR, table + 16 * 8, 4, 0xffffffff);
    assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, table + 16 * 8, 4), 0);
    assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, table + 16 * 8 - 2, 4), 0);
    register_write(&bed->driver, SPACE_PCI_BAR, bed->driver.msix_pba, 8, UINT64_MAX);
    assert_true(register_read(&bed->driver, SPACE_PCI_BAR, bed->driver.msix_pba, 8) == 0);
}

static void PCI_09_most_vectors(void **state)
{
    struct bed_options options = {.transport = DEVICE_PCI, .vectors = 2048};
    struct register_bed *bed = register_bed_open(state, &options);

    assert_int_equal(bed->driver.msix_vectors, 2048);
    register_driver_set_msix(&bed->driver, MSIX_CONTROL_ENABLE);
    register_bed_prepare(bed, BED_USUAL | BED_STATUS);
    assert_int_equal(register_driver_map_config(&bed->driver, 2047), 2047);
    bed_write_status(bed, STATUS_RUNNING);
    register_device_set_link(&bed->device, 0);
    assert_int_equal(register_driver_msix_pending(&bed->driver, 2047), 1);
    assert_int_equal(register_read(&bed->driver, SPACE_PCI_BAR, bed->driver.msix_pba + 2047 / 8, 1),
                     0x80);
    register_driver_put_msix(&bed->driver, 2047, ADDRESS(9), 9);
    assert_int_equal(count(bed, 9), 1);
}

static unsigned receive_messages(struct register_bed *bed)
{
    return count(bed, 0) + count(bed, 4) + count(bed, 5);
}

/* A driver moves its vectors under traffic: no message is lost, and none is half old, half new. */
static void PCI_09_vectors_move_under_traffic(void **state)
{
    struct register_bed *bed = start_msix(state);
    uint8_t frame[2048];

    for (unsigned i = 0; i < 1500; i++) {
        uint64_t end = now_ms() + WAIT_LONG_MS;
        unsigned before = receive_messages(bed);
        unsigned to = 4 + i % 2;

        register_bed_send(bed, 0, 100);
        register_driver_put_msix(&bed->driver, RX, ADDRESS(to), to);
        assert_int_equal(net_driver_receive(&bed->net[0], frame, sizeof(frame), WAIT_LONG_MS), 100);
        while (receive_messages(bed) == before)
            check(now_ms() < end, "frame %u: no interrupt", i);
        net_driver_drain(&bed->net[0]);
    }
    for (unsigned to = 4; to < 6; to++) {
        assert_true(count(bed, to) > 0);
        assert_true(atomic_load(&bed->device.msi_address[to]) == ADDRESS(to));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(PCI_08_isr_and_line),
        BED_TEST(PCI_08_interrupt_disable),
        BED_TEST(BOOT_03_rings_and_kicks_before_features),
        BED_TEST(PCI_08_driver_that_waits_for_the_line_sees_every_frame),
        BED_TEST(PCI_09_each_event_has_its_vector),
        BED_TEST(PCI_09_vectors_that_are_none),
        BED_TEST(PCI_09_no_vector_means_silence),
        BED_TEST(PCI_09_shared_vector),
        BED_TEST(PCI_09_masked_vector_is_pending),
        BED_TEST(PCI_09_masked_function_is_pending),
        BED_TEST(PCI_13_no_message_without_bus_master),
        BED_TEST(PCI_09_reset_forgets_vectors_and_pending_bits),
        BED_TEST(PCI_09_back_to_the_line),
        BED_TEST(PCI_09_table_of_every_width),
        BED_TEST(PCI_09_most_vectors),
        BED_TEST(PCI_09_vectors_move_under_traffic),
    };

    return cmocka_run_group_tests_name("pci_interrupts", tests, NULL, NULL);
}
