/* SPDX-License-Identifier: MIT */
/* Saved state: a card is replaced by another, and its driver does not notice; bytes that are no
 * state of this card are refused, whatever they say. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/records.h"
#include "check.h"
#include "clockwork.h"
#include "machine.h"

#define VERSION_1   (1ull << 32)
#define EVENT_IDX   (1ull << 29)
#define NET_STATUS  (1ull << 16)
#define RING_PACKED (1ull << 34)

enum {
    TAG_UNKNOWN = 60,
    TAG_QUEUES = 17,
};

struct state {
    uint8_t *bytes; /* owned */
    size_t len;
};

struct bed {
    struct guest_machine guest;
    struct machine machine;
};

static struct bed *bed_with(enum vionic_threads threads, enum machine_rings rings)
{
    struct bed *bed = malloc(sizeof(*bed));
    struct vionic_nic_config config = {0};

    assert_non_null(bed);
    guest_machine_init(&bed->guest, rings);
    machine_open(&bed->machine, &bed->guest, &config, threads);
    return bed;
}

static struct bed *bed_new(void)
{
    return bed_with(VIONIC_THREADS_WORKERS, MACHINE_SPLIT);
}

static void bed_free(struct bed *bed)
{
    machine_close(&bed->machine);
    guest_machine_free(&bed->guest);
    free(bed);
}

static struct state save(struct vionic_nic *nic)
{
    struct vionic_error err;
    struct state state;
    void *bytes;

    check(vionic_nic_save(nic, &bytes, &state.len, &err) == 0, "%s", err.text);
    state.bytes = bytes;
    return state;
}

static void restore(struct vionic_nic *nic, const struct state *state)
{
    struct vionic_error err;

    check(vionic_nic_restore(nic, state->bytes, state->len, &err) == 0, "%s", err.text);
}

static void expect_refusal(struct vionic_nic *nic, const void *bytes, size_t len, const char *words)
{
    struct vionic_error err = {""};

    assert_int_equal(vionic_nic_restore(nic, bytes, len, &err), -EINVAL);
    check(strstr(err.text, words) != NULL, "it says \"%s\", and nothing of \"%s\"", err.text,
          words);
    assert_int_equal(vionic_nic_restore(nic, bytes, len, NULL), -EINVAL);
}

/* What was changed is made to look sound. */
static void seal(struct state *state)
{
    uint32_t crc;

    if (state->len < RECORDS_HEADER_LEN)
        return;
    crc = records_crc(state->bytes, state->len);
    for (unsigned i = 0; i < 4; i++)
        state->bytes[RECORDS_CRC_OFFSET + i] = (uint8_t)(crc >> (8 * i));
}

static void resize(struct state *state, size_t len)
{
    state->bytes = realloc(state->bytes, len + 1);
    assert_non_null(state->bytes);
    state->len = len;
    for (unsigned i = 0; i < 8 && len >= RECORDS_HEADER_LEN; i++)
        state->bytes[12 + i] = (uint8_t)((uint64_t)len >> (8 * i));
    seal(state);
}

/* ---- the driver goes on ----------------------------------------------------------------- */

static uint64_t stat_of(struct vionic_nic *nic, const char *name);

/* The card is replaced in the middle of its work, again and again. */
static void replace_card_at_work(enum machine_rings rings, uint64_t features)
{
    struct bed *bed = bed_with(VIONIC_THREADS_WORKERS, rings);

    machine_start(&bed->machine, features);
    for (unsigned i = 0; i < 10; i++) {
        struct vionic_nic_config config = {0};
        struct state saved;
        uint64_t packets;

        for (unsigned k = 0; k < 20 + 13 * i; k++)
            machine_exchange(&bed->machine, 60 + 17 * k % 1400);
        packets = stat_of(bed->machine.nic, "tx_packets");
        saved = save(bed->machine.nic);
        machine_exchange(&bed->machine, 300); /* the old one goes on, if one lets it */
        free(saved.bytes);
        saved = save(bed->machine.nic);
        machine_close(&bed->machine);
        machine_open(&bed->machine, &bed->guest, &config, VIONIC_THREADS_WORKERS);
        restore(bed->machine.nic, &saved);
        machine_bind(&bed->machine);
        assert_int_equal(machine_read(&bed->machine, REG_STATUS), 1 | 2 | 8 | 4);
        assert_int_equal(stat_of(bed->machine.nic, "tx_packets"), packets + 1);
        machine_exchange(&bed->machine, 1000);
        free(saved.bytes);
    }
    bed_free(bed);
}

