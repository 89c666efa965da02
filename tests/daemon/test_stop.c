/* SPDX-License-Identifier: MIT */
/* The end of a daemon whose cards are at work: what its front-ends find in their rings afterwards.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "check.h"
#include "clockwork.h"
#include "testbed.h"

enum {
    RING = 1024,
    FRAME = 1400,
    ENDS = 8,
    SEND_SLOTS = NET_TX_SLOTS - 2,
};

/* Buffers of a ring that came back since it began. */
static unsigned used_count(struct testbed_nic *nic, unsigned ring)
{
    return driver_split_used_idx(&nic->vring[ring]);
}

/* The signal comes behind so many frames, with no pause between them. */
static void end_under_load(void **state, unsigned frames)
{
    const struct testbed_options options = {.queue_size = RING};
    struct testbed *bed = testbed_start(state, &options);
    struct testbed_nic *nic = &bed->nic[VICTIM];
    uint8_t frame[FRAME];
    unsigned sent, received;
    int status;

    net_frame_make(frame, sizeof(frame), nic->mac, 1);
    for (unsigned i = 0; i < frames; i++)
        net_driver_send(&nic->net[0], frame, sizeof(frame));
    kill(bed->daemon.pid, SIGTERM);
    check(front_end_is_closed(&nic->fe, WAIT_LONG_MS), "the session does not end");
    sent = used_count(nic, 1);
    received = used_count(nic, 0);
    /* A loopback: what was sent was received. What is left in the ring was not touched. */
    check(sent == received && sent <= frames, "%u of %u frames were sent, %u received", sent,
          frames, received);
    check(waitpid(bed->daemon.pid, &status, 0) == bed->daemon.pid && status == 0,
          "wait status 0x%x", (unsigned)status);
    bed->daemon.pid = 0;
    check(used_count(nic, 1) == sent && used_count(nic, 0) == received,
          "rings were written after the session had ended");
}

static void the_end_leaves_whole_rings(void **state)
{
    for (unsigned i = 0; i < ENDS; i++) {
        end_under_load(state, SEND_SLOTS - i);
        testbed_teardown(state);
        testbed_setup(state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_end_leaves_whole_rings, testbed_setup,
                                        testbed_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
