/* SPDX-License-Identifier: MIT */
/* Cards whose registers are in this process, through the public header. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"
#include "machine.h"
#include "vionic_endpoint.h"

#define VERSION_1 (1ull << 32)
#define EVENT_IDX (1ull << 29)

enum {
    NEEDS_RESET = 64
};

struct bed {
    struct guest_machine guest;
    struct machine machine;
};

static struct bed *bed_new(void)
{
    struct bed *bed = malloc(sizeof(*bed));
    struct vionic_nic_config config = {0};

    assert_non_null(bed);
    guest_machine_init(&bed->guest, MACHINE_SPLIT);
    machine_open(&bed->machine, &bed->guest, &config, VIONIC_THREADS_WORKERS);
    return bed;
}

static void bed_free(struct bed *bed)
{
    machine_close(&bed->machine);
    guest_machine_free(&bed->guest);
    free(bed);
}

/* ---- packets, kicks, interrupts --------------------------------------------------------- */

static void a_driver_in_this_process_moves_packets(void **state)
{
    struct bed *bed = bed_new();

    (void)state;
    assert_int_equal(machine_read(&bed->machine, 0), 0x74726976);
    assert_int_equal(vionic_nic_queue_count(bed->machine.nic), 3); /* with the control queue */
    assert_true(machine_device_features(&bed->machine) & VERSION_1);
    machine_start(&bed->machine, VERSION_1 | EVENT_IDX);
    for (unsigned i = 0; i < 300; i++)
        machine_exchange(&bed->machine, 60 + 6 * i);
    bed_free(bed);
}

static void interrupts_come_as_level_and_by_eventfd(void **state)
{
    struct bed *bed = bed_new();

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    bed->guest.ring[0]->ops->interrupts(bed->guest.ring[0], INTERRUPTS_ON);
    machine_exchange(&bed->machine, 200);
    assert_true(wait_eventfd(bed->machine.line_fd, WAIT_LONG_MS) > 0);
    assert_int_equal(__atomic_load_n(&bed->machine.line, __ATOMIC_ACQUIRE), 1);
    assert_int_equal(machine_read(&bed->machine, REG_INTERRUPT_STATUS), 1);
    machine_write(&bed->machine, REG_INTERRUPT_ACK, 1);
    assert_int_equal(__atomic_load_n(&bed->machine.line, __ATOMIC_ACQUIRE), 0);
    bed_free(bed);
}

static void a_kick_by_register_is_as_good(void **state)
{
    struct bed *bed = bed_new();
    struct net_driver *net = &bed->guest.net;
    uint8_t frame[100] = {0};

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 200);
    net_driver_queue(net, frame, sizeof(frame));
    net->tx->ops->publish(net->tx);
    machine_write(&bed->machine, REG_QUEUE_NOTIFY, 1);
    net_driver_drain(net);
    assert_int_equal(vionic_nic_kick_fd(bed->machine.nic, 3), -1);
    bed_free(bed);
}

static void any_access_is_harmless(void **state)
{
    static const unsigned widths[] = {0, 1, 2, 3, 4, 5, 8, 16, UINT32_MAX};
    struct bed *bed = bed_new();

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    for (uint64_t offset = 0; offset < 2 * VIONIC_MMIO_LEN; offset++) {
        for (unsigned i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
            vionic_mmio_read(bed->machine.nic, offset, widths[i]);
            if (widths[i] != 4 || offset >= VIONIC_MMIO_LEN)
                vionic_mmio_write(bed->machine.nic, offset, widths[i], UINT64_MAX);
        }
    }
    assert_int_equal(vionic_mmio_read(bed->machine.nic, UINT64_MAX, 8), 0);
    machine_exchange(&bed->machine, 200);
    bed_free(bed);
}

static void a_reset_of_the_machine_is_one_of_the_card(void **state)
{
    struct bed *bed = bed_new();

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 200);
    vionic_nic_reset(bed->machine.nic);
    assert_int_equal(machine_read(&bed->machine, REG_STATUS), 0);
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 200);
    bed_free(bed);
}

/* ---- memory ----------------------------------------------------------------------------- */