static void a_driver_does_not_notice(void **state)
{
    (void)state;
    replace_card_at_work(MACHINE_SPLIT, VERSION_1 | EVENT_IDX | NET_STATUS);
}

static void a_driver_of_packed_rings_does_not_notice(void **state)
{
    (void)state;
    replace_card_at_work(MACHINE_PACKED, VERSION_1 | EVENT_IDX | NET_STATUS | RING_PACKED);
}

/* Frames that the driver sent while nobody was there are sent by the new card. */
static void what_was_queued_meanwhile_is_moved(void **state)
{
    struct bed *bed = bed_new();
    struct vionic_nic_config config = {0};
    struct net_driver *net = &bed->guest.net;
    uint8_t sent[200], got[2048];
    struct state saved;

    (void)state;
    machine_start(&bed->machine, VERSION_1 | EVENT_IDX);
    machine_exchange(&bed->machine, 300);
    saved = save(bed->machine.nic);
    machine_close(&bed->machine);
    bed->guest.ring[1]->kick_fd = -1;
    net_frame_make(sent, sizeof(sent), (const uint8_t *)"\x52\x54\0\0\0\x07", 4711);
    net_driver_queue(net, sent, sizeof(sent));
    net->tx->ops->publish(net->tx);
    machine_open(&bed->machine, &bed->guest, &config, VIONIC_THREADS_WORKERS);
    restore(bed->machine.nic, &saved);
    machine_bind(&bed->machine);
    assert_int_equal(net_driver_receive(net, got, sizeof(got), WAIT_LONG_MS), sizeof(sent));
    assert_memory_equal(got, sent, sizeof(sent));
    net_driver_drain(net);
    machine_exchange(&bed->machine, 300);
    free(saved.bytes);
    bed_free(bed);
}

static void interrupts_and_registers_come_along(void **state)
{
    struct bed *bed = bed_new();
    struct vionic_nic_config config = {0};
    struct state saved;

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    bed->guest.ring[0]->ops->interrupts(bed->guest.ring[0], INTERRUPTS_ON);
    machine_exchange(&bed->machine, 300);
    machine_write(&bed->machine, REG_QUEUE_SEL, 1);
    saved = save(bed->machine.nic);
    machine_close(&bed->machine);
    machine_open(&bed->machine, &bed->guest, &config, VIONIC_THREADS_WORKERS);
    restore(bed->machine.nic, &saved);
    machine_bind(&bed->machine);
    assert_int_equal(__atomic_load_n(&bed->machine.line, __ATOMIC_ACQUIRE), 1);
    assert_int_equal(machine_read(&bed->machine, REG_INTERRUPT_STATUS), 1);
    assert_int_equal(machine_read(&bed->machine, REG_QUEUE_READY), 1);
    machine_write(&bed->machine, REG_INTERRUPT_ACK, 1);
    assert_int_equal(__atomic_load_n(&bed->machine.line, __ATOMIC_ACQUIRE), 0);
    machine_exchange(&bed->machine, 300);
    free(saved.bytes);
    bed_free(bed);
}

/* A driver half way through its set-up, at each step of it. */
static void every_step_of_the_start_can_be_saved(void **state)
{
    static const uint8_t steps[] = {0, 1, 3, 11};
    struct bed *bed = bed_new();

    (void)state;
    for (size_t i = 0; i < sizeof(steps); i++) {
        struct state saved;

        machine_write(&bed->machine, REG_STATUS, 0);
        machine_write(&bed->machine, REG_DRIVER_FEATURES_SEL, 1);
        machine_write(&bed->machine, REG_DRIVER_FEATURES, 1);
        for (size_t k = 1; k <= i; k++)
            machine_write(&bed->machine, REG_STATUS, steps[k]);
        saved = save(bed->machine.nic);
        vionic_nic_reset(bed->machine.nic);
        restore(bed->machine.nic, &saved);
        assert_int_equal(machine_read(&bed->machine, REG_STATUS), steps[i]);
        vionic_nic_reset(bed->machine.nic);
        free(saved.bytes);
    }
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 300);
    bed_free(bed);
}

