/* SPDX-License-Identifier: MIT */
/*
 * A device model with its control queue, and a driver (tests/lib) at the other end of the ring: no
 * thread, no daemon. What commands may change can be compared whole.
 */
#pragma once

#include "control_driver.h"
#include "control_sample.h"
#include "format_bed.h"
#include "nic/control.h"

enum {
    CONTROL_BED_RING = 64,
};

struct control_bed {
    struct format_bed format; /* memory and the driver's ring; its own device is stopped */
    struct nic nic;
    struct nic_control control;
    struct control_driver driver;
    struct pair pairs[CONTROL_SAMPLE_PAIRS];
    int not_ready;      /* a queue that the driver did not set up; -1: none */
    unsigned applied;   /* calls of apply */
    unsigned seen_used; /* at the last one: used buffers that the driver could see */
};

int control_bed_setup(void **state);
int control_bed_teardown(void **state);

/* VERSION_1 and these features are agreed, and the ring (VIRTQUEUE_…) runs. */
void control_bed_start(struct control_bed *bed, uint64_t features, uint32_t ring_features);
/* What commands can change, in a form that can be compared. */
struct nic control_bed_state(const struct control_bed *bed);
void control_bed_expect_unchanged(const struct control_bed *bed, const struct nic *before,
                                  const char *what);

struct control_reply control_bed_send(struct control_bed *bed,
                                      const struct control_message *message);
/* A command without a result; returns the ack. */
unsigned control_bed_ask(struct control_bed *bed, const void *bytes, uint32_t len);
/* The sample of this name, which must be there. */
const struct control_sample *control_bed_sample(const char *name);

#define CONTROL_BED_TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, control_bed_setup, control_bed_teardown)
