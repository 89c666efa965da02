/* SPDX-License-Identifier: MIT */
/*
 * A session that goes on in another process: all that the front-end has said and all that it gave,
 * as records and a list of fds. vhost_user_take.c reads them.
 */
#include <string.h>

#include "base/checked.h"
#include "memory/dirty_log.h"
#include "nic/saved_state.h"
#include "transport/vhost_user_session.h"

static void text_put(struct records_writer *writer, const char *text)
{
    size_t len = MIN(strlen(text), (size_t)UINT8_MAX);

    records_put_u8(writer, (uint8_t)len);
    records_put_bytes(writer, text, len);
}

/* What goes over: all of it, or only the place at which the next session begins. */
enum giving {
    GIVE_PLACE,
    GIVE_SESSION,
};

static void session_write(const struct vhost_user *vhost_user, enum giving giving,
                          struct records_writer *writer, struct fd_list *fds)
{
    int all = giving == GIVE_SESSION;

    records_open(writer, SAVED_SESSION, RECORD_MANDATORY);
    records_put_u8(writer, (uint8_t)all);
    text_put(writer, vhost_user->path);
    records_put_u8(writer, vhost_user->mode);
    records_put_u8(writer, vhost_user->owns_path != 0);
    records_put_u64(writer, all ? vhost_user->features : 0);
    records_put_u8(writer, all && vhost_user->features_refused);
    records_put_u64(writer, all ? vhost_user->protocol_features : 0);
    records_put_u8(writer, all && vhost_user->channel.config_due);
    records_put_u64(writer, vhost_user->sessions);
    records_put_u64(writer, vhost_user->messages);
    records_put_u64(writer, vhost_user->refused);
    records_put_u64(writer, vhost_user->config_changes);
    records_put_u64(writer, vhost_user->channel.config_notices);
    records_put_u16(writer, fd_list_add(fds, vhost_user->listener.fd));
    records_put_u16(writer, fd_list_add(fds, all ? vhost_user->connection.fd : -1));
    records_put_u16(writer, fd_list_add(fds, all ? vhost_user->channel.source.fd : -1));
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

static void share_write(const struct vhost_user_share *share, struct records_writer *writer)
{
    records_open(writer, SAVED_SHARE, RECORD_OPTIONAL);
    records_put_u64(writer, share->times_spent);
    records_put_u64(writer, share->times_shared);
    records_close(writer);
}

/* Where rings are recorded: whoever goes on without it leaves records behind that are no longer
 * true.
 */
static void inflight_write(const struct vhost_user *vhost_user, enum giving giving,
                           struct records_writer *writer, struct fd_list *fds)
{
    static const struct vhost_user_area none;
    const struct vhost_user_area *area = giving == GIVE_SESSION ? &vhost_user->area : &none;
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
    records_put_u8(writer, file->holds || file->area.mapping != NULL);
    records_put_u16(writer, fd_list_add(fds, file->fd));
    records_close(writer);
}

/* Whose files this process made: they are emptied when they are asked for no more. */
static void areas_write(const struct vhost_user *vhost_user, struct records_writer *writer,
                        struct fd_list *fds)
{
    records_open(writer, SAVED_AREAS, RECORD_OPTIONAL);
    for (unsigned i = 0; i < VHOST_USER_AREAS_MADE; i++)
        records_put_u16(writer, fd_list_add(fds, vhost_user->area_made[i]));
    records_close(writer);
}

/* Why the session can't go on in another process; NULL: it can. */
static const char *parting_reason(const struct vhost_user *vhost_user)
{
    /* Pages that have not come yet are waited for in this process only; in another one they would
     * be read as zeroes. */
    if (vhost_user->postcopy.stage != VHOST_USER_POSTCOPY_NONE)
        return "its guest's memory is just coming from another machine by post-copy";
    return NULL;
}

static void parting_write(const struct vhost_user *vhost_user, const char *reason,
                          struct records_writer *writer)
{
    records_open(writer, SAVED_PARTING, RECORD_OPTIONAL);
    records_put_u64(writer, vhost_user->partings);
    text_put(writer, reason != NULL ? reason : "");
    records_close(writer);
}

static void rings_write(struct vhost_user *vhost_user, struct records_writer *writer,
                        struct fd_list *fds)
{
    records_open(writer, SAVED_RINGS, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)vhost_user->ring_count);
    for (unsigned i = 0; i < vhost_user->ring_count; i++)
        ring_write(&vhost_user->ring[i], writer, fds);
    records_close(writer);
}

/* A front-end that is left behind keeps its connection to this process until that ends, so that
 * nothing has happened to it if the takeover fails. */
void vhost_user_give(struct vhost_user *vhost_user, struct records_writer *writer,
                     struct fd_list *fds)
{
    const char *reason = parting_reason(vhost_user);
    enum giving giving =
        vhost_user->connection.fd < 0 || reason != NULL ? GIVE_PLACE : GIVE_SESSION;

    vhost_user->given = 1;
    session_write(vhost_user, giving, writer, fds);
    parting_write(vhost_user, reason, writer);
    share_write(&vhost_user->share, writer);
    areas_write(vhost_user, writer, fds);
    inflight_write(vhost_user, giving, writer, fds);
    if (giving == GIVE_PLACE)
        return;
    message_write(&vhost_user->peer, writer, fds);
    memory_write(vhost_user->memory, writer, fds);
    vhost_user_iommu_give(vhost_user, writer);
    log_write(vhost_user, writer, fds);
    arrival_write(vhost_user, writer);
    rings_write(vhost_user, writer, fds);
    vhost_user_channel_give(vhost_user, writer);
    vhost_user_state_give(vhost_user, writer, fds);
}
