/* SPDX-License-Identifier: MIT */
#include "clockwork.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void sleep_ms(unsigned ms)
{
    struct timespec delay = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&delay, NULL);
}

int wait_readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, timeout_ms) == 1;
}

uint64_t wait_eventfd(int fd, int timeout_ms)
{
    uint64_t count;

    if (!wait_readable(fd, timeout_ms) || read(fd, &count, sizeof(count)) != sizeof(count))
        return 0;
    return count;
}
