/* SPDX-License-Identifier: MIT */
/* A tap that goes on in another process: its open files, what was agreed on them, and frames that
 * were read and not delivered. The interface itself is not touched. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint/tap/device.h"
#include "endpoint/tap/tap.h"
#include "endpoint/tap/vnet.h"

enum {
    STATE_DEVICE = 1,
    STATE_PORTS = 2,
};

#define STATE_TAGS_KNOWN (1ull << STATE_DEVICE | 1ull << STATE_PORTS)

/* ---- writing ------------------------------------------------------------------------------ */

static void frame_write(const struct tap_frame *frame, struct records_writer *writer)
{
    records_put_u32(writer, frame->len);
    if (frame->len == 0)
        return;
    records_put_u8(writer, frame->offload.flags);
    records_put_u8(writer, frame->offload.gso_type);
    records_put_u16(writer, frame->offload.hdr_len);
    records_put_u16(writer, frame->offload.gso_size);
    records_put_u16(writer, frame->offload.csum_start);
    records_put_u16(writer, frame->offload.csum_offset);
    records_put_u16(writer, frame->offload.outer_th_offset);
    records_put_u16(writer, frame->offload.inner_nh_offset);
    records_put_bytes(writer, frame->bytes, frame->len);
}

static void port_write(const struct tap_port *port, struct records_writer *writer,
                       struct fd_list *fds)
{
    static const struct tap_frame none;
    struct tap_frame *frame = malloc(sizeof(*frame));

    records_put_u16(writer, fd_list_add(fds, port->fd));
    records_put_u64(writer, counter_get(&port->tx_dropped_down));
    records_put_u64(writer, counter_get(&port->tx_dropped_refused));
    records_put_u64(writer, counter_get(&port->rx_dropped_offload));
    records_put_u64(writer, counter_get(&port->rx_held));
    records_put_u8(writer, port->queue != NULL);
    if (frame == NULL)
        writer->failed = 1;
    else if (port->queue != NULL)
        tap_queue_held(port->queue, frame);
    frame_write(frame != NULL && port->queue != NULL ? frame : &none, writer);
    free(frame);
}

void tap_state_write(const struct tap *tap, struct records_writer *writer, struct fd_list *fds)
{
    records_open(writer, STATE_DEVICE, RECORD_MANDATORY);
    records_put_u8(writer, (uint8_t)tap->origin);
    records_put_bytes(writer, tap->ifname, sizeof(tap->ifname));
    records_put_bytes(writer, tap->netns, sizeof(tap->netns));
    records_put_u32(writer, tap->tx_offloads);
    records_put_u32(writer, tap->rx_offloads);
    records_put_u8(writer, (uint8_t)tap->header_len);
    records_put_u8(writer, tap->multi_queue != 0);
    records_put_u32(writer, atomic_load_explicit(&tap->rx_agreed, memory_order_relaxed));
    records_close(writer);
    records_open(writer, STATE_PORTS, RECORD_MANDATORY);
    records_put_u16(writer, (uint16_t)tap->port_count);
    for (unsigned i = 0; i < tap->port_count; i++)
        port_write(&tap->port[i], writer, fds);
    records_close(writer);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int refuse(struct error *err)
{
    return error_set(err, EINVAL, "endpoint tap: what was given of it is malformed");
}

/* -ENOENT: it is another tap than the spec names. */
static int device_read(struct tap *tap, struct record_reader *reader, int passed)
{
    char ifname[sizeof(tap->ifname) + 1] = {0}, netns[sizeof(tap->netns) + 1] = {0};
    unsigned origin = record_take_u8(reader);

    record_take_bytes(reader, ifname, sizeof(tap->ifname));
    record_take_bytes(reader, netns, sizeof(tap->netns));
    tap->tx_offloads = record_take_u32(reader);
    tap->rx_offloads = record_take_u32(reader);
    tap->header_len = record_take_u8(reader);
    tap->multi_queue = record_take_u8(reader);
    atomic_store_explicit(&tap->rx_agreed, record_take_u32(reader), memory_order_relaxed);
    if (!record_is_done(reader) || origin > TAP_PASSED || tap->multi_queue > 1 ||
        (tap->header_len != VNET_HDR_LEN && tap->header_len != VNET_HDR_LEN_TUNNEL) ||
        ((tap->tx_offloads | tap->rx_offloads) & ~(uint32_t)ENDPOINT_OFFLOADS_ALL) != 0)
        return -EINVAL;
    if (passed != (origin == TAP_PASSED) || strcmp(netns, tap->netns) != 0 ||
        (*tap->ifname != '\0' && strcmp(ifname, tap->ifname) != 0))
        return -ENOENT;
    tap->origin = (enum tap_origin)origin;
    memcpy(tap->ifname, ifname, sizeof(tap->ifname));
    return 0;
}

static int frame_read(struct tap_frame *frame, struct record_reader *reader)
{
    frame->len = record_take_u32(reader);
    if (frame->len == 0)
        return 0;
    if (frame->len > FRAME_LEN_MAX)
        return -EINVAL;
    frame->offload.flags = record_take_u8(reader);
    frame->offload.gso_type = record_take_u8(reader);
    frame->offload.hdr_len = record_take_u16(reader);
    frame->offload.gso_size = record_take_u16(reader);
    frame->offload.csum_start = record_take_u16(reader);
    frame->offload.csum_offset = record_take_u16(reader);
    frame->offload.outer_th_offset = record_take_u16(reader);
    frame->offload.inner_nh_offset = record_take_u16(reader);
    record_take_bytes(reader, frame->bytes, frame->len);
    return reader->failed ? -EINVAL : 0;
}

static int port_read(struct tap_port *port, struct record_reader *reader, struct fd_list *fds)
{
    char ifname[IFNAMSIZ];
    enum device_queues queues;
    unsigned open;

    if (fd_list_take(fds, record_take_u16(reader), &port->fd) < 0 || port->fd < 0)
        return -EINVAL;
    counter_set(&port->tx_dropped_down, record_take_u64(reader));
    counter_set(&port->tx_dropped_refused, record_take_u64(reader));
    counter_set(&port->rx_dropped_offload, record_take_u64(reader));
    counter_set(&port->rx_held, record_take_u64(reader));
    open = record_take_u8(reader);
    port->inherited = calloc(1, sizeof(*port->inherited));
    if (port->inherited == NULL)
        return -ENOMEM;
    if (frame_read(port->inherited, reader) < 0 || open > 1 || reader->failed ||
        device_check(port->fd, ifname, &queues, NULL) < 0)
        return -EINVAL;
    if (open)
        return 0;
    free(port->inherited);
    port->inherited = NULL;
    return 0;
}

int tap_state_read(struct tap *tap, const struct endpoint_gift *gift, int passed, struct error *err)
{
    struct records records;
    struct record_reader device, ports;
    int rc = records_parse_long(&records, gift->block, gift->len, STATE_TAGS_KNOWN, err);

    if (rc < 0)
        return rc;
    if (!records_find(&records, STATE_DEVICE, &device) ||
        !records_find(&records, STATE_PORTS, &ports))
        return refuse(err);
    rc = device_read(tap, &device, passed);
    if (rc == 0 && record_take_u16(&ports) != tap->port_count)
        return -ENOENT;
    for (unsigned i = 0; i < tap->port_count && rc == 0; i++)
        rc = port_read(&tap->port[i], &ports, gift->fds);
    if (rc == 0 && !record_is_done(&ports))
        rc = -EINVAL;
    return rc == -EINVAL ? refuse(err) : rc;
}
