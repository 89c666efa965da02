/* SPDX-License-Identifier: MIT */
/*
 * A session that another process gave (vhost_user_give.c). Nothing of it is believed: it is set up
 * by the same functions that the front-end's messages call.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "memory/dirty_log.h"
#include "nic/saved_state.h"
#include "transport/vhost_user_session.h"

enum {
    /* In place of another code: what the front-end shared can't be used any more. It may change
     * that at any moment, under a takeover too, so it is left behind and the others go over. */
    LEAVE_BEHIND = -ESTALE,
};

/* What the records are read with. */
struct taking {
    const struct records *records; /* borrowed */
    struct fd_list *fds;           /* borrowed */
    struct error *err;             /* borrowed */
};

/* Whose fault was it? What this process lacks ends the takeover, and the old daemon goes on. */
static int blame(int result)
{
    int ours = result == -ENOMEM || result == -EMFILE || result == -ENFILE || result == -ENOSPC;

    return result == 0 || ours ? result : LEAVE_BEHIND;
}

static int fd_take_place(const struct taking *taking, struct record_reader *reader, int *ret_fd)
{
    return fd_list_take(taking->fds, record_take_u16(reader), ret_fd);
}

static int same_place(const struct vhost_user *vhost_user, struct record_reader *reader,
                      struct error *err)
{
    char path[UINT8_MAX + 1] = {0};
    size_t len = record_take_u8(reader);

    record_take_bytes(reader, path, len);
    if (strcmp(path, vhost_user->path) != 0)
        return error_set(err, EINVAL,
                         "its socket is %s and the new configuration says %s; keep the path, or "
                         "give the card another name",
                         path, vhost_user->path);
    if (record_take_u8(reader) != vhost_user->mode)
        return error_set(err, EINVAL,
                         "the new configuration has another mode= for its socket; keep it, or give "
                         "the card another name");
    return 0;
}

static int session_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct record_reader reader;
    int result = saved_record(taking->records, SAVED_SESSION, &reader, taking->err);
    int connected = record_take_u8(&reader);
    int channel_fd = -1;

    if (result == 0)
        result = same_place(vhost_user, &reader, taking->err);
    if (result < 0)
        return result;
    vhost_user->owns_path = record_take_u8(&reader) != 0;
    vhost_user->features = record_take_u64(&reader);
    vhost_user->features_refused = record_take_u8(&reader) != 0;
    vhost_user->protocol_features = record_take_u64(&reader);
    vhost_user->channel.config_due = record_take_u8(&reader) != 0;
    vhost_user->sessions = record_take_u64(&reader);
    vhost_user->messages = record_take_u64(&reader);
    vhost_user->refused = record_take_u64(&reader);
    vhost_user->config_changes = record_take_u64(&reader);
    vhost_user->channel.config_notices = record_take_u64(&reader);
    if (fd_take_place(taking, &reader, &vhost_user->listener.fd) < 0 ||
        fd_take_place(taking, &reader, &vhost_user->peer.fd) < 0 ||
        fd_take_place(taking, &reader, &channel_fd) < 0 || !record_is_done(&reader) ||
        connected != (vhost_user->peer.fd >= 0) ||
        (vhost_user->mode == VHOST_USER_SERVER) != (vhost_user->listener.fd >= 0))
        result = saved_refuse(SAVED_SESSION, "malformed", taking->err);
    else if (channel_fd >= 0)
        result = vhost_user_channel_open(vhost_user, &channel_fd, taking->err);
    fd_close(&channel_fd);
    if (result == 0)
        vhost_user->connection.fd = vhost_user->peer.fd;
    return result;
}

