/* SPDX-License-Identifier: MIT */
/*
 * The endpoint `stream`: what a peer sends, in pieces, to a guest that has now more and now less
 * room; and frames of the guest meanwhile, into a socket that is read now more and now less.
 *
 * Each whole frame up to the first impossible length arrives once and unchanged, nothing else does,
 * then the connection is over; and what goes out is the guest's frames, whole and in order.
 *
 *     a byte with the guest's room, then actions (ACTION_…), each with a byte or two
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "endpoint/catalog.h"
#include "endpoint/spec.h"
#include "fuzz.h"

enum {
    ACTION_WRITE,  /* the peer writes so many bytes of the input */
    ACTION_ZEROES, /* … or so many thousand zeroes, which make the middle of a long frame */
    ACTION_RECEIVE,
    ACTION_ROOM,
    ACTION_SEND,
    ACTION_READ,
    ACTION_REOPEN,
    ACTION_COUNT,

    ACTIONS_MAX = 400,
    STREAM_MAX = 1 << 18,
};

static struct {
    struct endpoint_rx rx;
    struct endpoint *endpoint;
    struct endpoint_queue *queue;
    int peer;
    unsigned room; /* frames that the guest takes before it has no more buffers */

    uint8_t written[STREAM_MAX]; /* by the peer */
    size_t written_len;
    size_t delivered_len; /* of that, in whole frames */

    uint32_t next_sent; /* names the guest's next frame */
    int held_back;      /* it was offered, and may be half out */
    uint32_t next_read;
    uint8_t read[4 + FRAME_LEN_MAX]; /* the frame that the peer is reading */
    size_t read_len;
} bed;

static uint32_t length_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* ---- the guest -------------------------------------------------------------------------- */

static void check_frame(const struct frame *frame)
{
    const uint8_t *expected = bed.written + bed.delivered_len;

    FUZZ_CHECK(bed.delivered_len + 4 + frame->len <= bed.written_len, "more than was written");
    FUZZ_CHECK(frame->len >= FRAME_LEN_MIN && frame->len <= FRAME_LEN_MAX, "%u bytes", frame->len);
    FUZZ_CHECK(length_at(expected) == frame->len, "a frame begins elsewhere");
    FUZZ_CHECK(frame->iov_count == 1 && frame->iov->iov_len == frame->len, "spans");
    FUZZ_CHECK(memcmp(expected + 4, frame->iov->iov_base, frame->len) == 0, "other bytes");
    bed.delivered_len += 4 + frame->len;
}

static unsigned guest_deliver(struct endpoint_rx *rx, const struct frame *frames, unsigned count)
{
    unsigned taken = MIN(count, bed.room);

    (void)rx;
    for (unsigned i = 0; i < taken; i++)
        check_frame(&frames[i]);
    bed.room -= taken;
    return taken;
}

static const struct endpoint_rx_ops guest_ops = {.deliver = guest_deliver};

static uint32_t sent_len(uint32_t name)
{
    uint32_t r = name * 2654435761u;

    return name % 13 == 0 ? FRAME_LEN_MAX : FRAME_LEN_MIN + (r >> 8) % 3000;
}

static void guest_send(unsigned count)
{
    static uint8_t bytes[32][FRAME_LEN_MAX];
    struct iovec iov[32];
    unsigned taken;
    struct frame frame[32] = {0};

    count = MIN(count, 32u);
    for (unsigned i = 0; i < count; i++) {
        uint32_t name = bed.next_sent + i;

        memset(bytes[i], (int)(name % 251), sent_len(name));
        iov[i] = (struct iovec){bytes[i], sent_len(name)};
        frame[i] = (struct frame){.iov = &iov[i], .iov_count = 1, .len = sent_len(name)};
    }
    taken = bed.endpoint->ops->send(bed.queue, frame, count);
    bed.next_sent += taken;
    if (count != 0)
        bed.held_back = taken < count;
    for (unsigned i = 0; i < count; i++)
        memset(bytes[i], 255, frame[i].len); /* it is the guest's memory */
}

static void queue_reopen(void)
{
    struct error err;

    bed.endpoint->ops->queue_close(bed.queue);
    FUZZ_CHECK(bed.endpoint->ops->queue_open(bed.endpoint, 0, &bed.rx, &bed.queue, &err) == 0, "%s",
               err.text);
}

/* ---- the peer --------------------------------------------------------------------------- */

