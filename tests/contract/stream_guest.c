/* SPDX-License-Identifier: MIT */
#include "stream_guest.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

void stream_open(struct guest *guest, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    guest_open(guest, text);
    guest->reads_ahead = 1;
}

int stream_open_pair(struct guest *guest)
{
    int pair[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                       errno);
    stream_open(guest, "stream:fd=%d", pair[0]);
    close(pair[0]);
    stream_settle(guest);
    return pair[1];
}

/* ---- events ------------------------------------------------------------------------------------
 */

static int readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) > 0;
}

uint32_t stream_settle(struct guest *guest)
{
    const struct endpoint_ops *ops = guest->endpoint->ops;
    uint32_t all = 0;

    while (readable(ops->event_fd(guest->endpoint), 0)) {
        uint32_t bits = ops->events(guest->endpoint);

        all |= bits;
        if ((bits & ENDPOINT_EVENT_RESTART) != 0 && guest->queue != NULL) {
            guest_queue_close(guest);
            guest_queue_open(guest, 0);
        }
    }
    return all;
}

void stream_wait_link(struct guest *guest, int up)
{
    const struct endpoint_ops *ops = guest->endpoint->ops;
    uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;

    while (ops->link_up(guest->endpoint) != up) {
        check(clock_now_ns() < end, "the link did not go %s", up ? "up" : "down");
        /* Its end is found by who reads. */
        if (guest->queue != NULL)
            guest_receive(guest, 64);
        readable(ops->event_fd(guest->endpoint), 10);
        stream_settle(guest);
    }
    stream_settle(guest);
}

void stream_expect_frames(struct guest *guest, unsigned count)
{
    uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;

    while (guest->frame_count < count) {
        check(clock_now_ns() < end, "%u of %u frames came", guest->frame_count, count);
        stream_settle(guest);
        if (guest_wait(guest, 10))
            guest_receive(guest, 64);
    }
}

void stream_send(struct guest *guest, uint32_t len, unsigned seed)
{
    struct test_frame frame;

    test_frame_make(&frame, len, 2, seed);
    assert_int_equal(guest_send(guest, &frame.frame, 1), 1);
    test_frame_free(&frame);
}

/* ---- the peer ----------------------------------------------------------------------------------
 */

static char folder[] = "/tmp/vionic-stream-XXXXXX";

static void folder_remove(void)
{
    rmdir(folder);
}

const char *stream_path(void)
{
    static char path[64];

    if (*path == '\0') {
        assert_non_null(mkdtemp(folder));
        atexit(folder_remove);
        snprintf(path, sizeof(path), "%s/s", folder);
    }
    return path;
}

static int unix_socket(const char *path, struct sockaddr_un *ret_address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_return_code(fd, errno);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s", path);
    return fd;
}

int stream_listen(const char *path)
{
    struct sockaddr_un address;
    int fd = unix_socket(path, &address);

    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    assert_return_code(listen(fd, 4), errno);
    return fd;
}

int stream_accept(struct guest *guest, int listener)
{
    uint64_t end = clock_now_ns() + STREAM_WAIT_MS * CLOCK_MILLISECOND_NS;

    while (!readable(listener, 10)) {
        check(clock_now_ns() < end, "the endpoint does not connect");
        stream_settle(guest);
    }
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int stream_connect(const char *path)
{
    struct sockaddr_un address;
    int fd = unix_socket(path, &address);

    assert_return_code(connect(fd, (struct sockaddr *)&address, sizeof(address)), errno);
    return fd;
}

uint32_t stream_put(uint8_t *bytes, uint32_t len, unsigned seed)
{
    bytes[0] = (uint8_t)(len >> 24);
    bytes[1] = (uint8_t)(len >> 16);
    bytes[2] = (uint8_t)(len >> 8);
    bytes[3] = (uint8_t)len;
    test_frame_fill(bytes + STREAM_PREFIX, len, seed);
    return STREAM_PREFIX + len;
}

void stream_write(int fd, const void *bytes, size_t len)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};

    for (size_t done = 0; done < len;) {
        ssize_t n;

        check(poll(&wait, 1, STREAM_WAIT_MS) > 0, "the socket stays full");
        n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        check(n > 0 || errno == EAGAIN, "write: %s", strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
}

void stream_read(int fd, void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n;

        check(readable(fd, STREAM_WAIT_MS), "%zu of %zu bytes came", done, len);
        n = recv(fd, (char *)bytes + done, len - done, 0);
        check(n > 0, "the connection ended after %zu of %zu bytes", done, len);
        done += (size_t)n;
    }
}

void stream_expect(int fd, uint32_t len, unsigned seed)
{
    uint8_t *bytes = malloc(STREAM_PREFIX + len), *expected = malloc(STREAM_PREFIX + len);

    stream_read(fd, bytes, stream_put(expected, len, seed));
    assert_memory_equal(bytes, expected, STREAM_PREFIX + len);
    free(bytes);
    free(expected);
}

void stream_expect_end(int fd)
{
    uint8_t byte;

    check(readable(fd, STREAM_WAIT_MS), "the connection goes on");
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    assert_true(errno != EAGAIN);
    close(fd);
}