static int message_read(struct vhost_user_connection *peer, const struct taking *taking)
{
    struct vhost_user_message *message = &peer->message;
    size_t header_len = sizeof(message->header);
    struct record_reader reader;
    int result = saved_record(taking->records, SAVED_MESSAGE, &reader, taking->err);
    size_t received;
    unsigned fd_count;

    if (result < 0)
        return result;
    received = record_take_u16(&reader);
    if (received > header_len + VHOST_USER_PAYLOAD_MAX)
        return saved_refuse(SAVED_MESSAGE, "malformed", taking->err);
    record_take_bytes(&reader, &message->header, MIN(received, header_len));
    if (received >= header_len && vhost_user_connection_check(peer) < 0)
        return saved_refuse(SAVED_MESSAGE, "no message of a front-end", taking->err);
    if (received > header_len + (received >= header_len ? message->header.size : 0))
        return saved_refuse(SAVED_MESSAGE, "malformed", taking->err);
    if (received >= header_len) {
        memset(message->payload.bytes, 0, message->header.size);
        record_take_bytes(&reader, message->payload.bytes, received - header_len);
    }
    fd_count = record_take_u8(&reader);
    for (; message->fd_count < MIN(fd_count, (unsigned)VHOST_USER_FDS_MAX); message->fd_count++) {
        if (fd_take_place(taking, &reader, &message->fd[message->fd_count]) < 0)
            return saved_refuse(SAVED_MESSAGE, "malformed", taking->err);
    }
    if (!record_is_done(&reader))
        return saved_refuse(SAVED_MESSAGE, "malformed", taking->err);
    peer->received = received;
    return 0;
}

static int region_read(struct vhost_user *vhost_user, const struct taking *taking,
                       struct record_reader *reader)
{
    struct memory_file file = {.fd = -1};
    uint32_t shares;
    int result;

    file.gpa = record_take_u64(reader);
    file.uva = record_take_u64(reader);
    file.size = record_take_u64(reader);
    file.offset = record_take_u64(reader);
    shares = record_take_u32(reader);
    if (fd_take_place(taking, reader, &file.fd) < 0)
        return saved_refuse(SAVED_MEMORY, "malformed", taking->err);
    result = blame(guest_memory_map(vhost_user->memory, &file, taking->err));
    fd_close(&file.fd);
    if (result == 0)
        guest_memory_set_shares(vhost_user->memory, file.gpa, shares);
    return result;
}

static int memory_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct record_reader reader;
    int result = saved_record(taking->records, SAVED_MEMORY, &reader, taking->err);
    unsigned count = record_take_u16(&reader);

    if (result < 0)
        return result;
    if (count != 0 && guest_memory_create(&vhost_user->memory) < 0)
        return error_set(taking->err, ENOMEM, "out of memory");
    for (unsigned i = 0; i < count && result == 0; i++)
        result = region_read(vhost_user, taking, &reader);
    if (result == 0 && !record_is_done(&reader))
        result = saved_refuse(SAVED_MEMORY, "malformed", taking->err);
    if (result == 0)
        coordinator_set_memory(vhost_user->coordinator, vhost_user->memory);
    return result;
}

/* Older builds write none. */
static int log_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct memory_part part;
    struct record_reader reader;
    int result = 0;

    if (!records_find(taking->records, SAVED_LOG, &reader))
        return 0;
    vhost_user->logs = record_take_u64(&reader);
    vhost_user->logs_lost = record_take_u64(&reader);
    part.offset = record_take_u64(&reader);
    part.size = record_take_u64(&reader);
    if (fd_take_place(taking, &reader, &part.fd) < 0 ||
        fd_take_place(taking, &reader, &vhost_user->log_fd) < 0 || !record_is_done(&reader))
        result = saved_refuse(SAVED_LOG, "malformed", taking->err);
    if (result == 0 && part.fd >= 0)
        result = blame(dirty_log_create(&part, &vhost_user->log, taking->err));
    fd_close(&part.fd);
    if (result == LEAVE_BEHIND) {
        vhost_user_log_lost(vhost_user);
        result = 0;
    }
    if (vhost_user->log != NULL)
        vhost_user->log->tell_fd = vhost_user->log_fd;
    return result;
}

static int area_map(struct vhost_user_area *area, const struct memory_part *part, struct error *err)
{
    int result = memory_part_check(part, err);

    if (result == 0) {
        result = memory_mapping_create(part, &area->mapping, &area->first);
        if (result < 0)
            error_set(err, -result, "it can't be mapped: %s", strerror(-result));
    }
    if (result < 0)
        error_prefix(err, "the area where its rings are recorded");
    return blame(result);
}

