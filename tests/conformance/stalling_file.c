/* SPDX-License-Identifier: MIT */
#include "stalling_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum {
    FILE_NODE = 2,
    FILE_LEN = 1 << 20,
    REQUEST_LEN = 1 << 16,
};

static struct fuse_attr attr_of(uint64_t node)
{
    struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};

    attr.mode = node == FUSE_ROOT_ID ? S_IFDIR | 0777 : S_IFREG | 0666;
    attr.size = node == FUSE_ROOT_ID ? 0 : FILE_LEN;
    return attr;
}

static void answer(int device, uint64_t unique, int error, const void *body, size_t len)
{
    char bytes[512];
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + len), .error = error, .unique = unique};

    memcpy(bytes, &header, sizeof(header));
    if (len != 0)
        memcpy(bytes + sizeof(header), body, len);
    if (write(device, bytes, header.len) < 0 && errno != ENOENT)
        _exit(1);
}

/* What it takes to open the file. */
static void serve_opening(int device, const struct fuse_in_header *in)
{
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
    struct fuse_entry_out entry = {
        .nodeid = FILE_NODE, .entry_valid = 1000, .attr_valid = 0, .attr = attr_of(FILE_NODE)};
    struct fuse_attr_out attr = {.attr = attr_of(in->nodeid)};
    struct fuse_open_out open = {.fh = 1};

    if (in->opcode == FUSE_INIT)
        answer(device, in->unique, 0, &init, sizeof(init));
    else if (in->opcode == FUSE_LOOKUP)
        answer(device, in->unique, 0, &entry, sizeof(entry));
    else if (in->opcode == FUSE_GETATTR)
        answer(device, in->unique, 0, &attr, sizeof(attr));
    else if (in->opcode == FUSE_OPEN)
        answer(device, in->unique, 0, &open, sizeof(open));
    else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET)
        answer(device, in->unique, -ENOSYS, NULL, 0);
}

/* From when the test has the file: nothing but its end is answered. */
static void serve(int device, int end_fd)
{
    static _Alignas(8) char request[REQUEST_LEN];
    const struct fuse_in_header *in = (const struct fuse_in_header *)request;
    struct pollfd wait[2] = {{.fd = device, .events = POLLIN}, {.fd = end_fd, .events = POLLIN}};
    int opened = 0;
    char byte;

    for (;;) {
        if (poll(wait, 2, -1) < 0)
            _exit(1);
        if (wait[1].revents != 0 && recv(end_fd, &byte, 1, 0) <= 0)
            _exit(0);
        opened |= wait[1].revents != 0;
        if (wait[0].revents == 0 || read(device, request, sizeof(request)) < 0)
            continue;
        if (!opened)
            serve_opening(device, in);
        else if (in->opcode == FUSE_FLUSH || in->opcode == FUSE_RELEASE)
            answer(device, in->unique, 0, NULL, 0);
    }
}

static void fd_pass(int to, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    char byte = 'f';
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    if (sendmsg(to, &message, 0) < 0)
        _exit(1);
}

static int fd_receive(int from)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    int fd = -1;

    if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message) != NULL)
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

/* In a mount namespace of its own: nothing is left behind. Never returns. */
static void server_run(int end_fd)
{
    char place[] = "/tmp/vionic-fuse-XXXXXX", path[64], options[128];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    unsigned uid = getuid(), gid = getgid();

    if (device < 0 || mkdtemp(place) == NULL)
        _exit(0);
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        _exit(0);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, uid,
             gid);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("vionic-test", place, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        rmdir(place);
        _exit(0);
    }
    snprintf(path, sizeof(path), "%s/file", place);
    if (fork() == 0) {
        int fd = open(path, O_RDWR | O_CLOEXEC);

        umount2(place, MNT_DETACH);
        rmdir(place);
        fd_pass(end_fd, fd);
        _exit(0);
    }
    serve(device, end_fd);
}

int stalling_file_open(struct stalling_file *ret_file)
{
    int pair[2];

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no socket pair");
    ret_file->server = fork();
    if (ret_file->server == 0) {
        close(pair[0]);
        server_run(pair[1]);
    }
    close(pair[1]);
    ret_file->end_fd = pair[0];
    ret_file->fd = fd_receive(pair[0]);
    if (ret_file->fd < 0) {
        stalling_file_close(ret_file);
        return 0;
    }
    check(send(pair[0], "o", 1, 0) == 1, "the file system has gone");
    return 1;
}

void stalling_file_close(struct stalling_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    close(file->end_fd);
    waitpid(file->server, NULL, 0);
}
