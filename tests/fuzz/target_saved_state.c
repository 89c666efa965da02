/* SPDX-License-Identifier: MIT */
/*
 * Saved state from anybody: the input is a list of records, or changes to a state that was sound.
 * Its header is made to fit, so that it is judged by what it says. The card without threads runs
 * inside the target.
 *
 * Whatever comes: a card that refused is as after power-up, one that took it can be used, saved
 * again (and that is taken back), reset, and driven anew.
 */
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/records.h"
#include "fuzz.h"
#include "vionic.h"

enum {
    MEMORY_GPA = 0x10000,
    MEMORY_LEN = 0x20000,
    RING_SIZE = 16,
    PAIRS = 2,

    /* Of the input's first byte. */
    CHOOSE_PCI = 1,
    CHOOSE_CHANGES = 2, /* to a sound state, instead of records */
    CHOOSE_RAW = 4,     /* the header is the input's too */

    MMIO_STATUS = 0x70,
    PCI_STATUS = 20, /* in the BAR */
    RUNNING = 1 | 2 | 4 | 8,
};

static struct {
    struct vionic *vionic;
    struct vionic_nic *nic[2];
    uint8_t *state[2]; /* of a driver at work */
    size_t len[2];
} cards;

static uint8_t memory[MEMORY_LEN] __attribute__((aligned(4096)));

/* ---- a driver --------------------------------------------------------------------------- */

static uint32_t status_of(unsigned which)
{
    if (which == CHOOSE_PCI)
        return (uint32_t)vionic_pci_read_bar(cards.nic[which], PCI_STATUS, 1);
    return (uint32_t)vionic_mmio_read(cards.nic[which], MMIO_STATUS, 4);
}

static void set(unsigned which, unsigned mmio_offset, unsigned pci_offset, uint32_t value)
{
    static const uint8_t pci_width[] = {[0] = 4,  [8] = 4,  [12] = 4, [20] = 1, [22] = 2,
                                        [24] = 2, [28] = 2, [32] = 4, [40] = 4, [48] = 4};

    if (which == CHOOSE_PCI)
        vionic_pci_write_bar(cards.nic[which], pci_offset, pci_width[pci_offset], value);
    else
        vionic_mmio_write(cards.nic[which], mmio_offset, 4, value);
}

static void queue_setup(unsigned which, unsigned queue)
{
    uint32_t ring = MEMORY_GPA + 0x1000 * queue;

    set(which, 0x030, 22, queue);
    set(which, 0x038, 24, RING_SIZE);
    set(which, 0x080, 32, ring);
    set(which, 0x090, 40, ring + 0x400);
    set(which, 0x0a0, 48, ring + 0x800);
    set(which, 0x044, 28, 1);
}

/* VERSION_1, MQ and the control queue. */
static void drive(unsigned which)
{
    vionic_pci_write_config(cards.nic[which], 0x10, 4, 0xe0000000);
    vionic_pci_write_config(cards.nic[which], 0x04, 2, 2 | 4);
    set(which, MMIO_STATUS, PCI_STATUS, 1 | 2);
    set(which, 0x024, 8, 0);
    set(which, 0x020, 12, 1 << 22 | 1 << 17);
    set(which, 0x024, 8, 1);
    set(which, 0x020, 12, 1);
    set(which, MMIO_STATUS, PCI_STATUS, 1 | 2 | 8);
    for (unsigned queue = 0; queue <= 2 * PAIRS; queue++)
        queue_setup(which, queue);
    set(which, MMIO_STATUS, PCI_STATUS, RUNNING);
    vionic_poll(cards.vionic, 8);
    FUZZ_CHECK(status_of(which) == RUNNING, "status is 0x%x", status_of(which));
}