/* Older builds write none. */
static int inflight_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct vhost_user_area *area = &vhost_user->area;
    struct memory_part part;
    struct record_reader reader;
    int result = 0;

    if (!records_find(taking->records, SAVED_INFLIGHT, &reader))
        return 0;
    part.offset = record_take_u64(&reader);
    area->len = part.size = record_take_u64(&reader);
    area->queues = record_take_u16(&reader);
    area->queue_size = record_take_u16(&reader);
    if (fd_take_place(taking, &reader, &part.fd) < 0)
        return saved_refuse(SAVED_INFLIGHT, "malformed", taking->err);
    if (part.offset % INFLIGHT_ALIGN != 0)
        result = saved_refuse(SAVED_INFLIGHT, "malformed", taking->err);
    vhost_user->rings_file.holds = record_take_u8(&reader);
    if (fd_take_place(taking, &reader, &vhost_user->rings_file.fd) < 0 || !record_is_done(&reader))
        result = saved_refuse(SAVED_INFLIGHT, "malformed", taking->err);
    if (result == 0 && part.fd >= 0)
        result = area_map(area, &part, taking->err);
    fd_close(&part.fd);
    return result;
}

/* Older builds write none. */
static int areas_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct record_reader reader;
    int result = 0;

    if (!records_find(taking->records, SAVED_AREAS, &reader))
        return 0;
    for (unsigned i = 0; i < VHOST_USER_AREAS_MADE && result == 0; i++)
        result = fd_take_place(taking, &reader, &vhost_user->area_made[i]);
    return result == 0 && record_is_done(&reader)
               ? 0
               : saved_refuse(SAVED_AREAS, "malformed", taking->err);
}

/* What the new configuration has no room for is the operator's to mend. */
static int ring_fits(const struct vhost_user_ring *ring, struct error *err)
{
    unsigned most = coordinator_nic(ring->owner->coordinator)->config.queue_size_max;

    if (ring->size <= most)
        return 0;
    return error_set(err, EINVAL,
                     "its guest has a ring of %u entries and the new configuration says "
                     "queue-size=%u; leave it at least as large",
                     ring->size, most);
}

/* Starts what ran; workers stand still, so nothing moves yet. */
static int ring_read(struct vhost_user_ring *ring, const struct taking *taking,
                     struct record_reader *reader)
{
    int running, result;

    ring->size = record_take_u16(reader);
    ring->base = record_take_u32(reader);
    ring->has_addr = record_take_u8(reader) != 0;
    ring->has_kick = record_take_u8(reader) != 0;
    ring->enabled = record_take_u8(reader) != 0;
    running = record_take_u8(reader);
    ring->addr.flags = record_take_u32(reader);
    ring->addr.desc = record_take_u64(reader);
    ring->addr.used = record_take_u64(reader);
    ring->addr.avail = record_take_u64(reader);
    ring->addr.log = record_take_u64(reader);
    if (fd_take_place(taking, reader, &ring->kick_fd) < 0 ||
        fd_take_place(taking, reader, &ring->call_fd) < 0 ||
        fd_take_place(taking, reader, &ring->err_fd) < 0 || reader->failed)
        return saved_refuse(SAVED_RINGS, "malformed", taking->err);
    coordinator_enable_queue(ring->owner->coordinator, ring->index,
                             ring->enabled ? COORDINATOR_ENABLE : COORDINATOR_DISABLE);
    if (!running)
        return 0;
    result = ring_fits(ring, taking->err);
    if (result == 0)
        result = blame(vhost_user_ring_try_start(ring, taking->err));
    if (result == 0 && !vhost_user_ring_running(ring) && !ring->owner->iommu.agreed)
        return saved_refuse(SAVED_RINGS, "one that ran can't be started", taking->err);
    return result;
}

static int rings_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct record_reader reader;
    int result = saved_record(taking->records, SAVED_RINGS, &reader, taking->err);

    if (result < 0)
        return result;
    if (record_take_u16(&reader) != vhost_user->ring_count)
        return saved_refuse(SAVED_RINGS, "not as many as this card has", taking->err);
    for (unsigned i = 0; i < vhost_user->ring_count && result == 0; i++)
        result = ring_read(&vhost_user->ring[i], taking, &reader);
    if (result == 0 && !record_is_done(&reader))
        result = saved_refuse(SAVED_RINGS, "malformed", taking->err);
    return result;
}

