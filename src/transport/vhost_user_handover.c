/* SPDX-License-Identifier: MIT */
/*
 * A session that goes on in another process: all that the front-end has said and all that it gave,
 * as records and a list of fds. Nothing of it is believed: it is set up by the same functions that
 * the front-end's messages call.
 */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/fd.h"
#include "memory/dirty_log.h"
#include "nic/saved_state.h"
#include "transport/vhost_user_session.h"

/* ---- writing ------------------------------------------------------------------------------ */

static void text_put(struct records_writer *writer, const char *text)
{
    size_t len = MIN(strlen(text), (size_t)UINT8_MAX);

    records_put_u8(writer, (uint8_t)len);
    records_put_bytes(writer, text, len);
}

static void session_write(const struct vhost_user *vhost_user, struct records_writer *writer,
                          struct fd_list *fds)
{
    records_open(writer, SAVED_SESSION, RECORD_MANDATORY);
    records_put_u8(writer, vhost_user->connection.fd >= 0);
    text_put(writer, vhost_user->path);
    records_put_u8(writer, vhost_user->mode);
    records_put_u8(writer, vhost_user->owns_path != 0);
    records_put_u64(writer, vhost_user->features);
    records_put_u8(writer, vhost_user->features_refused != 0);
    records_put_u64(writer, vhost_user->protocol_features);
    records_put_u8(writer, vhost_user->channel.config_due);
    records_put_u64(writer, vhost_user->sessions);
    records_put_u64(writer, vhost_user->messages);
    records_put_u64(writer, vhost_user->refused);
    records_put_u64(writer, vhost_user->config_changes);
    records_put_u64(writer, vhost_user->channel.config_notices);
    records_put_u16(writer, fd_list_add(fds, vhost_user->listener.fd));
    records_put_u16(writer, fd_list_add(fds, vhost_user->connection.fd));
    records_put_u16(writer, fd_list_add(fds, vhost_user->channel.source.fd));
    records_close(writer);
}

/* The bytes that came of a message whose rest is still on its way. */
static void message_write(const struct vhost_user_connection *peer, struct records_writer *writer,
                          struct fd_list *fds)
{
    const struct vhost_user_message *message = &peer->message;
    size_t header_len = MIN(peer->received, sizeof(message->header));

    records_open(writer, SAVED_MESSAGE, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)peer->received);
    records_put_bytes(writer, &message->header, header_len);
    records_put_bytes(writer, message->payload.bytes, peer->received - header_len);
    records_put_u8(writer, (uint8_t)message->fd_count);
    for (unsigned i = 0; i < message->fd_count; i++)
        records_put_u16(writer, fd_list_add(fds, message->fd[i]));
    records_close(writer);
}

static void memory_write(const struct guest_memory *memory, struct records_writer *writer,
                         struct fd_list *fds)
{
    unsigned count = memory != NULL ? memory->region_count : 0;

    records_open(writer, SAVED_MEMORY, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)count);
    for (unsigned i = 0; i < count; i++) {
        struct memory_file file = guest_memory_file(memory, i);

        records_put_u64(writer, file.gpa);
        records_put_u64(writer, file.uva);
        records_put_u64(writer, file.size);
        records_put_u64(writer, file.offset);
        records_put_u32(writer, memory->region[i].shares);
        records_put_u16(writer, fd_list_add(fds, file.fd));
    }
    records_close(writer);
}

/* Where bits are set while memory is copied to another machine. */
static void log_write(const struct vhost_user *vhost_user, struct records_writer *writer,
                      struct fd_list *fds)
{
    const struct dirty_log *log = vhost_user->log;
    struct memory_part part = {.fd = -1};

