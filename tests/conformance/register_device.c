/* SPDX-License-Identifier: MIT */
#include "register_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

#include "endpoint/spec.h"
#include "run/coordinator.h"
#include "transport/mmio.h"
#include "transport/pci.h"

enum {
    SPACE_OF_MMIO = 0, /* enum register_space */
    SPACE_OF_PCI_CONFIG = 1,
};

/* ---- what comes up -------------------------------------------------------------------------- */

static void set_line(void *context, int level)
{
    struct register_device *device = context;

    atomic_store(&device->line, level);
    atomic_fetch_add(&device->line_calls, 1);
}

static void send_msi(void *context, uint64_t address, uint32_t data)
{
    struct register_device *device = context;

    if (data >= DEVICE_VECTORS)
        abort(); /* on a data thread: no way to fail the test */
    atomic_store(&device->msi_address[data], address);
    atomic_fetch_add(&device->msi[data], 1);
}

static void bar_moved(void *context, uint64_t address, int mapped)
{
    struct register_device *device = context;

    device->bar = address;
    device->mapped = mapped;
}

uint64_t register_device_read(void *context, unsigned space, uint64_t offset, unsigned width)
{
    struct register_device *device = context;

    if (space == SPACE_OF_MMIO)
        return mmio_read(device->mmio, offset, width);
    if (space == SPACE_OF_PCI_CONFIG)
        return pci_read_config(device->pci, (uint32_t)offset, width);
    return pci_read_bar(device->pci, offset, width);
}

void register_device_write(void *context, unsigned space, uint64_t offset, unsigned width,
                           uint64_t value)
{
    struct register_device *device = context;

    if (space == SPACE_OF_MMIO)
        mmio_write(device->mmio, offset, width, value);
    else if (space == SPACE_OF_PCI_CONFIG)
        pci_write_config(device->pci, (uint32_t)offset, width, (uint32_t)value);
    else
        pci_write_bar(device->pci, offset, width, value);
}

/* ---- open and close ------------------------------------------------------------------------- */

static void plane_open(struct register_device *device)
{
    struct worker_pool_config pool = {
        .workers = device->options.workers == 0 ? 2 : device->options.workers,
        .queue_size_max = VIRTQUEUE_SIZE_MAX};
    struct endpoint_spec spec;
    struct coordinator_config config = {
        .name = "device",
        .nic = {.mac = {0x52, 0x54, 0, 0, 0, 1},
                .queue_pairs = device->options.pairs,
                .queue_size_max = device->options.queue_size_max},
        .endpoint.spec = &spec,
    };
    struct error err;

    assert_int_equal(loop_create(&device->loop), 0);
    pool.loop = device->loop;
    assert_int_equal(worker_pool_create(&pool, &device->pool), 0);
    check(endpoint_spec_parse(&spec, device->options.endpoint, &err) == 0, "%s", err.text);
    config.pool = device->pool;
    config.loop = device->loop;
    check(coordinator_open(&config, &device->coordinator, &err) == 0, "%s", err.text);
    endpoint_spec_clear(&spec);
}

void register_device_open(struct register_device *device, const struct device_options *options,
                          const struct device_memory *memory)
{
    static const struct pci_ops ops = {send_msi, set_line, bar_moved};
    struct mmio_settings mmio = {.set_line = set_line, .context = device};
    struct pci_settings pci = {.ops = &ops, .context = device, .vectors = options->vectors};
    struct error err;

    device->options = *options;
    plane_open(device);
    register_device_set_memory(device, memory);
    mmio.coordinator = pci.coordinator = device->coordinator;
    if (options->transport == DEVICE_MMIO)
        check(mmio_open(&mmio, &device->mmio, &err) == 0, "%s", err.text);
    else
        check(pci_open(&pci, &device->pci, &err) == 0, "%s", err.text);
}