/* Before the rings: that they start here is no arrival. */
static int arrival_read(struct vhost_user *vhost_user, const struct taking *taking,
                        uint8_t *ret_due)
{
    struct record_reader reader;
    int found = records_find(taking->records, SAVED_ARRIVAL, &reader);

    *ret_due = record_take_u8(&reader) != 0;
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        vhost_user->ring[i].was_started = record_take_u8(&reader) != 0 || !found;
        vhost_user->ring[i].left = record_take_u8(&reader) != 0;
        vhost_user->ring[i].left_at = record_take_u32(&reader);
    }
    return !found || record_is_done(&reader)
               ? 0
               : saved_refuse(SAVED_ARRIVAL, "malformed", taking->err);
}

/* Older builds write none. The sentence is for people: it comes from another process. */
static void parting_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    char text[UINT8_MAX + 1] = {0};
    struct record_reader reader;
    size_t len;

    if (!records_find(taking->records, SAVED_PARTING, &reader))
        return;
    vhost_user->partings = record_take_u64(&reader);
    len = record_take_u8(&reader);
    record_take_bytes(&reader, text, len);
    for (size_t i = 0; i < len; i++)
        text[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
    if (len == 0 || reader.failed)
        return;
    vhost_user->partings++;
    error_set(&vhost_user->parting, ESTALE, "%s", text);
}

/* Older builds write none. */
static void share_read(struct vhost_user_share *share, const struct records *records)
{
    struct record_reader reader;

    if (!records_find(records, SAVED_SHARE, &reader))
        return;
    share->times_spent = record_take_u64(&reader);
    share->times_shared = record_take_u64(&reader);
}

/* After the place, which is there without a session too. */
static int session_rest_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    uint8_t due;
    int result = message_read(&vhost_user->peer, taking);

    if (result == 0)
        result = memory_read(vhost_user, taking);
    if (result == 0)
        result = vhost_user_iommu_take(vhost_user, taking->records, taking->err);
    if (result == 0)
        result = log_read(vhost_user, taking);
    if (result == 0)
        result = arrival_read(vhost_user, taking, &due);
    if (result == 0)
        result = rings_read(vhost_user, taking);
    if (result == 0)
        result = vhost_user_channel_take(vhost_user, taking->records, taking->err);
    if (result == 0)
        result = vhost_user_state_take(vhost_user, taking->records, taking->fds, taking->err);
    if (result == 0)
        vhost_user->announce.due = due;
    return result;
}

int vhost_user_take_session(struct vhost_user *vhost_user, const struct records *records,
                            struct fd_list *fds, struct error *err)
{
    struct error why = {{0}};
    const struct taking taking = {records, fds, &why};
    int result;

    vhost_user->given = 1;
    result = session_read(vhost_user, &taking);
    if (result == 0) {
        parting_read(vhost_user, &taking);
        share_read(&vhost_user->share, records);
        result = areas_read(vhost_user, &taking);
    }
    if (result == 0)
        result = inflight_read(vhost_user, &taking);
    if (result == 0 && vhost_user->connection.fd >= 0)
        result = session_rest_read(vhost_user, &taking);
    if (result == LEAVE_BEHIND) {
        vhost_user_session_drop(vhost_user);
        vhost_user->partings++;
        vhost_user->parting = why;
        result = 0;
    } else if (result < 0 && vhost_user->connection.fd >= 0) {
        vhost_user_session_drop(vhost_user);
    }
    return result < 0 ? error_set(err, -result, "%s", why.text) : 0;
}

int vhost_user_is_connected(const struct vhost_user *vhost_user)
{
    return vhost_user->connection.fd >= 0;
}

int vhost_user_was_connected(const struct records *records)
{
    struct record_reader reader;

    return records_find(records, SAVED_SESSION, &reader) && record_take_u8(&reader) == 1;
}

void vhost_user_keep(struct vhost_user *vhost_user)
{
    vhost_user->given = 0;
    if (vhost_user->parting.text[0] != '\0')
        log_warning("%s: its front-end could not be taken over (%s): it is disconnected, and may "
                    "connect again",
                    coordinator_name(vhost_user->coordinator), vhost_user->parting.text);
    vhost_user->parting.text[0] = '\0';
    if (vhost_user->connection.fd < 0)
        return;
    vhost_user_iommu_look(vhost_user); /* rings that waited to start ask here anew */
    vhost_user_channel_look(vhost_user);
}