static void memory_may_be_replaced_under_a_running_card(void **state)
{
    struct bed *bed = bed_new();
    static uint8_t rom[4096];
    struct vionic_memory memory[2] = {
        [1] = {.gpa = MACHINE_ROM_GPA,
               .size = sizeof(rom),
               .address = rom,
               .flags = VIONIC_MEMORY_READ_ONLY},
    };
    struct vionic_error err;

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    memory[0] = (struct vionic_memory){.gpa = bed->guest.ram.region[0].gpa,
                                       .size = bed->guest.ram.region[0].size,
                                       .address = bed->guest.ram.region[0].map};
    for (unsigned i = 0; i < 20; i++) {
        machine_exchange(&bed->machine, 200);
        check(vionic_nic_set_memory(bed->machine.nic, memory, 1 + i % 2, &err) == 0, "%s",
              err.text);
    }
    bed_free(bed);
}

static void memory_that_goes_away_breaks_the_rings(void **state)
{
    struct bed *bed = bed_new();

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 200);
    assert_int_equal(vionic_nic_set_memory(bed->machine.nic, NULL, 0, NULL), 0);
    machine_wait_status(&bed->machine, NEEDS_RESET);
    machine_set_memory(&bed->machine);
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 200);
    bed_free(bed);
}

static void expect_no_memory(struct vionic_nic *nic, const struct vionic_memory *memory,
                             size_t count, int error)
{
    struct vionic_error err = {""};

    assert_int_equal(vionic_nic_set_memory(nic, memory, count, &err), error);
    assert_true(err.text[0] != '\0');
    assert_int_equal(vionic_nic_set_memory(nic, memory, count, NULL), error);
}

static void bad_memory_is_refused_and_changes_nothing(void **state)
{
    struct bed *bed = bed_new();
    static uint8_t bytes[8192];
    struct vionic_memory memory[2] = {
        {.gpa = 0, .size = 4096, .address = bytes},
        {.gpa = 2048, .size = 4096, .address = bytes + 4096},
    };
    struct vionic_nic *nic = bed->machine.nic;

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    expect_no_memory(nic, memory, 2, -EEXIST);
    memory[0].size = 0;
    expect_no_memory(nic, memory, 1, -EINVAL);
    memory[0] = (struct vionic_memory){.gpa = UINT64_MAX - 100, .size = 4096, .address = bytes};
    expect_no_memory(nic, memory, 1, -EINVAL);
    memory[0] = (struct vionic_memory){.gpa = 0, .size = 4096};
    expect_no_memory(nic, memory, 1, -EINVAL);
    memory[0] = (struct vionic_memory){.gpa = 0, .size = 4096, .address = bytes, .flags = 2};
    expect_no_memory(nic, memory, 1, -EINVAL);
    machine_exchange(&bed->machine, 200);
    bed_free(bed);
}

/* ---- PCI -------------------------------------------------------------------------------- */

enum {
    PCI_COMMAND = 0x04,
    PCI_MEMORY_SPACE = 1 << 1,
    PCI_BAR0 = 0x10,
    PCI_BAR_ADDRESS = 0xe0000000,
};

struct bar {
    uint64_t address;
    int mapped;
};

static void note_bar(void *context, uint64_t address, int mapped)
{
    struct bar *bar = context;

    bar->address = address;
    bar->mapped = mapped;
}

