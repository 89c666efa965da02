/* SPDX-License-Identifier: MIT */
/*
 * readv and writev for a loop that makes one a frame: no function of the C library between the loop
 * and the kernel. On CPUs whose kernel guards its returns against speculation (AMD, SRSO), a
 * function that makes a system call and then returns spoils the prediction of returns: the kernel's
 * own ones in the next call, some 40 cycles each, which is up to a third of a frame's way into a
 * tap. So the loop should call little else, too.
 */
#pragma once

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#if defined(__x86_64__) && defined(__LP64__)

static inline long fd_frames_call(long number, int fd, const struct iovec *iov, int count)
{
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"((long)fd), "S"(iov), "d"((long)count)
                     : "rcx", "r11", "memory");
    return result;
}

/* Bytes, or -errno. */
static inline ssize_t fd_frames_read(int fd, const struct iovec *iov, int count)
{
    return fd_frames_call(SYS_readv, fd, iov, count);
}

static inline ssize_t fd_frames_write(int fd, const struct iovec *iov, int count)
{
    return fd_frames_call(SYS_writev, fd, iov, count);
}

#else

static inline ssize_t fd_frames_read(int fd, const struct iovec *iov, int count)
{
    ssize_t result = readv(fd, iov, count);

    return result < 0 ? -errno : result;
}

static inline ssize_t fd_frames_write(int fd, const struct iovec *iov, int count)
{
    ssize_t result = writev(fd, iov, count);

    return result < 0 ? -errno : result;
}

#endif