/* ---- hostile bytes ---------------------------------------------------------------------- */

static struct state saved_at_work(struct bed *bed)
{
    struct state saved;

    machine_start(&bed->machine, VERSION_1 | EVENT_IDX);
    machine_exchange(&bed->machine, 300);
    saved = save(bed->machine.nic);
    vionic_nic_reset(bed->machine.nic);
    return saved;
}

/* Whatever was tried: as after power-up, and good for a driver. */
static void expect_untouched(struct bed *bed)
{
    assert_int_equal(machine_read(&bed->machine, REG_STATUS), 0);
    machine_start(&bed->machine, VERSION_1);
    machine_exchange(&bed->machine, 300);
}

static void a_state_that_is_cut_is_refused(void **state)
{
    struct bed *bed = bed_with(VIONIC_THREADS_NONE, MACHINE_SPLIT);
    struct state saved = saved_at_work(bed);

    (void)state;
    for (size_t len = 0; len < saved.len; len++) {
        struct state cut = {malloc(len + 1), len};

        memcpy(cut.bytes, saved.bytes, len);
        assert_int_equal(vionic_nic_restore(bed->machine.nic, cut.bytes, len, NULL), -EINVAL);
        resize(&cut,
               len); /* … and now it says so itself; only what may be left out may be missing */
        assert_int_equal(vionic_nic_restore(bed->machine.nic, cut.bytes, len, NULL), -EINVAL);
        free(cut.bytes);
    }
    free(saved.bytes);
    expect_untouched(bed);
    bed_free(bed);
}