static void peer_write(const uint8_t *bytes, size_t len)
{
    ssize_t n;

    len = MIN(len, sizeof(bed.written) - bed.written_len);
    if (len == 0)
        return;
    if (bytes != NULL)
        memcpy(bed.written + bed.written_len, bytes, len);
    else
        memset(bed.written + bed.written_len, 0, len);
    n = send(bed.peer, bed.written + bed.written_len, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    bed.written_len += n > 0 ? (size_t)n : 0;
}

static void check_sent(uint32_t len)
{
    FUZZ_CHECK(len == sent_len(bed.next_read), "frame %u has %u bytes", bed.next_read, len);
    for (uint32_t i = 0; i < len; i++)
        FUZZ_CHECK(bed.read[4 + i] == bed.next_read % 251, "frame %u at %u", bed.next_read, i);
    bed.next_read++;
}

/* The length first, then what it says. 0: nothing more is there. */
static int peer_read_piece(size_t most)
{
    size_t wanted = bed.read_len < 4 ? 4 : 4 + length_at(bed.read);
    ssize_t n;

    FUZZ_CHECK(wanted <= sizeof(bed.read), "a length of %zu", wanted);
    n = recv(bed.peer, bed.read + bed.read_len, MIN(wanted - bed.read_len, most), MSG_DONTWAIT);
    if (n <= 0)
        return 0;
    bed.read_len += (size_t)n;
    if (bed.read_len < 4 || bed.read_len < 4 + length_at(bed.read))
        return 1;
    check_sent((uint32_t)bed.read_len - 4);
    bed.read_len = 0;
    return 1;
}

/* ---- the whole -------------------------------------------------------------------------- */

static void bed_open(unsigned room)
{
    struct endpoint_spec spec;
    struct error err = {""};
    char text[64];
    int space = 1, pair[2];

    memset(&bed, 0, sizeof(bed));
    bed.rx.ops = &guest_ops;
    bed.room = room;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &space, sizeof(space));
    snprintf(text, sizeof(text), "stream:fd=%d", pair[0]);
    FUZZ_CHECK(endpoint_spec_parse(&spec, text, &err) == 0 &&
                   endpoint_open(&spec, &bed.endpoint, &err) == 0 &&
                   bed.endpoint->ops->queue_open(bed.endpoint, 0, &bed.rx, &bed.queue, &err) == 0,
               "%s", err.text);
    endpoint_spec_clear(&spec);
    close(pair[0]);
    bed.peer = pair[1];
}

static void act(struct fuzz_input *input)
{
    uint8_t action = fuzz_u8(input);
    uint8_t count = fuzz_u8(input);
    const uint8_t *bytes;
    size_t len;

    switch (action % ACTION_COUNT) {
    case ACTION_WRITE:
        len = fuzz_bytes(input, count, &bytes);
        peer_write(bytes, len);
        break;
    case ACTION_ZEROES:
        peer_write(NULL, count * 1000u);
        break;
    case ACTION_RECEIVE:
        bed.endpoint->ops->receive(bed.queue, count);
        break;
    case ACTION_ROOM:
        bed.room = count;
        break;
    case ACTION_SEND:
        guest_send(count);
        break;
    case ACTION_READ:
        for (unsigned i = 0; i < count && peer_read_piece(count * 100u); i++)
            continue;
        break;
    default:
        /* Else a frame that is half out would come again, from another ring, and be sent twice. */
        if (!bed.held_back)
            queue_reopen();
    }
}

/* 1: the next thing that the peer wrote is an impossible length. */
static int next_is_impossible(void)
{
    const uint8_t *at = bed.written + bed.delivered_len;

    return bed.written_len - bed.delivered_len >= 4 &&
           (length_at(at) < FRAME_LEN_MIN || length_at(at) > FRAME_LEN_MAX);
}

static int next_is_whole(void)
{
    const uint8_t *at = bed.written + bed.delivered_len;

    return bed.written_len - bed.delivered_len >= 4 && !next_is_impossible() &&
           bed.written_len - bed.delivered_len - 4 >= length_at(at);
}

/* With room for all of it, all of it comes. */
static void bed_finish(void)
{
    bed.room = STREAM_MAX;
    for (unsigned i = 0; i < 2 * STREAM_MAX / 18; i++) {
        if (bed.endpoint->ops->receive(bed.queue, 64) == 0)
            break;
    }
    FUZZ_CHECK(!next_is_whole(), "a frame did not come");
    bed.endpoint->ops->events(bed.endpoint);
    FUZZ_CHECK(bed.endpoint->ops->link_up(bed.endpoint) == !next_is_impossible(),
               "the connection is in the wrong state");
    while (peer_read_piece(FRAME_LEN_MAX))
        continue;
    bed.endpoint->ops->queue_close(bed.queue);
    endpoint_close(bed.endpoint);
    close(bed.peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};

    bed_open(fuzz_u8(&input));
    for (unsigned i = 0; i < ACTIONS_MAX && input.left != 0; i++)
        act(&input);
    bed_finish();
    return 0;
}
