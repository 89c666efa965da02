/* SPDX-License-Identifier: MIT */
/* Commands on how frames and interrupts come: receive offloads (virtio 1.4, 5.1.6.5.6), coalescing
 * of interrupts (5.1.6.5.10). */
#include "base/checked.h"
#include "nic/control_request.h"

enum {
    COALESCE_LEN = 8, /* le32 max_packets, le32 max_usecs */
    QUEUE_AT = 0,     /* VQ_SET, VQ_GET: le16 vq, le16 reserved, then as above */
    QUEUE_LEN = 4,
};

/* ---- receive offloads ------------------------------------------------------------------- */

enum control_ack control_guest_offloads_set(struct control_request *request)
{
    if (request->len < sizeof(le64) ||
        nic_set_guest_offloads(request->nic, request_u64(request, 0)) < 0)
        return CONTROL_ERR;
    return CONTROL_OK;
}

/* ---- coalescing ------------------------------------------------------------------------- */

static struct nic_coalesce coalesce_read(const struct control_request *request, uint32_t offset)
{
    return (struct nic_coalesce){
        .max_packets = request_u32(request, offset),
        .max_usecs = request_u32(request, offset + (uint32_t)sizeof(le32)),
    };
}

/* For all queues of a kind, those set one by one before included. */
static enum control_ack coalesce_set_all(struct control_request *request, unsigned first_queue)
{
    struct nic *nic = request->nic;
    struct nic_coalesce *all = first_queue % 2 == 0 ? &nic->coalesce_rx : &nic->coalesce_tx;

    if (request->len < COALESCE_LEN)
        return CONTROL_ERR;
    *all = coalesce_read(request, 0);
    for (unsigned queue = first_queue; queue < ARRAY_COUNT(nic->coalesce); queue += 2)
        nic->coalesce[queue] = *all;
    return CONTROL_OK;
}

enum control_ack control_coalesce_rx_set(struct control_request *request)
{
    return coalesce_set_all(request, 0);
}

enum control_ack control_coalesce_tx_set(struct control_request *request)
{
    return coalesce_set_all(request, 1);
}

/* The queue of VQ_SET and VQ_GET, which must be in use. 0: it is not. */
static int queue_read(const struct control_request *request, unsigned *ret_queue)
{
    const struct nic_control *control = request->control;

    if (request->len < QUEUE_LEN)
        return 0;
    *ret_queue = request_u16(request, QUEUE_AT);
    return control_queue_exists(request->nic, *ret_queue) &&
           control->ops->queue_ready(control->context, *ret_queue);
}

enum control_ack control_coalesce_queue_set(struct control_request *request)
{
    unsigned queue;

    if (request->len < QUEUE_LEN + COALESCE_LEN || !queue_read(request, &queue))
        return CONTROL_ERR;
    request->nic->coalesce[queue] = coalesce_read(request, QUEUE_LEN);
    return CONTROL_OK;
}

enum control_ack control_coalesce_queue_get(struct control_request *request)
{
    const struct nic_coalesce *coalesce;
    unsigned queue;
    le32 words[2];

    if (!queue_read(request, &queue))
        return CONTROL_ERR;
    coalesce = &request->nic->coalesce[queue];
    words[0] = word32_make(coalesce->max_packets, request->order);
    words[1] = word32_make(coalesce->max_usecs, request->order);
    control_answer_put(&request->answer, words, sizeof(words));
    return CONTROL_OK;
}