void register_device_close(struct register_device *device)
{
    mmio_close(device->mmio);
    pci_close(device->pci);
    coordinator_close(device->coordinator);
    worker_pool_free(device->pool);
    loop_free(device->loop);
    guest_memory_free(device->memory);
    memset(device, 0, sizeof(*device));
}

/* ---- what a VMM does ------------------------------------------------------------------------ */

int register_device_kick_fd(struct register_device *device, unsigned queue)
{
    if (device->mmio != NULL)
        return mmio_kick_fd(device->mmio, queue);
    return pci_kick_fd(device->pci, queue);
}

void register_device_reset(struct register_device *device)
{
    if (device->mmio != NULL)
        mmio_reset(device->mmio);
    else
        pci_reset(device->pci);
}

void register_device_set_memory(struct register_device *device, const struct device_memory *memory)
{
    struct guest_memory *before = device->memory;
    struct error err;

    device->memory = NULL;
    if (memory != NULL) {
        struct memory_region region = {.gpa = memory->gpa, .size = memory->len, .hva = memory->map};

        assert_int_equal(guest_memory_create(&device->memory), 0);
        check(guest_memory_add(device->memory, &region, &err) == 0, "%s", err.text);
    }
    coordinator_set_memory(device->coordinator, device->memory);
    guest_memory_free(before);
}

void register_device_set_link(struct register_device *device, int up)
{
    coordinator_set_link(device->coordinator, up ? NIC_LINK_UP : NIC_LINK_DOWN);
}

void register_device_dispatch(struct register_device *device)
{
    assert_int_equal(loop_dispatch(device->loop, 0), 0);
}

/* ---- inspect -------------------------------------------------------------------------------- */

static void text_add(void *context, const char *name, const char *value)
{
    char *text = context;
    size_t len = strlen(text);

    snprintf(text + len, DEVICE_TEXT_LEN - len, "%s=%s\n", name, value);
}

static void see_enter(void *context, const char *name)
{
    text_add(context, "in", name);
}

static void see_leave(void *context)
{
    (void)context;
}

static void see_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    char number[32];

    snprintf(number, sizeof(number), style == INSPECT_HEX ? "0x%llx" : "%llu",
             (unsigned long long)value);
    text_add(context, name, number);
}

static void see_flag(void *context, const char *name, int value)
{
    text_add(context, name, value ? "yes" : "no");
}

static const struct inspect_ops see = {see_enter, see_leave, text_add, see_number, see_flag};

void register_device_inspect_card(struct register_device *device, char ret_text[DEVICE_TEXT_LEN])
{
    struct inspect visitor = {&see, ret_text};

    ret_text[0] = '\0';
    coordinator_inspect(device->coordinator, &visitor);
}

void register_device_inspect(struct register_device *device, char ret_text[DEVICE_TEXT_LEN])
{
    struct inspect visitor = {&see, ret_text};

    ret_text[0] = '\0';
    if (device->mmio != NULL)
        mmio_inspect(device->mmio, &visitor);
    else
        pci_inspect(device->pci, &visitor);
}

struct sum {
    const char *name;
    uint64_t value;
};

static void sum_enter(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void sum_text(void *context, const char *name, const char *value)
{
    (void)context;
    (void)name;
    (void)value;
}

static void sum_number(void *context, const char *name, uint64_t value, enum inspect_style style)
{
    struct sum *sum = context;

    (void)style;
    if (strcmp(name, sum->name) == 0)
        sum->value += value;
}

static void sum_flag(void *context, const char *name, int value)
{
    (void)context;
    (void)name;
    (void)value;
}

uint64_t register_device_sum(struct register_device *device, const char *name)
{
    static const struct inspect_ops ops = {sum_enter, see_leave, sum_text, sum_number, sum_flag};
    struct sum sum = {.name = name};
    struct inspect visitor = {&ops, &sum};

    coordinator_inspect(device->coordinator, &visitor);
    return sum.value;
}
