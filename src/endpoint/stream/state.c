/* SPDX-License-Identifier: MIT */
/* A stream that goes on in another process: its sockets, the frame that was begun, and the bytes
 * that were read and not delivered. */
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "endpoint/stream/stream.h"

enum {
    STATE_LINK = 1,
    STATE_FLOW = 2,
};

#define STATE_TAGS_KNOWN (1ull << STATE_LINK | 1ull << STATE_FLOW)

/* ---- writing ------------------------------------------------------------------------------ */

static int is_connected(const struct stream *stream)
{
    return stream->fresh_fd >= 0 || (stream->flow.fd >= 0 && !stream->flow.lost);
}

static void link_write(const struct stream *stream, struct records_writer *writer,
                       struct fd_list *fds)
{
    int fd = stream->fresh_fd >= 0 ? stream->fresh_fd : stream->flow.fd;

    records_open(writer, STATE_LINK, RECORD_MANDATORY);
    records_put_u8(writer, stream->mode);
    records_put_bytes(writer, stream->peer, sizeof(stream->peer));
    records_put_u8(writer, stream->owns_path != 0);
    records_put_u32(writer, stream->wait_ms);
    records_put_u64(writer, stream->connected_ns);
    records_put_u64(writer, counter_get(&stream->connections));
    records_put_u64(writer, counter_get(&stream->connections_lost));
    records_put_u64(writer, counter_get(&stream->attempts_failed));
    records_put_u16(writer, fd_list_add(fds, stream->listen_fd));
    records_put_u16(writer, is_connected(stream) ? fd_list_add(fds, fd) : FD_LIST_NONE);
    records_close(writer);
}

/* Of a connection that is new, or over, there is nothing on its way. */
static void flow_write(const struct stream *stream, struct records_writer *writer)
{
    const struct stream_flow *flow = &stream->flow;
    int begun = is_connected(stream) && stream->fresh_fd < 0;

    records_open(writer, STATE_FLOW, RECORD_MANDATORY);
    records_put_u64(writer, counter_get(&flow->tx_dropped_down));
    records_put_u64(writer, counter_get(&flow->tx_dropped_refused));
    records_put_u64(writer, counter_get(&flow->tx_full));
    records_put_u64(writer, counter_get(&flow->tx_cut));
    records_put_u64(writer, counter_get(&flow->rx_reads));
    records_put_u64(writer, counter_get(&flow->rx_bad_length));
    records_put_u64(writer, counter_get(&flow->rx_cut));
    records_put_u32(writer, 0);
    records_put_u32(writer, begun ? flow->rest_at : 0);
    records_put_u32(writer, begun ? flow->rest_len : 0);
    if (begun)
        records_put_bytes(writer, flow->rest, flow->rest_at + flow->rest_len);
    records_put_u32(writer, begun ? flow->have_len : 0);
    if (begun)
        records_put_bytes(writer, flow->have + flow->have_at, flow->have_len);
    records_close(writer);
}

void stream_state_write(const struct stream *stream, struct records_writer *writer,
                        struct fd_list *fds)
{
    link_write(stream, writer, fds);
    flow_write(stream, writer);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int link_read(struct stream *stream, struct record_reader *reader, struct fd_list *fds)
{
    unsigned mode = record_take_u8(reader);
    char peer[sizeof(stream->peer)];

    record_take_bytes(reader, peer, sizeof(peer));
    /* fd= may be of a socket that listens. */
    if ((mode != stream->mode && stream->mode != STREAM_PASSED) ||
        strncmp(peer, stream->peer, sizeof(peer)) != 0)
        return -ENOENT;
    stream->mode = (enum stream_mode)mode;
    stream->owns_path = record_take_u8(reader) != 0;
    stream->wait_ms = record_take_u32(reader);
    stream->connected_ns = record_take_u64(reader);
    counter_set(&stream->connections, record_take_u64(reader));
    counter_set(&stream->connections_lost, record_take_u64(reader));
    counter_set(&stream->attempts_failed, record_take_u64(reader));
    if (fd_list_take(fds, record_take_u16(reader), &stream->listen_fd) < 0 ||
        fd_list_take(fds, record_take_u16(reader), &stream->flow.fd) < 0 ||
        !record_is_done(reader) || mode > STREAM_PASSED ||
        (mode == STREAM_SERVER) != (stream->listen_fd >= 0))
        return -EINVAL;
    stream->up = stream->flow.fd >= 0;
    return 0;
}

static int flow_read(struct stream_flow *flow, struct record_reader *reader)
{
    counter_set(&flow->tx_dropped_down, record_take_u64(reader));
    counter_set(&flow->tx_dropped_refused, record_take_u64(reader));
    counter_set(&flow->tx_full, record_take_u64(reader));
    counter_set(&flow->tx_cut, record_take_u64(reader));
    counter_set(&flow->rx_reads, record_take_u64(reader));
    counter_set(&flow->rx_bad_length, record_take_u64(reader));
    counter_set(&flow->rx_cut, record_take_u64(reader));
    record_take_u32(reader); /* unused: older builds' frame that comes again */
    flow->rest_at = record_take_u32(reader);
    flow->rest_len = record_take_u32(reader);
    if (flow->rest_at > sizeof(flow->rest) || flow->rest_len > sizeof(flow->rest) - flow->rest_at)
        return -EINVAL;
    record_take_bytes(reader, flow->rest, flow->rest_at + flow->rest_len);
    flow->have_len = record_take_u32(reader);
    if (flow->have_len > sizeof(flow->have))
        return -EINVAL;
    record_take_bytes(reader, flow->have, flow->have_len);
    return record_is_done(reader) ? 0 : -EINVAL;
}

int stream_state_read(struct stream *stream, const struct endpoint_gift *gift, struct error *err)
{
    struct records records;
    struct record_reader link, flow;
    int rc = records_parse_long(&records, gift->block, gift->len, STATE_TAGS_KNOWN, err);

    if (rc < 0)
        return rc;
    rc = -EINVAL;
    if (records_find(&records, STATE_LINK, &link) && records_find(&records, STATE_FLOW, &flow))
        rc = link_read(stream, &link, gift->fds);
    if (rc == 0)
        rc = flow_read(&stream->flow, &flow);
    if (rc == -EINVAL)
        error_set(err, EINVAL, "endpoint stream: what was given of it is malformed");
    return rc;
}