    if (log != NULL)
        part = memory_mapping_part(log->mapping, log->bits);
    records_open(writer, SAVED_LOG, RECORD_MANDATORY);
    records_put_u64(writer, vhost_user->logs);
    records_put_u64(writer, vhost_user->logs_lost);
    records_put_u64(writer, part.offset);
    records_put_u64(writer, log != NULL ? log->page_count / DIRTY_LOG_PAGES_A_BYTE : 0);
    records_put_u16(writer, fd_list_add(fds, part.fd));
    records_put_u16(writer, fd_list_add(fds, vhost_user->log_fd));
    records_close(writer);
}

static void ring_write(struct vhost_user_ring *ring, struct records_writer *writer,
                       struct fd_list *fds)
{
    int running = vhost_user_ring_running(ring);
    uint32_t base =
        running ? coordinator_queue_base(ring->owner->coordinator, ring->index) : ring->base;

    records_put_u16(writer, ring->size);
    records_put_u32(writer, base);
    records_put_u8(writer, ring->has_addr);
    records_put_u8(writer, ring->has_kick);
    records_put_u8(writer, ring->enabled);
    records_put_u8(writer, running != 0);
    records_put_u32(writer, ring->addr.flags);
    records_put_u64(writer, ring->addr.desc);
    records_put_u64(writer, ring->addr.used);
    records_put_u64(writer, ring->addr.avail);
    records_put_u64(writer, ring->addr.log);
    records_put_u16(writer, fd_list_add(fds, ring->kick_fd));
    records_put_u16(writer, fd_list_add(fds, ring->call_fd));
    records_put_u16(writer, fd_list_add(fds, ring->err_fd));
}

/* Whether the guest came from elsewhere, and where a reset found its rings. */
static void arrival_write(const struct vhost_user *vhost_user, struct records_writer *writer)
{
    records_open(writer, SAVED_ARRIVAL, RECORD_OPTIONAL);
    records_put_u8(writer, vhost_user->announce.due);
    for (unsigned i = 0; i < vhost_user->ring_count; i++) {
        records_put_u8(writer, vhost_user->ring[i].was_started);
        records_put_u8(writer, vhost_user->ring[i].left);
        records_put_u32(writer, vhost_user->ring[i].left_at);
    }
    records_close(writer);
}

/* Where rings are recorded: whoever goes on without it leaves records behind that are no longer
 * true.
 */
static void inflight_write(const struct vhost_user *vhost_user, struct records_writer *writer,
                           struct fd_list *fds)
{
    const struct vhost_user_area *area = &vhost_user->area;
    const struct vhost_user_rings_file *file = &vhost_user->rings_file;
    struct memory_part part = {.fd = -1};

    if (area->mapping != NULL)
        part = memory_mapping_part(area->mapping, area->first);
    records_open(writer, SAVED_INFLIGHT,
                 area->mapping != NULL || file->area.mapping != NULL ? RECORD_MANDATORY
                                                                     : RECORD_OPTIONAL);
    records_put_u64(writer, part.offset);
    records_put_u64(writer, area->len);
    records_put_u16(writer, area->queues);
    records_put_u16(writer, area->queue_size);
    records_put_u16(writer, fd_list_add(fds, part.fd));
    records_put_u8(writer, file->holds);
    records_put_u16(writer, fd_list_add(fds, file->fd));
    records_close(writer);
}

static int is_moving(const struct vhost_user *vhost_user)
{
    int running = 0;

    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        running |= vhost_user_ring_running(&vhost_user->ring[i]);
    return vhost_user->transfer.source.fd >= 0 ||
           vhost_user->transfer.verdict != VHOST_USER_TRANSFER_NONE ||
           (vhost_user->loaded_nic != NULL && !running) ||
           vhost_user->postcopy.stage != VHOST_USER_POSTCOPY_NONE;
}