static void library_start(void)
{
    const struct vionic_config config = {.size = sizeof(config), .threads = VIONIC_THREADS_NONE};
    const struct vionic_memory table = {.gpa = MEMORY_GPA, .size = MEMORY_LEN, .address = memory};
    struct vionic_error err;
    void *state;

    if (cards.vionic != NULL)
        return;
    log_set_level(LOG_LEVEL_ERROR);
    FUZZ_CHECK(vionic_create(&config, &cards.vionic, &err) == 0, "%s", err.text);
    for (unsigned which = 0; which < 2; which++) {
        const struct vionic_nic_config nic = {
            .size = sizeof(nic),
            .endpoint = "loopback",
            .queue_pairs = PAIRS,
            .mac = {2, 0, 0, 0, 0, 1},
            .transport = which == CHOOSE_PCI ? VIONIC_TRANSPORT_PCI : VIONIC_TRANSPORT_MMIO};

        FUZZ_CHECK(vionic_add_nic(cards.vionic, &nic, &cards.nic[which], &err) == 0, "%s",
                   err.text);
        FUZZ_CHECK(vionic_nic_set_memory(cards.nic[which], &table, 1, &err) == 0, "%s", err.text);
        drive(which);
        FUZZ_CHECK(vionic_nic_save(cards.nic[which], &state, &cards.len[which], &err) == 0, "%s",
                   err.text);
        cards.state[which] = state;
        vionic_nic_reset(cards.nic[which]);
    }
}

/* ---- the state -------------------------------------------------------------------------- */

static void put(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void seal(uint8_t *state, size_t len)
{
    put(state + 12, len, 8);
    put(state + RECORDS_CRC_OFFSET, records_crc(state, len), 4);
}

/* The input makes a state in a buffer of just its size. */
static uint8_t *state_make(struct fuzz_input *input, unsigned choice, size_t *ret_len)
{
    unsigned which = choice & CHOOSE_PCI;
    size_t header = choice & CHOOSE_RAW ? 0 : RECORDS_HEADER_LEN;
    size_t len = choice & CHOOSE_CHANGES ? cards.len[which] : header + input->left;
    uint8_t *state = malloc(len + 1);

    FUZZ_CHECK(state != NULL, "no memory");
    *ret_len = len;
    if (choice & CHOOSE_CHANGES) {
        memcpy(state, cards.state[which], len);
        while (input->left != 0) {
            size_t at = fuzz_u16(input) % len;

            state[at] = fuzz_u8(input);
        }
    } else {
        memcpy(state, cards.state[which], header);
        memcpy(state + header, input->at, input->left);
    }
    if (!(choice & CHOOSE_RAW))
        seal(state, len);
    return state;
}

static void check_again(unsigned which)
{
    struct vionic_error err;
    size_t len;
    void *state;

    FUZZ_CHECK(vionic_nic_save(cards.nic[which], &state, &len, &err) == 0, "%s", err.text);
    vionic_nic_reset(cards.nic[which]);
    FUZZ_CHECK(vionic_nic_restore(cards.nic[which], state, len, &err) == 0,
               "what was saved is refused: %s", err.text);
    vionic_poll(cards.vionic, 8);
    free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct vionic_error err;
    unsigned choice, which;
    uint8_t *state;
    size_t len;
    int result;

    library_start();
    memset(memory, 0, sizeof(memory));
    choice = fuzz_u8(&input);
    which = choice & CHOOSE_PCI;
    state = state_make(&input, choice, &len);
    result = vionic_nic_restore(cards.nic[which], state, len, &err);
    free(state);
    FUZZ_CHECK(result == 0 || (result == -22 && err.text[0] != '\0'), "it answers %d", result);
    vionic_poll(cards.vionic, 8);
    if (result == 0)
        check_again(which);
    else
        FUZZ_CHECK(which == CHOOSE_PCI || status_of(which) == 0, "refused and not as before");
    vionic_nic_reset(cards.nic[which]);
    memset(memory, 0, sizeof(memory));
    drive(which);
    vionic_nic_reset(cards.nic[which]);
    return 0;
}