/* Common configuration lies at the start of the BAR (virtio 1.4, 4.1.4.3): status is byte 20. */
static void a_pci_function_answers(void **state)
{
    struct bar bar = {0};
    struct vionic_config library = {.size = sizeof(library)};
    struct vionic_interrupts interrupts = {
        .size = sizeof(interrupts), .context = &bar, .bar_moved = note_bar};
    struct vionic_nic_config config = {.size = sizeof(config),
                                       .endpoint = "null",
                                       .transport = VIONIC_TRANSPORT_PCI,
                                       .interrupts = &interrupts};
    struct vionic *vionic;
    struct vionic_nic *nic;
    uint64_t address = 0;

    (void)state;
    assert_int_equal(vionic_create(&library, &vionic, NULL), 0);
    config.pci_vectors = 2049;
    assert_int_equal(vionic_add_nic(vionic, &config, &nic, NULL), -EINVAL);
    config.pci_vectors = 0;
    assert_int_equal(vionic_add_nic(vionic, &config, &nic, NULL), 0);
    assert_int_equal(vionic_pci_read_config(nic, 0, 4), 0x10411af4);
    assert_int_equal(vionic_pci_bar_address(nic, &address), 0);
    vionic_pci_write_config(nic, PCI_BAR0, 4, PCI_BAR_ADDRESS);
    vionic_pci_write_config(nic, PCI_COMMAND, 2, PCI_MEMORY_SPACE);
    assert_int_equal(vionic_pci_bar_address(nic, &address), 1);
    assert_int_equal(address, PCI_BAR_ADDRESS);
    assert_int_equal(bar.mapped, 1);
    assert_int_equal(bar.address, PCI_BAR_ADDRESS);
    vionic_pci_write_bar(nic, 20, 1, 1 | 2);
    assert_int_equal(vionic_pci_read_bar(nic, 20, 1), 1 | 2);
    assert_int_equal(vionic_nic_queue_count(nic), 3);
    assert_true(vionic_nic_kick_fd(nic, 0) >= 0);
    assert_int_equal(vionic_mmio_read(nic, 0, 4), 0);
    vionic_nic_reset(nic);
    assert_int_equal(bar.mapped, 0);
    assert_int_equal(vionic_nic_set_memory(nic, NULL, 0, NULL), 0);
    vionic_free(vionic);
}

/* ---- what belongs to one transport only ------------------------------------------------- */

static void expect_refusal(struct vionic *vionic, const struct vionic_nic_config *config)
{
    struct vionic_error err = {""};

    assert_int_equal(vionic_add_nic(vionic, config, NULL, &err), -EINVAL);
    assert_true(err.text[0] != '\0');
}

static void transports_are_not_mixed(void **state)
{
    struct bed *bed = bed_new();
    const struct vionic_memory memory = {.size = 4096, .address = bed};
    struct vionic_interrupts interrupts = {.size = sizeof(interrupts)};
    struct vionic_nic_config config = {.size = sizeof(config), .endpoint = "null"};
    struct vionic *vionic = bed->machine.vionic;
    struct vionic_nic *nic;

    (void)state;
    expect_refusal(vionic, &config); /* no socket */
    config.socket_path = "/tmp/vionic-embedded-test";
    config.interrupts = &interrupts;
    expect_refusal(vionic, &config);
    config.transport = VIONIC_TRANSPORT_MMIO;
    expect_refusal(vionic, &config); /* a socket */
    config.socket_path = NULL;
    interrupts.size = 0;
    expect_refusal(vionic, &config);
    config.transport = (enum vionic_transport)99;
    expect_refusal(vionic, &config);
    config = (struct vionic_nic_config){
        .size = sizeof(config), .endpoint = "null", .socket_path = "/tmp/vionic-embedded-test"};
    assert_int_equal(vionic_add_nic(vionic, &config, &nic, NULL), 0);
    expect_no_memory(nic, &memory, 1, -EOPNOTSUPP);
    assert_int_equal(vionic_mmio_read(nic, 0, 4), 0);
    assert_int_equal(vionic_pci_read_config(nic, 0, 4), 0);
    assert_int_equal(vionic_pci_read_bar(nic, 0, 4), 0);
    assert_int_equal(vionic_pci_bar_address(nic, &(uint64_t){0}), 0);
    vionic_mmio_write(nic, REG_STATUS, 4, 1);
    vionic_pci_write_config(nic, 4, 2, 2);
    vionic_pci_write_bar(nic, 20, 1, 1);
    vionic_nic_reset(nic);
    assert_int_equal(vionic_nic_queue_count(nic), 0);
    assert_int_equal(vionic_nic_kick_fd(nic, 0), -1);
    bed_free(bed);
}

/* ---- a reset while there is more to send ------------------------------------------------ */

/* An endpoint that takes one frame at a time, thinks about it, and looks how long it is. */
struct slow {
    int wait_fd; /* can always be written to */
    unsigned taken, odd;
};

enum {
    SLOW_FRAME_LEN = 100,
    SLOW_US = 20,
};

static int slow_queue_open(void *endpoint, unsigned index, struct vionic_rx *rx, void **ret_queue,
                           struct vionic_error *err)
{
    (void)index;
    (void)rx;
    (void)err;
    *ret_queue = endpoint;
    return 0;
}

