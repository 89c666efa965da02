/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

static const uint8_t machine_mac[6] = {0x52, 0x54, 0, 0, 0, 7};

/* ---- the guest -------------------------------------------------------------------------- */

void guest_machine_init(struct guest_machine *guest, enum machine_rings rings)
{
    const struct driver_split_options split = {.size = MACHINE_RING_SIZE};
    const struct driver_packed_options packed = {.size = MACHINE_RING_SIZE};
    const struct net_options net = {.header_len = NET_HEADER_MODERN, .rx_buffer_len = 2048};

    memset(guest, 0, sizeof(*guest));
    guest_ram_init(&guest->ram);
    guest_ram_add(&guest->ram, MACHINE_RAM_GPA, MACHINE_RAM_LEN, 0);
    for (unsigned i = 0; i < 2; i++) {
        driver_split_init(&guest->split[i], &guest->ram, &split);
        driver_packed_init(&guest->packed[i], &guest->ram, &packed);
        guest->ring[i] = rings == MACHINE_PACKED ? &guest->packed[i].ring : &guest->split[i].ring;
    }
    net_driver_init(&guest->net, guest->ring[0], guest->ring[1], &net);
}

void guest_machine_free(struct guest_machine *guest)
{
    for (unsigned i = 0; i < 2; i++) {
        driver_split_free(&guest->split[i]);
        driver_packed_free(&guest->packed[i]);
    }
    guest_ram_free(&guest->ram);
}

/* ---- the monitor ------------------------------------------------------------------------ */

static void line_changed(void *context, int level)
{
    struct machine *machine = context;

    __atomic_store_n(&machine->line, level, __ATOMIC_RELEASE);
    __atomic_add_fetch(&machine->lines, 1, __ATOMIC_RELAXED);
}

void machine_set_memory(struct machine *machine)
{
    const struct guest_ram_region *region = &machine->guest->ram.region[0];
    const struct vionic_memory memory = {
        .gpa = region->gpa, .size = region->size, .address = region->map};
    struct vionic_error err;

    check(vionic_nic_set_memory(machine->nic, &memory, 1, &err) == 0, "%s", err.text);
}

void machine_open(struct machine *machine, struct guest_machine *guest,
                  struct vionic_nic_config *config, enum vionic_threads threads)
{
    const struct vionic_config library = {.size = sizeof(library), .threads = threads};
    struct vionic_interrupts interrupts = {
        .size = sizeof(interrupts), .context = machine, .set_line = line_changed};
    struct vionic_error err;

    memset(machine, 0, sizeof(*machine));
    machine->guest = guest;
    machine->line_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    interrupts.line_eventfd = machine->line_fd;
    config->size = sizeof(*config);
    config->transport = VIONIC_TRANSPORT_MMIO;
    config->interrupts = &interrupts;
    memcpy(config->mac, machine_mac, 6);
    if (config->endpoint == NULL && config->endpoint_ops == NULL)
        config->endpoint = "loopback";
    check(vionic_create(&library, &machine->vionic, &err) == 0, "%s", err.text);
    check(vionic_add_nic(machine->vionic, config, &machine->nic, &err) == 0, "%s", err.text);
    machine_set_memory(machine);
}

void machine_close(struct machine *machine)
{
    vionic_free(machine->vionic);
    close(machine->line_fd);
}

uint32_t machine_read(struct machine *machine, unsigned reg)
{
    return (uint32_t)vionic_mmio_read(machine->nic, reg, 4);
}

void machine_write(struct machine *machine, unsigned reg, uint32_t value)
{
    vionic_mmio_write(machine->nic, reg, 4, value);
}

/* ---- the driver ------------------------------------------------------------------------- */

uint64_t machine_device_features(struct machine *machine)
{
    uint64_t low;

    machine_write(machine, REG_DEVICE_FEATURES_SEL, 0);
    low = machine_read(machine, REG_DEVICE_FEATURES);
    machine_write(machine, REG_DEVICE_FEATURES_SEL, 1);
    return low | (uint64_t)machine_read(machine, REG_DEVICE_FEATURES) << 32;
}

static void write_address(struct machine *machine, unsigned reg, uint64_t gpa)
{
    machine_write(machine, reg, (uint32_t)gpa);
    machine_write(machine, reg + 4, (uint32_t)(gpa >> 32));
}

static void queue_setup(struct machine *machine, unsigned index)
{
    const struct driver_ring *ring = machine->guest->ring[index];

    machine_write(machine, REG_QUEUE_SEL, index);
    machine_write(machine, REG_QUEUE_SIZE, MACHINE_RING_SIZE);
    write_address(machine, REG_QUEUE_DESC, ring->desc_area);
    write_address(machine, REG_QUEUE_DRIVER, ring->driver_area);
    write_address(machine, REG_QUEUE_DEVICE, ring->device_area);
    machine_write(machine, REG_QUEUE_READY, 1);
}

void machine_bind(struct machine *machine)
{
    for (unsigned i = 0; i < 2; i++) {
        machine->guest->ring[i]->kick_fd = vionic_nic_kick_fd(machine->nic, i);
        machine->guest->ring[i]->call_fd = machine->line_fd;
    }
}

void machine_start(struct machine *machine, uint64_t features)
{
    struct guest_machine *guest = machine->guest;

    for (unsigned i = 0; i < 2; i++) {
        guest->ring[i]->ops->restart(guest->ring[i]);
        guest->ring[i]->event_idx = (features >> 29) & 1;
    }
    net_driver_forget(&guest->net);
    machine_write(machine, REG_STATUS, 0);
    machine_write(machine, REG_STATUS, 1 | 2);
    for (unsigned i = 0; i < 2; i++) {
        machine_write(machine, REG_DRIVER_FEATURES_SEL, i);
        machine_write(machine, REG_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
    }
    machine_write(machine, REG_STATUS, 1 | 2 | 8);
    assert_int_equal(machine_read(machine, REG_STATUS), 1 | 2 | 8);
    queue_setup(machine, 0);
    queue_setup(machine, 1);
    machine_write(machine, REG_STATUS, 1 | 2 | 8 | 4);
    assert_int_equal(machine_read(machine, REG_STATUS), 1 | 2 | 8 | 4);
    machine_bind(machine);
    net_driver_post(&guest->net, guest->net.rx_slots);
}

void machine_exchange(struct machine *machine, uint32_t len)
{
    struct guest_machine *guest = machine->guest;
    uint8_t sent[NET_FRAME_MAX], got[NET_FRAME_MAX];
    int got_len;

    net_frame_make(sent, len, machine_mac, ++guest->seed);
    net_driver_send(&guest->net, sent, len);
    vionic_poll(machine->vionic, 100);
    got_len = net_driver_receive(&guest->net, got, sizeof(got), WAIT_LONG_MS);
    assert_int_equal(got_len, len);
    assert_memory_equal(got, sent, len);
    net_driver_drain(&guest->net);
}

void machine_wait_status(struct machine *machine, uint32_t bits)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;

    while ((machine_read(machine, REG_STATUS) & bits) != bits) {
        check(now_ms() < end, "status is 0x%x, not 0x%x", machine_read(machine, REG_STATUS), bits);
        vionic_dispatch(machine->vionic, 5);
    }
}
