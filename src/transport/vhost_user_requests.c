/* SPDX-License-Identifier: MIT */
/*
 * What each request does. A handler returns 0 or -errno; it may set the size of a reply of its own.
 * A refused request changes nothing; the front-end hears of it if it asked for an answer, and loses
 * the connection if it did not (it would go on from a false belief).
 */
#include "transport/vhost_user_call.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/checked.h"

enum {
    NO_REPLY = 0,
    REFUSED = 1,
};

struct nic *vhost_user_call_nic(const struct vhost_user_call *call)
{
    return coordinator_nic(call->vhost_user->coordinator);
}

int vhost_user_reply_u64(struct vhost_user_call *call, uint64_t value)
{
    call->payload->u64 = value;
    call->reply_size = sizeof(value);
    return 0;
}

/* A VMM that ends the control queue itself never speaks of a ring that has no number (VU-MQ-02). */
struct vhost_user_ring *vhost_user_ring_find(const struct vhost_user_call *call, uint32_t index)
{
    if (index < call->vhost_user->ring_count)
        return &call->vhost_user->ring[index];
    if (index < nic_queue_count(vhost_user_call_nic(call)))
        error_set(call->err, EINVAL,
                  "ring %u, the control queue, can't be named by SET_VRING_KICK; this front-end "
                  "needs queues=127 or less",
                  index);
    else
        error_set(call->err, EINVAL, "ring %u does not exist; this NIC has %u", index,
                  call->vhost_user->ring_count);
    return NULL;
}

int vhost_user_refuse_live(const struct vhost_user_call *call, const struct vhost_user_ring *ring)
{
    return error_set(call->err, EBUSY, "ring %u is live: it has to be stopped first", ring->index);
}

/* Either end of a connection bears the path, as its own name or as its peer's. */
int vhost_user_refuse_own_socket(const struct vhost_user_call *call, int fd)
{
    struct sockaddr_un own = {0}, peer = {0};
    socklen_t own_len = sizeof(own) - 1, peer_len = sizeof(peer) - 1;
    const char *path = call->vhost_user->path;

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
        own.sun_family != AF_UNIX)
        return 0;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
        peer.sun_path[0] = '\0';
    if (strcmp(own.sun_path, path) != 0 && strcmp(peer.sun_path, path) != 0)
        return 0;
    return error_set(call->err, EINVAL, "the file descriptor is this session's own socket");
}

/* ---- the table -------------------------------------------------------------------------- */

enum answer {
    ANSWER_ACK,     /* only if the front-end asks */
    ANSWER_OWN,     /* always, with a payload of its own */
    ANSWER_VERDICT, /* always, with a word whose low byte says whether it was refused */
};

