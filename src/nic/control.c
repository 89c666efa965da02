/* SPDX-License-Identifier: MIT */
#include "nic/control.h"

#include <string.h>

#include "base/checked.h"

enum {
    CONTROL_BATCH = 16,
    CONTROL_COMMAND_MAX = 64, /* bytes of the longest command that is known */

    CONTROL_OK = 0,
    CONTROL_ERR = 1,

    CONTROL_CLASS_MQ = 4,
    CONTROL_MQ_VQ_PAIRS_SET = 0,
};

int nic_control_init(struct nic_control *control, struct nic *nic,
                     const struct nic_control_ops *ops, void *context)
{
    *control = (struct nic_control){.nic = nic, .ops = ops, .context = context};
    return chain_batch_init(&control->batch, CONTROL_BATCH, nic->config.queue_size_max);
}

void nic_control_free(struct nic_control *control)
{
    chain_batch_free(&control->batch);
}

/* virtio 1.4, 5.1.6.5.5 */
static int mq_pairs_set(struct nic_control *control, const uint8_t *data, uint32_t len)
{
    le16 word;
    unsigned pairs;

    if (!features_has(&control->nic->agreed, NET_F_MQ) || len < sizeof(word))
        return CONTROL_ERR;
    memcpy(&word, data, sizeof(word));
    pairs = word16_get(word, nic_byte_order(control->nic));
    if (pairs == 0 || pairs > control->nic->config.queue_pairs)
        return CONTROL_ERR;
    control->nic->active_pairs = pairs;
    return CONTROL_OK;
}

static int command_run(struct nic_control *control, const uint8_t *command, uint32_t len)
{
    if (len >= 2 && command[0] == CONTROL_CLASS_MQ && command[1] == CONTROL_MQ_VQ_PAIRS_SET)
        return mq_pairs_set(control, command + 2, len - 2);
    return CONTROL_ERR;
}

/* NET-CTL-01: the framing of the descriptors means nothing; NET-CTL-05: no room to answer, no
 * effect. */
static uint32_t chain_serve(struct nic_control *control, const struct chain *chain)
{
    uint8_t command[CONTROL_COMMAND_MAX];
    uint32_t len = 0;
    int answer;

    if (chain->fault != CHAIN_FAULT_NONE || chain->writable_len == 0) {
        counter_add(&control->malformed, 1);
        return 0;
    }
    for (uint32_t i = 0; i < chain->readable_count && len < sizeof(command); i++) {
        uint32_t part = (uint32_t)MIN(chain->iov[i].iov_len, sizeof(command) - len);

        memcpy(command + len, chain->iov[i].iov_base, part);
        len += part;
    }
    answer = command_run(control, command, len);
    counter_add(&control->commands, 1);
    if (answer != CONTROL_OK)
        counter_add(&control->failed, 1);
    *(uint8_t *)chain->iov[chain->readable_count].iov_base = (uint8_t)answer;
    return 1;
}

unsigned nic_control_serve(struct nic_control *control)
{
    struct chain_batch *batch = &control->batch;
    unsigned count;

    chain_batch_reset(batch);
    count = virtqueue_pop(&control->queue, batch, CONTROL_BATCH);
    for (unsigned i = 0; i < count; i++) {
        uint32_t written = chain_serve(control, &batch->chain[i]);

        virtqueue_push(&control->queue, batch->chain[i].token, written);
    }
    if (count != 0)
        control->ops->apply(control->context);
    virtqueue_flush(&control->queue);
    return count;
}

void nic_control_inspect(struct nic_control *control, struct inspect *visitor)
{
    inspect_enter(visitor, "control");
    inspect_counter(visitor, "commands", &control->commands);
    inspect_counter(visitor, "failed", &control->failed);
    inspect_counter(visitor, "malformed", &control->malformed);
    inspect_leave(visitor);
}