static unsigned slow_send(void *queue, const struct vionic_frame *frames, unsigned count)
{
    struct slow *slow = queue;

    (void)count;
    usleep(SLOW_US);
    __atomic_fetch_add(&slow->taken, 1, __ATOMIC_RELAXED);
    if (frames[0].len != SLOW_FRAME_LEN)
        __atomic_fetch_add(&slow->odd, 1, __ATOMIC_RELAXED);
    return 1;
}

static int slow_wait_fd(void *queue)
{
    return ((struct slow *)queue)->wait_fd;
}

static const struct vionic_endpoint_ops slow_ops = {
    .size = sizeof(slow_ops),
    .kind = "slow",
    .queue_open = slow_queue_open,
    .send = slow_send,
    .wait_fd = slow_wait_fd,
};

/* How long a header is follows from what was agreed: the last frame before a reset leaves by that
 * agreement too. */
static void a_reset_cuts_no_frame_wrong(void **state)
{
    struct slow slow = {.wait_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    struct vionic_nic_config config = {.endpoint_ops = &slow_ops, .endpoint_context = &slow};
    uint8_t frame[SLOW_FRAME_LEN] = {0};
    struct guest_machine guest;
    struct machine machine;

    (void)state;
    guest_machine_init(&guest, MACHINE_SPLIT);
    machine_open(&machine, &guest, &config, VIONIC_THREADS_WORKERS);
    for (unsigned round = 0; round < 300; round++) {
        unsigned before = __atomic_load_n(&slow.taken, __ATOMIC_RELAXED);

        machine_start(&machine, VERSION_1);
        for (unsigned i = 0; i < NET_TX_SLOTS; i++)
            net_driver_queue(&guest.net, frame, sizeof(frame));
        guest.net.tx->ops->publish(guest.net.tx);
        machine_write(&machine, REG_QUEUE_NOTIFY, 1);
        while (__atomic_load_n(&slow.taken, __ATOMIC_RELAXED) == before)
            continue;
        machine_write(&machine, REG_STATUS, 0);
    }
    assert_int_equal(slow.odd, 0);
    machine_close(&machine);
    guest_machine_free(&guest);
    close(slow.wait_fd);
}

/* ---- a process that has run out of files ------------------------------------------------ */

static void C08_a_card_for_which_there_are_no_files_is_refused(void **state)
{
    static const enum vionic_transport transports[] = {VIONIC_TRANSPORT_MMIO, VIONIC_TRANSPORT_PCI};
    struct bed *bed = bed_new();
    struct vionic_nic_config config = {
        .size = sizeof(config), .endpoint = "null", .queue_pairs = 4};
    struct rlimit before, limit;
    int first_free = dup(0);
    unsigned refused = 0;

    (void)state;
    assert_true(first_free >= 0);
    close(first_free);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (unsigned i = 0; i < 2 * 30; i++) {
        struct vionic_error err = {""};
        struct vionic_nic *nic;

        config.transport = transports[i % 2];
        limit = before;
        limit.rlim_cur = (rlim_t)first_free + i / 2;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (vionic_add_nic(bed->machine.vionic, &config, &nic, &err) == 0) {
            vionic_remove_nic(nic);
            continue;
        }
        refused++;
        assert_true(err.text[0] != '\0');
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(refused > 10 && refused < 2 * 30);
    bed_free(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_driver_in_this_process_moves_packets),
        cmocka_unit_test(interrupts_come_as_level_and_by_eventfd),
        cmocka_unit_test(a_kick_by_register_is_as_good),
        cmocka_unit_test(any_access_is_harmless),
        cmocka_unit_test(a_reset_of_the_machine_is_one_of_the_card),
        cmocka_unit_test(memory_may_be_replaced_under_a_running_card),
        cmocka_unit_test(memory_that_goes_away_breaks_the_rings),
        cmocka_unit_test(bad_memory_is_refused_and_changes_nothing),
        cmocka_unit_test(a_pci_function_answers),
        cmocka_unit_test(transports_are_not_mixed),
        cmocka_unit_test(a_reset_cuts_no_frame_wrong),
        cmocka_unit_test(C08_a_card_for_which_there_are_no_files_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
