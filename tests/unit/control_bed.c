/* SPDX-License-Identifier: MIT */
#include "control_bed.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

static const uint8_t own_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

/* Answers are shown after the change, so the driver has seen none of this batch. */
static void apply(void *context)
{
    struct control_bed *bed = context;

    bed->applied++;
    bed->seen_used = bed->control.queue.used_shown;
}

static int queue_ready(void *context, unsigned queue)
{
    const struct control_bed *bed = context;

    return queue < 2 * CONTROL_SAMPLE_PAIRS && (int)queue != bed->not_ready;
}

static const struct pair *pair_of(void *context, unsigned index)
{
    const struct control_bed *bed = context;

    return &bed->pairs[index];
}

static const struct nic_control_ops ops = {
    .apply = apply, .queue_ready = queue_ready, .pair = pair_of};

int control_bed_setup(void **state)
{
    struct control_bed *bed = calloc(1, sizeof(*bed));

    *state = bed;
    return bed == NULL ? -1 : format_bed_init(&bed->format, FORMAT_BED_READ_ONLY);
}

int control_bed_teardown(void **state)
{
    struct control_bed *bed = *state;

    virtqueue_stop(&bed->control.queue);
    nic_control_free(&bed->control);
    format_bed_free(&bed->format);
    free(bed);
    return 0;
}

static void agree(struct control_bed *bed, uint64_t features)
{
    struct nic_config config = {.queue_pairs = CONTROL_SAMPLE_PAIRS,
                                .queue_size_max = CONTROL_BED_RING};
    struct endpoint_caps caps = {.rx_offloads = ENDPOINT_CSUM | ENDPOINT_TSO4 | ENDPOINT_TSO6,
                                 .tx_offloads = ENDPOINT_CSUM | ENDPOINT_TSO4};
    struct features accepted = {{features | (1ull << 32)}};
    struct error err = {""};

    memcpy(config.mac, own_mac, sizeof(own_mac));
    nic_init(&bed->nic, &config, &caps);
    check(nic_agree(&bed->nic, &accepted, &err) == 0, "%s", err.text);
}

void control_bed_start(struct control_bed *bed, uint64_t features, uint32_t ring_features)
{
    struct virtqueue_config config;

    virtqueue_stop(&bed->control.queue);
    nic_control_free(&bed->control);
    agree(bed, features);
    bed->not_ready = -1;
    bed->applied = 0;
    nic_control_init(&bed->control, &bed->nic, &ops, bed);
    format_bed_start(&bed->format, CONTROL_BED_RING, ring_features | VIRTQUEUE_INDIRECT);
    config = format_bed_config(&bed->format);
    virtqueue_stop(&bed->format.queue);
    assert_int_equal(nic_control_start(&bed->control, &config, bed->format.memory, NULL), 0);
    control_driver_init(&bed->driver, bed->format.ring, FORMAT_BED_DATA);
}

struct nic control_bed_state(const struct control_bed *bed)
{
    return bed->nic;
}

void control_bed_expect_unchanged(const struct control_bed *bed, const struct nic *before,
                                  const char *what)
{
    check(memcmp(&bed->nic, before, sizeof(*before)) == 0, "%s changed something", what);
}

struct control_reply control_bed_send(struct control_bed *bed,
                                      const struct control_message *message)
{
    control_driver_queue(&bed->driver, message);
    bed->driver.ring->ops->publish(bed->driver.ring);
    check(nic_control_serve(&bed->control) == 1, "the device did not take the message");
    return control_driver_take(&bed->driver);
}

unsigned control_bed_ask(struct control_bed *bed, const void *bytes, uint32_t len)
{
    struct control_message message = {.bytes = bytes, .len = len, .room = 1};
    struct control_reply reply = control_bed_send(bed, &message);

    assert_int_equal(reply.used_len, 1); /* NET-CTL-04 */
    return reply.written[0];
}

const struct control_sample *control_bed_sample(const char *name)
{
    for (unsigned i = 0; i < control_sample_count; i++) {
        if (strcmp(control_samples[i].name, name) == 0)
            return &control_samples[i];
    }
    fail_msg("there is no sample %s", name);
    return NULL;
}