static void every_flipped_bit_is_refused_or_harmless(void **state)
{
    struct bed *bed = bed_with(VIONIC_THREADS_NONE, MACHINE_SPLIT);
    struct state saved = saved_at_work(bed);
    unsigned refused = 0, taken = 0;

    (void)state;
    for (size_t bit = 0; bit < 8 * saved.len; bit++) {
        saved.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (bit % 64 == 0)
            expect_refusal(bed->machine.nic, saved.bytes, saved.len, "saved state");
        seal(&saved);
        if (vionic_nic_restore(bed->machine.nic, saved.bytes, saved.len, NULL) == 0) {
            taken++;
            vionic_nic_reset(bed->machine.nic);
        } else {
            refused++;
            assert_int_equal(machine_read(&bed->machine, REG_STATUS), 0);
        }
        saved.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(refused > 0 && taken > 0);
    seal(&saved);
    free(saved.bytes);
    expect_untouched(bed);
    bed_free(bed);
}

static void append_record(struct state *state, unsigned tag, unsigned need, size_t payload)
{
    size_t at = state->len;

    state->bytes = realloc(state->bytes, at + 8 + payload);
    assert_non_null(state->bytes);
    memset(state->bytes + at, 0, 8 + payload);
    state->bytes[at] = (uint8_t)tag;
    state->bytes[at + 2] = (uint8_t)need;
    for (unsigned i = 0; i < 4; i++)
        state->bytes[at + 4 + i] = (uint8_t)(payload >> (8 * i));
    resize(state, at + 8 + payload);
}

static void newer_records_are_skipped_or_refused(void **state)
{
    struct bed *bed = bed_with(VIONIC_THREADS_NONE, MACHINE_SPLIT);
    struct state saved = saved_at_work(bed);
    size_t len = saved.len;

    (void)state;
    append_record(&saved, TAG_UNKNOWN, RECORD_OPTIONAL, 100);
    restore(bed->machine.nic, &saved);
    vionic_nic_reset(bed->machine.nic);
    resize(&saved, len);
    append_record(&saved, TAG_UNKNOWN, RECORD_MANDATORY, 100);
    expect_refusal(bed->machine.nic, saved.bytes, saved.len, "this build does not have");
    resize(&saved, len);
    append_record(&saved, TAG_QUEUES, RECORD_OPTIONAL, 0);
    expect_refusal(bed->machine.nic, saved.bytes, saved.len, "twice");
    resize(&saved, len);
    append_record(&saved, TAG_UNKNOWN, 2, 0);
    expect_refusal(bed->machine.nic, saved.bytes, saved.len, "malformed");
    free(saved.bytes);
    expect_untouched(bed);
    bed_free(bed);
}

static void no_state_is_longer_than_a_megabyte(void **state)
{
    struct bed *bed = bed_with(VIONIC_THREADS_NONE, MACHINE_SPLIT);
    struct state saved = saved_at_work(bed);
    size_t rest = RECORDS_LEN_MAX - saved.len - 8;
    size_t len = saved.len;

    (void)state;
    append_record(&saved, TAG_UNKNOWN, RECORD_OPTIONAL, rest);
    assert_int_equal(saved.len, RECORDS_LEN_MAX);
    restore(bed->machine.nic, &saved);
    vionic_nic_reset(bed->machine.nic);
    resize(&saved, len);
    append_record(&saved, TAG_UNKNOWN, RECORD_OPTIONAL, rest + 1);
    expect_refusal(bed->machine.nic, saved.bytes, saved.len, "longer than any");
    free(saved.bytes);
    expect_untouched(bed);
    bed_free(bed);
}

/* ---- the wrong card --------------------------------------------------------------------- */

static void a_card_at_work_is_left_alone(void **state)
{
    struct bed *bed = bed_new();
    struct state saved = saved_at_work(bed);
    struct vionic_error err;

    (void)state;
    machine_start(&bed->machine, VERSION_1);
    assert_int_equal(vionic_nic_restore(bed->machine.nic, saved.bytes, saved.len, &err), -EBUSY);
    machine_exchange(&bed->machine, 300);
    free(saved.bytes);
    bed_free(bed);
}

static void rings_have_to_lie_in_memory(void **state)
{
    struct bed *bed = bed_new();
    struct state saved = saved_at_work(bed);

    (void)state;
    assert_int_equal(vionic_nic_set_memory(bed->machine.nic, NULL, 0, NULL), 0);
    expect_refusal(bed->machine.nic, saved.bytes, saved.len, "not inside guest memory");
    machine_set_memory(&bed->machine);
    free(saved.bytes);
    expect_untouched(bed);
    bed_free(bed);
}

static struct vionic_nic *add_nic(struct bed *bed, struct vionic_nic_config *config)
{
    struct vionic_nic *nic;
    struct vionic_error err;

    config->size = sizeof(*config);
    check(vionic_add_nic(bed->machine.vionic, config, &nic, &err) == 0, "%s", err.text);
    return nic;
}

static void the_state_of_another_kind_of_card_is_refused(void **state)
{
    struct bed *bed = bed_new();
    struct state saved = saved_at_work(bed);
    struct vionic_nic_config pairs = {
        .endpoint = "loopback", .transport = VIONIC_TRANSPORT_MMIO, .queue_pairs = 2};
    struct vionic_nic_config pci = {.endpoint = "loopback", .transport = VIONIC_TRANSPORT_PCI};
    struct vionic_nic_config socket = {.endpoint = "loopback",
                                       .socket_path = "/tmp/vionic-state-test"};
    struct vionic_nic *nic;
    struct vionic_error err;
    size_t len;
    void *bytes;

    (void)state;
    expect_refusal(add_nic(bed, &pairs), saved.bytes, saved.len, "queue pairs");
    expect_refusal(add_nic(bed, &pci), saved.bytes, saved.len, "virtio-pci");
    nic = add_nic(bed, &socket);
    assert_int_equal(vionic_nic_restore(nic, saved.bytes, saved.len, &err), -EOPNOTSUPP);
    assert_int_equal(vionic_nic_save(nic, &bytes, &len, &err), -EOPNOTSUPP);
    free(saved.bytes);
    bed_free(bed);
}

/* ---- PCI -------------------------------------------------------------------------------- */

enum {
    PCI_COMMAND = 0x04,
    PCI_BAR0 = 0x10,
    PCI_LINE = 0x3c,
    PCI_MSIX_CONTROL = 0x9a,
    PCI_TABLE = 0x8000,
    PCI_BAR_ADDRESS = 0xe0000000,
};

static struct state pci_saved(struct vionic_nic *nic)
{
    vionic_pci_write_config(nic, PCI_BAR0, 4, PCI_BAR_ADDRESS);
    vionic_pci_write_config(nic, PCI_LINE, 1, 11);
    vionic_pci_write_config(nic, PCI_MSIX_CONTROL, 2, 1 << 15);
    vionic_pci_write_config(nic, PCI_COMMAND, 2, 2 | 4);
    vionic_pci_write_bar(nic, PCI_TABLE, 4, 0xfee00000);
    vionic_pci_write_bar(nic, PCI_TABLE + 8, 4, 0x4711);
    vionic_pci_write_bar(nic, PCI_TABLE + 12, 4, 0);
    vionic_pci_write_bar(nic, 20, 1, 1 | 2);
    vionic_pci_write_bar(nic, 16, 2, 1); /* config_msix_vector */
    return save(nic);
}

static void a_pci_function_is_restored(void **state)
{
    struct vionic_nic_config pci = {.endpoint = "null", .transport = VIONIC_TRANSPORT_PCI};
    struct bed *bed = bed_with(VIONIC_THREADS_NONE, MACHINE_SPLIT);
    struct vionic_nic *nic = add_nic(bed, &pci);
    struct state saved = pci_saved(nic);
    struct vionic_nic *other = add_nic(bed, &pci);
    uint64_t address;

    (void)state;
    restore(other, &saved);
    assert_int_equal(vionic_pci_bar_address(other, &address), 1);
    assert_int_equal(address, PCI_BAR_ADDRESS);
    assert_int_equal(vionic_pci_read_bar(other, PCI_TABLE + 8, 4), 0x4711);
    assert_int_equal(vionic_pci_read_bar(other, PCI_TABLE + 12, 4), 0);
    assert_int_equal(vionic_pci_read_bar(other, PCI_TABLE + 16 + 12, 4), 1);
    assert_int_equal(vionic_pci_read_bar(other, 20, 1), 3);
    assert_int_equal(vionic_pci_read_bar(other, 16, 2), 1);
    for (unsigned at = 0; at < VIONIC_PCI_CONFIG_LEN; at += 4)
        assert_int_equal(vionic_pci_read_config(other, at, 4), vionic_pci_read_config(nic, at, 4));
    for (size_t bit = 0; bit < 8 * saved.len; bit++) {
        saved.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        seal(&saved);
        vionic_nic_reset(other);
        vionic_nic_restore(other, saved.bytes, saved.len, NULL);
        saved.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    seal(&saved);
    vionic_nic_reset(other);
    restore(other, &saved);
    free(saved.bytes);
    bed_free(bed);
}

/* ---- statistics ------------------------------------------------------------------------- */

struct finder {
    const char *name;
    uint64_t value;
};

static void find_number(void *context, const char *name, uint64_t value, int style)
{
    struct finder *finder = context;

    (void)style;
    if (strcmp(name, finder->name) == 0)
        finder->value = value;
}

static uint64_t stat_of(struct vionic_nic *nic, const char *name)
{
    struct finder finder = {.name = name};
    const struct vionic_visitor visitor = {
        .size = sizeof(visitor), .context = &finder, .number = find_number};

    assert_int_equal(vionic_nic_inspect(nic, &visitor), 0);
    return finder.value;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_driver_does_not_notice),
        cmocka_unit_test(a_driver_of_packed_rings_does_not_notice),
        cmocka_unit_test(what_was_queued_meanwhile_is_moved),
        cmocka_unit_test(interrupts_and_registers_come_along),
        cmocka_unit_test(every_step_of_the_start_can_be_saved),
        cmocka_unit_test(a_state_that_is_cut_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_harmless),
        cmocka_unit_test(newer_records_are_skipped_or_refused),
        cmocka_unit_test(no_state_is_longer_than_a_megabyte),
        cmocka_unit_test(a_card_at_work_is_left_alone),
        cmocka_unit_test(rings_have_to_lie_in_memory),
        cmocka_unit_test(the_state_of_another_kind_of_card_is_refused),
        cmocka_unit_test(a_pci_function_is_restored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