int vhost_user_give(struct vhost_user *vhost_user, struct records_writer *writer,
                    struct fd_list *fds, struct error *err)
{
    if (is_moving(vhost_user))
        return error_set(err, EBUSY,
                         "%s: its guest is just moving to another machine, or from one; try again "
                         "in a moment",
                         coordinator_name(vhost_user->coordinator));
    if (vhost_user->protocol_features & VHOST_USER_PROTOCOL_INBAND_NOTIFICATIONS)
        return error_set(err, EBUSY,
                         "%s: its front-end is told of interrupts by messages (in-band=on); end it "
                         "first",
                         coordinator_name(vhost_user->coordinator));
    session_write(vhost_user, writer, fds);
    message_write(&vhost_user->peer, writer, fds);
    memory_write(vhost_user->memory, writer, fds);
    log_write(vhost_user, writer, fds);
    arrival_write(vhost_user, writer);
    inflight_write(vhost_user, writer, fds);
    records_open(writer, SAVED_RINGS, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)vhost_user->ring_count);
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        ring_write(&vhost_user->ring[i], writer, fds);
    records_close(writer);
    vhost_user->given = 1;
    return 0;
}

void vhost_user_keep(struct vhost_user *vhost_user)
{
    vhost_user->given = 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

/* What the records are read with. */
struct taking {
    const struct records *records; /* borrowed */
    struct fd_list *fds;           /* borrowed */
    struct error *err;             /* borrowed */
};

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
    result = guest_memory_map(vhost_user->memory, &file, taking->err);
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
        result = dirty_log_create(&part, &vhost_user->log, taking->err);
    fd_close(&part.fd);
    if (vhost_user->log != NULL)
        vhost_user->log->tell_fd = vhost_user->log_fd;
    return result;
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
    vhost_user->rings_file.holds = record_take_u8(&reader);
    if (fd_take_place(taking, &reader, &vhost_user->rings_file.fd) < 0 || !record_is_done(&reader))
        result = saved_refuse(SAVED_INFLIGHT, "malformed", taking->err);
    if (result == 0 && part.fd >= 0)
        result = memory_part_check(&part, taking->err);
    if (result == 0 && part.fd >= 0)
        result = memory_mapping_create(&part, &area->mapping, &area->first);
    fd_close(&part.fd);
    return result;
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
    result = vhost_user_ring_try_start(ring, taking->err);
    if (result == 0 && !vhost_user_ring_running(ring))
        return saved_refuse(SAVED_RINGS, "one that ran can't be started", taking->err);
    return result;
}

static int rings_read(struct vhost_user *vhost_user, const struct taking *taking)
{
    struct record_reader reader;
    int result = saved_record(taking->records, SAVED_RINGS, &reader, taking->err);
    uint8_t config_due = vhost_user->channel.config_due;

    if (result < 0)
        return result;
    if (record_take_u16(&reader) != vhost_user->ring_count)
        return saved_refuse(SAVED_RINGS, "not as many as this card has", taking->err);
    vhost_user->channel.config_due = 0; /* nothing is said before the session is ours */
    for (unsigned i = 0; i < vhost_user->ring_count && result == 0; i++)
        result = ring_read(&vhost_user->ring[i], taking, &reader);
    vhost_user->channel.config_due = config_due;
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

int vhost_user_take_session(struct vhost_user *vhost_user, const struct records *records,
                            struct fd_list *fds, struct error *err)
{
    const struct taking taking = {records, fds, err};
    uint8_t due;
    int result;

    vhost_user->given = 1;
    result = session_read(vhost_user, &taking);
    if (result == 0)
        result = inflight_read(vhost_user, &taking);
    if (result < 0 || vhost_user->connection.fd < 0)
        return result;
    result = message_read(&vhost_user->peer, &taking);
    if (result == 0)
        result = memory_read(vhost_user, &taking);
    if (result == 0)
        result = log_read(vhost_user, &taking);
    if (result == 0)
        result = arrival_read(vhost_user, &taking, &due);
    if (result == 0)
        result = rings_read(vhost_user, &taking);
    if (result == 0)
        vhost_user->announce.due = due;
    return result;
}

int vhost_user_was_connected(const struct records *records)
{
    struct record_reader reader;

    return records_find(records, SAVED_SESSION, &reader) && record_take_u8(&reader) == 1;
}