static const struct request {
    const char *name;
    uint32_t size_min; /* bytes of payload */
    uint8_t fds_max;
    enum answer answer;
    int (*handle)(struct vhost_user_call *call);
} request_table[VHOST_USER_REQUEST_COUNT] = {
    [VHOST_USER_GET_FEATURES] = {"GET_FEATURES", 0, 0, ANSWER_OWN, vhost_user_get_features},
    [VHOST_USER_SET_FEATURES] = {"SET_FEATURES", 8, 0, ANSWER_ACK, vhost_user_set_features},
    [VHOST_USER_SET_OWNER] = {"SET_OWNER", 0, 0, ANSWER_ACK, vhost_user_set_owner},
    [VHOST_USER_RESET_OWNER] = {"RESET_OWNER", 0, 0, ANSWER_ACK, vhost_user_reset_owner},
    [VHOST_USER_SET_MEM_TABLE] = {"SET_MEM_TABLE", 8, 8, ANSWER_ACK, vhost_user_set_mem_table},
    [VHOST_USER_SET_LOG_BASE] = {"SET_LOG_BASE", 8, 1, ANSWER_OWN, vhost_user_set_log_base},
    [VHOST_USER_SET_LOG_FD] = {"SET_LOG_FD", 0, 1, ANSWER_ACK, vhost_user_set_log_fd},
    [VHOST_USER_SET_VRING_NUM] = {"SET_VRING_NUM", 8, 0, ANSWER_ACK, vhost_user_set_vring_num},
    [VHOST_USER_SET_VRING_ADDR] = {"SET_VRING_ADDR", 40, 0, ANSWER_ACK, vhost_user_set_vring_addr},
    [VHOST_USER_SET_VRING_BASE] = {"SET_VRING_BASE", 8, 0, ANSWER_ACK, vhost_user_set_vring_base},
    [VHOST_USER_GET_VRING_BASE] = {"GET_VRING_BASE", 8, 0, ANSWER_OWN, vhost_user_get_vring_base},
    [VHOST_USER_SET_VRING_KICK] = {"SET_VRING_KICK", 8, 1, ANSWER_ACK, vhost_user_set_vring_kick},
    [VHOST_USER_SET_VRING_CALL] = {"SET_VRING_CALL", 8, 1, ANSWER_ACK, vhost_user_set_vring_call},
    [VHOST_USER_SET_VRING_ERR] = {"SET_VRING_ERR", 8, 1, ANSWER_ACK, vhost_user_set_vring_err},
    [VHOST_USER_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", 0, 0, ANSWER_OWN,
                                          vhost_user_get_protocol_features},
    [VHOST_USER_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", 8, 0, ANSWER_ACK,
                                          vhost_user_set_protocol_features},
    [VHOST_USER_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", 0, 0, ANSWER_OWN, vhost_user_get_queue_num},
    [VHOST_USER_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", 8, 0, ANSWER_ACK,
                                     vhost_user_set_vring_enable},
    [VHOST_USER_SEND_RARP] = {"SEND_RARP", 8, 0, ANSWER_ACK, vhost_user_send_rarp},
    [VHOST_USER_NET_SET_MTU] = {"NET_SET_MTU", 8, 0, ANSWER_ACK, vhost_user_net_set_mtu},
    [VHOST_USER_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", 0, 1, ANSWER_ACK,
                                       vhost_user_set_backend_req_fd},
    [VHOST_USER_IOTLB_MSG] = {"IOTLB_MSG", VHOST_USER_IOTLB_LEN, 0, ANSWER_ACK,
                              vhost_user_iotlb_msg},
    [VHOST_USER_SET_VRING_ENDIAN] = {"SET_VRING_ENDIAN", 8, 0, ANSWER_ACK,
                                     vhost_user_set_vring_endian},
    [VHOST_USER_GET_CONFIG] = {"GET_CONFIG", 0, 0, ANSWER_OWN, vhost_user_get_config},
    [VHOST_USER_SET_CONFIG] = {"SET_CONFIG", VHOST_USER_CONFIG_HEADER, 0, ANSWER_ACK,
                               vhost_user_set_config},
    [VHOST_USER_POSTCOPY_ADVISE] = {"POSTCOPY_ADVISE", 0, 0, ANSWER_OWN,
                                    vhost_user_postcopy_advise},
    [VHOST_USER_POSTCOPY_LISTEN] = {"POSTCOPY_LISTEN", 0, 0, ANSWER_ACK,
                                    vhost_user_postcopy_listen},
    [VHOST_USER_POSTCOPY_END] = {"POSTCOPY_END", 0, 0, ANSWER_OWN, vhost_user_postcopy_end},
    [VHOST_USER_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", 20, 0, ANSWER_OWN,
                                    vhost_user_get_inflight_fd},
    [VHOST_USER_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", 20, 1, ANSWER_ACK,
                                    vhost_user_set_inflight_fd},
    [VHOST_USER_RESET_DEVICE] = {"RESET_DEVICE", 0, 0, ANSWER_ACK, vhost_user_reset_device},
    [VHOST_USER_VRING_KICK] = {"VRING_KICK", 8, 0, ANSWER_ACK, vhost_user_vring_kick},
    [VHOST_USER_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", 0, 0, ANSWER_OWN,
                                      vhost_user_get_max_mem_slots},
    [VHOST_USER_ADD_MEM_REG] = {"ADD_MEM_REG", 8, 8, ANSWER_ACK, vhost_user_add_mem_reg},
    [VHOST_USER_REM_MEM_REG] = {"REM_MEM_REG", 40, 1, ANSWER_ACK, vhost_user_rem_mem_reg},
    [VHOST_USER_SET_STATUS] = {"SET_STATUS", 8, 0, ANSWER_ACK, vhost_user_set_status},
    [VHOST_USER_GET_STATUS] = {"GET_STATUS", 0, 0, ANSWER_OWN, vhost_user_get_status},
    [VHOST_USER_SET_DEVICE_STATE_FD] = {"SET_DEVICE_STATE_FD", 8, 1, ANSWER_VERDICT,
                                        vhost_user_set_device_state_fd},
    [VHOST_USER_CHECK_DEVICE_STATE] = {"CHECK_DEVICE_STATE", 0, 0, ANSWER_VERDICT,
                                       vhost_user_check_device_state},
};

static const struct request *request_find(uint32_t number)
{
    if (number >= VHOST_USER_REQUEST_COUNT || request_table[number].handle == NULL)
        return NULL;
    return &request_table[number];
}

static int dispatch(const struct vhost_user_message *message, struct vhost_user_call *call)
{
    const struct request *request = request_find(message->header.request);
    int result;

    if (request == NULL)
        return error_set(call->err, ENOSYS, "request %u is not known here",
                         message->header.request);
    if (message->header.size < request->size_min)
        return error_set(call->err, EPROTO, "%s: %u bytes of payload, at least %u are needed",
                         request->name, message->header.size, request->size_min);
    if (message->fd_count > request->fds_max)
        return error_set(call->err, EINVAL, "%s came with %u file descriptors", request->name,
                         message->fd_count);
    result = request->handle(call);
    if (result < 0)
        error_prefix(call->err, "%s", request->name);
    return result;
}

static void refusal_note(struct vhost_user *vhost_user, const struct error *err)
{
    vhost_user->refused++;
    memcpy(vhost_user->last_error, err->text, sizeof(vhost_user->last_error));
    if (log_limit_pass(&vhost_user->limit))
        log_warning("%s: refused: %s", coordinator_name(vhost_user->coordinator), err->text);
}

int vhost_user_handle(struct vhost_user *vhost_user)
{
    struct vhost_user_message *message = &vhost_user->peer.message;
    const struct request *request = request_find(message->header.request);
    struct error err = {{0}};
    struct vhost_user_call call = {.vhost_user = vhost_user,
                                   .payload = &message->payload,
                                   .size = message->header.size,
                                   .reply_size = NO_REPLY,
                                   .reply_fd = -1,
                                   .err = &err};
    int result = dispatch(message, &call);
    int wants_ack;

    /* After the fact: UML asks for an answer to the very message that agrees on answers. */
    wants_ack = message->header.flags & VHOST_USER_NEED_REPLY &&
                vhost_user->protocol_features & VHOST_USER_PROTOCOL_REPLY_ACK;
    vhost_user->messages++;
    if (result < 0)
        refusal_note(vhost_user, &err);
    if (result == -EPROTO)
        return result;
    if (result == 0 && (request->answer != ANSWER_ACK || call.answers))
        return vhost_user_connection_reply_with(&vhost_user->peer, call.reply_size, &call.reply_fd);
    if (!wants_ack && (request == NULL || request->answer != ANSWER_VERDICT))
        return request == NULL ? 0 : result; /* VU-HDR-06: the unknown is skipped */
    message->payload.u64 = result < 0 ? REFUSED : 0;
    return vhost_user_connection_reply(&vhost_user->peer, sizeof(uint64_t));
}
