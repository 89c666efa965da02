/* SPDX-License-Identifier: MIT */
#include "nic/control.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "nic/control_request.h"
#include "nic/stats.h"
#include "ring/ring_log.h"

enum {
    CONTROL_BATCH = 64,
    HEADER_LEN = 2,                     /* class, command */
    MESSAGE_MAX = HEADER_LEN + 0x10000, /* NET-CTL-08 */
};

/* Where the ack stands in the device's part, and whether the command changes anything. */
enum layout {
    ACK,            /* a change, and nothing but the ack */
    ACK_AND_RESULT, /* a question: the result is behind the ack (virtio 1.4, 5.1.6.5.8) */
    RESULT_AND_ACK, /* a question: its result is part of the command's data, the ack comes last */
};

enum {
    QUEUE_GET_LEN = 8, /* the one result of layout RESULT_AND_ACK */
};

struct command {
    uint8_t class, number;
    uint8_t layout;
    uint8_t feature, or_feature; /* agreed: one of them */
    control_handler *run;
};

/* virtio 1.4, 5.1.6.5. RSS contexts (class 9) are never offered: nothing says how a frame finds its
 * context. Class 1 is one feature's in the text and another's in drivers. */
static const struct command commands[] = {
    {0, 0, ACK, NET_F_CTRL_RX, NET_F_CTRL_RX, control_rx_promisc},
    {0, 1, ACK, NET_F_CTRL_RX, NET_F_CTRL_RX, control_rx_allmulti},
    {0, 2, ACK, NET_F_CTRL_RX_EXTRA, NET_F_CTRL_RX_EXTRA, control_rx_alluni},
    {0, 3, ACK, NET_F_CTRL_RX_EXTRA, NET_F_CTRL_RX_EXTRA, control_rx_nomulti},
    {0, 4, ACK, NET_F_CTRL_RX_EXTRA, NET_F_CTRL_RX_EXTRA, control_rx_nouni},
    {0, 5, ACK, NET_F_CTRL_RX_EXTRA, NET_F_CTRL_RX_EXTRA, control_rx_nobcast},
    {1, 0, ACK, NET_F_CTRL_RX, NET_F_CTRL_MAC_ADDR, control_mac_table_set},
    {1, 1, ACK, NET_F_CTRL_RX, NET_F_CTRL_MAC_ADDR, control_mac_addr_set},
    {2, 0, ACK, NET_F_CTRL_VLAN, NET_F_CTRL_VLAN, control_vlan_add},
    {2, 1, ACK, NET_F_CTRL_VLAN, NET_F_CTRL_VLAN, control_vlan_del},
    {3, 0, ACK, NET_F_GUEST_ANNOUNCE, NET_F_GUEST_ANNOUNCE, control_announce_ack},
    {4, 0, ACK, NET_F_MQ, NET_F_MQ, control_mq_pairs_set},
    {4, 1, ACK, NET_F_RSS, NET_F_RSS, control_mq_rss_config},
    {4, 2, ACK, NET_F_HASH_REPORT, NET_F_HASH_REPORT, control_mq_hash_config},
    {5, 0, ACK, NET_F_CTRL_GUEST_OFFLOADS, NET_F_CTRL_GUEST_OFFLOADS, control_guest_offloads_set},
    {6, 0, ACK, NET_F_NOTF_COAL, NET_F_NOTF_COAL, control_coalesce_tx_set},
    {6, 1, ACK, NET_F_NOTF_COAL, NET_F_NOTF_COAL, control_coalesce_rx_set},
    {6, 2, ACK, NET_F_VQ_NOTF_COAL, NET_F_VQ_NOTF_COAL, control_coalesce_queue_set},
    {6, 3, RESULT_AND_ACK, NET_F_VQ_NOTF_COAL, NET_F_VQ_NOTF_COAL, control_coalesce_queue_get},
    {7, 0, ACK, NET_F_HASH_TUNNEL, NET_F_HASH_TUNNEL, control_hash_tunnel_set},
    {8, 0, ACK_AND_RESULT, NET_F_DEVICE_STATS, NET_F_DEVICE_STATS, control_stats_query},
    {8, 1, ACK_AND_RESULT, NET_F_DEVICE_STATS, NET_F_DEVICE_STATS, control_stats_get},
};

void nic_control_init(struct nic_control *control, struct nic *nic,
                      const struct nic_control_ops *ops, void *context)
{
    *control = (struct nic_control){.nic = nic, .ops = ops, .context = context};
}

/* Most cards' control queue is served by their VMM: 100 KB are not spent on those. */
static int buffers_make(struct nic_control *control)
{
    if (control->batch.capacity == 0 &&
        chain_batch_init(&control->batch, CONTROL_BATCH, control->nic->config.queue_size_max) < 0)
        return -ENOMEM;
    if (control->message == NULL)
        control->message = malloc(MESSAGE_MAX);
    return control->message == NULL ? -ENOMEM : 0;
}

int nic_control_start(struct nic_control *control, const struct virtqueue_config *config,
                      const struct guest_memory *memory, struct error *err)
{
    if (buffers_make(control) < 0)
        return error_set(err, ENOMEM, "out of memory");
    return virtqueue_start(&control->queue, config, memory, err);
}

void nic_control_free(struct nic_control *control)
{
    chain_batch_free(&control->batch);
    free(control->message);
    control->message = NULL;
}

/* ---- messages --------------------------------------------------------------------------- */

/* NET-CTL-01: how a message is cut into descriptors means nothing. Its length, or MESSAGE_MAX + 1
 * for a longer one than is looked at. */
static uint32_t message_read(struct nic_control *control, const struct chain *chain)
{
    uint32_t len = 0;

    if (chain->readable_len > MESSAGE_MAX)
        return MESSAGE_MAX + 1;
    for (uint32_t i = 0; i < chain->readable_count; i++) {
        memcpy(control->message + len, chain->iov[i].iov_base, chain->iov[i].iov_len);
        len += (uint32_t)chain->iov[i].iov_len;
    }
    __asm__ volatile("" ::: "memory"); /* only the copy is looked at from here on */
    return len;
}

void control_answer_put(struct control_answer *answer, const void *bytes, uint32_t len)
{
    uint32_t done = 0;

    while (done < len && answer->count != 0) {
        uint32_t room = (uint32_t)answer->iov->iov_len - answer->offset;
        uint32_t part = MIN(room, len - done);

        memcpy((uint8_t *)answer->iov->iov_base + answer->offset, (const uint8_t *)bytes + done,
               part);
        done += part;
        answer->offset += part;
        if (part == room) {
            answer->iov++;
            answer->count--;
            answer->offset = 0;
        }
    }
    answer->written += done;
}

/* ---- commands --------------------------------------------------------------------------- */

/* NULL: unknown, not negotiated, or no whole message (NET-CTL-05, -06, -08). */
static const struct command *command_find(const struct nic_control *control, uint32_t len)
{
    const struct features *agreed = &control->nic->agreed;

    if (len < HEADER_LEN || len > MESSAGE_MAX)
        return NULL;
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        const struct command *command = &commands[i];

        if (command->class == control->message[0] && command->number == control->message[1])
            return features_has(agreed, command->feature) ||
                           features_has(agreed, command->or_feature)
                       ? command
                       : NULL;
    }
    return NULL;
}

/* The ack stands in front: it is written when the rest is known. */
static void run_ack_first(const struct command *command, struct control_request *request,
                          enum control_ack *ret_ack)
{
    uint8_t *at = request->answer.iov->iov_base;
    uint8_t ack = CONTROL_ERR;

    control_answer_put(&request->answer, &ack, sizeof(ack));
    *ret_ack = command == NULL ? CONTROL_ERR : command->run(request);
    *at = (uint8_t)*ret_ack;
}

/* NET-CTL-02: the ack is the byte behind the result, or the last one where there is no room for
 * both; what is in front of an error is zeros. */
static void run_ack_last(const struct command *command, struct control_request *request,
                         uint32_t room, enum control_ack *ret_ack)
{
    static const uint8_t zeros[QUEUE_GET_LEN];
    uint32_t result_len = MIN(room - 1, QUEUE_GET_LEN);
    uint8_t ack;

    *ret_ack = result_len < QUEUE_GET_LEN ? CONTROL_ERR : command->run(request);
    control_answer_put(&request->answer, zeros, result_len - request->answer.written);
    ack = (uint8_t)*ret_ack;
    control_answer_put(&request->answer, &ack, sizeof(ack));
}

/* Returns how many bytes were written. NET-CTL-05: no room to answer, no effect. */
static uint32_t chain_serve(struct nic_control *control, const struct chain *chain)
{
    const struct command *command;
    struct control_request request;
    enum control_ack ack;
    uint32_t len;

    if (chain->fault != CHAIN_FAULT_NONE || chain->writable_len == 0) {
        counter_add(&control->malformed, 1);
        return 0;
    }
    len = message_read(control, chain);
    command = command_find(control, len);
    request = (struct control_request){
        .control = control,
        .nic = control->nic,
        .data = control->message + HEADER_LEN,
        .len = command == NULL ? 0 : len - HEADER_LEN,
        .order = nic_byte_order(control->nic),
        .answer = {.iov = chain->iov + chain->readable_count, .count = chain->writable_count},
    };
    if (command != NULL && command->layout == RESULT_AND_ACK)
        run_ack_last(command, &request, chain->writable_len, &ack);
    else
        run_ack_first(command, &request, &ack);
    counter_add(&control->commands, 1);
    if (ack != CONTROL_OK)
        counter_add(&control->failed, 1);
    else if (command->layout == ACK)
        control->changed = 1;
    return request.answer.written;
}

unsigned nic_control_serve(struct nic_control *control)
{
    struct chain_batch *batch = &control->batch;
    unsigned count;

    chain_batch_reset(batch);
    control->changed = 0;
    count = virtqueue_pop(&control->queue, batch, CONTROL_BATCH);
    for (unsigned i = 0; i < count; i++) {
        const struct chain *chain = &batch->chain[i];
        uint32_t written = chain_serve(control, chain);

        if (ring_log_on(&control->queue))
            ring_log_spans(&control->queue, chain->iov + chain->readable_count, written);
        virtqueue_push(&control->queue, chain->token, written);
    }
    if (control->changed)
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
