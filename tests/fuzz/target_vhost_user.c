/* SPDX-License-Identifier: MIT */
/*
 * The vhost-user socket: messages of any bytes with files of any kind, to the real back-end with
 * real workers. The front-end is in this process and shares its memory file, so that rings really
 * run.
 *
 * After each input the socket serves the next front-end, and when the NIC is gone so is every file
 * and every mapping that came with a message.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "fuzz.h"
#include "scratch_folder.h"
#include "vionic.h"

enum {
    OPS_MAX = 96,
    MEMORY_LEN = 0x20000,
    WRITE_MAX = 64,
    PAYLOAD_MAX = 4096,
    FDS_MAX = 10, /* more than the protocol allows */
    TURNS = 64,
    SETTLE_MS = 1,
    SETTLE_MAX = 6,
    LEFT_ALONE_MS = 100,

    GET_FEATURES = 1,
    VERSION = 1,
    NEED_REPLY = 8,
};

enum file_kind {
    FILE_MEMORY,
    FILE_KICK,
    FILE_CALL,
    FILE_PIPE_READ,
    FILE_PIPE_WRITE,
    FILE_SOCKET,
    FILE_FOLDER,
    FILE_NULL,
    FILE_KINDS,
};

struct wire_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
};

struct session {
    struct fuzz_input input;
    int fd; /* the front-end's end */
    int file[FILE_KINDS];
    int socket_peer;
    uint8_t *memory; /* what FILE_MEMORY holds */
    unsigned settled;
};

static struct vionic *vionic;
static char socket_path[64];

static void library_stop(void)
{
    vionic_free(vionic);
}

static void library_start(void)
{
    struct vionic_config config = {.size = sizeof(config), .workers = 1};
    struct vionic_error err;

    if (vionic != NULL)
        return;
    signal(SIGPIPE, SIG_IGN); /* as daemon/service.c does */
    log_set_level(LOG_LEVEL_ERROR);
    snprintf(socket_path, sizeof(socket_path), "%s/nic", scratch_folder());
    FUZZ_CHECK(vionic_create(&config, &vionic, &err) == 0, "%s", err.text);
    atexit(library_stop);
}

/* ---- the front-end -------------------------------------------------------------------------- */

static void session_connect(struct session *session)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int connected = -1;

    session->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, socket_path);
    for (unsigned i = 0; i < TURNS && connected < 0; i++) {
        connected = connect(session->fd, (struct sockaddr *)&address, sizeof(address));
        /* Many that came before it may wait while the NIC has used up its share. */
        vionic_dispatch(vionic, connected < 0 ? LEFT_ALONE_MS : 0);
    }
    FUZZ_CHECK(connected == 0, "the NIC's socket is gone");
}

static void session_open(struct session *session)
{
    int pair[2], ends[2];

    session->file[FILE_MEMORY] = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    session->file[FILE_KICK] = eventfd(0, EFD_CLOEXEC);
    session->file[FILE_CALL] = eventfd(0, EFD_CLOEXEC);
    session->file[FILE_FOLDER] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    session->file[FILE_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
    FUZZ_CHECK(pipe2(ends, O_CLOEXEC) == 0 &&
                   socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0,
               "no files");
    session->file[FILE_PIPE_READ] = ends[0];
    session->file[FILE_PIPE_WRITE] = ends[1];
    session->file[FILE_SOCKET] = pair[0];
    session->socket_peer = pair[1];
    FUZZ_CHECK(ftruncate(session->file[FILE_MEMORY], MEMORY_LEN) == 0, "no memory");
    session->memory =
        mmap(NULL, MEMORY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, session->file[FILE_MEMORY], 0);
    FUZZ_CHECK(session->memory != MAP_FAILED, "no memory");
    session_connect(session);
}

static void session_close(struct session *session)
{
    munmap(session->memory, MEMORY_LEN);
    for (unsigned i = 0; i < FILE_KINDS; i++)
        close(session->file[i]);
    close(session->socket_peer);
}

/* Whatever the back-end said. */
static void answers_forget(struct session *session)
{
    uint8_t bytes[4096];

    while (recv(session->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        continue;
}

static void send_with_files(struct session *session, struct iovec iov[2], const int *fd,
                            unsigned fd_count)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

    if (fd_count != 0) {
        struct cmsghdr *header;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        header = CMSG_FIRSTHDR(&msg);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fd, fd_count * sizeof(int));
    }
    /* A closed or full socket is the back-end's right. */
    if (sendmsg(session->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    vionic_dispatch(vionic, 0);
    answers_forget(session);
}

/* A byte each for request, flags and files, two for the length; the payload is padded to it. */
static void op_message(struct session *session)
{
    struct fuzz_input *input = &session->input;
    uint8_t payload[PAYLOAD_MAX] = {0};
    struct wire_header header = {.request = fuzz_u8(input)};
    uint8_t flags = fuzz_u8(input);
    uint8_t files = fuzz_u8(input);
    unsigned fd_count = MIN(files & 0xfu, (unsigned)FDS_MAX);
    const uint8_t *bytes;
    size_t room, count;
    int fd[FDS_MAX];
    struct iovec iov[2] = {{&header, sizeof(header)}, {payload, 0}};

    header.flags = flags & 0x80 ? flags : VERSION | (flags & 1 ? NEED_REPLY : 0);
    header.size = fuzz_u16(input);
    for (unsigned i = 0; i < fd_count; i++)
        fd[i] = session->file[files & 0x80 ? fuzz_u8(input) % FILE_KINDS : files >> 4 & 7];
    room = MIN(header.size, (uint32_t)PAYLOAD_MAX);
    count = fuzz_bytes(input, room, &bytes);
    if (count != 0)
        memcpy(payload, bytes, count);
    iov[1].iov_len = flags & 0x40 ? count : room; /* or cut short */
    send_with_files(session, iov, fd, fd_count);
}

static void op_raw(struct session *session)
{
    const uint8_t *bytes;
    uint8_t len = fuzz_u8(&session->input);
    size_t count = fuzz_bytes(&session->input, len, &bytes);
    struct iovec iov[2] = {{(void *)bytes, count}, {(void *)bytes, 0}};

    if (count != 0)
        send_with_files(session, iov, NULL, 0);
}

static void op_kick(struct session *session)
{
    uint64_t one = 1;

    if (eventfd_write(session->file[FILE_KICK], one) < 0 ||
        write(session->file[FILE_PIPE_WRITE], &one, 1) < 0)
        return;
}

/* Lets the worker work: until it interrupts, or a moment long. */
static void op_settle(struct session *session)
{
    struct pollfd call = {.fd = session->file[FILE_CALL], .events = POLLIN};
    eventfd_t count;

    if (session->settled++ < SETTLE_MAX && poll(&call, 1, SETTLE_MS) == 1)
        FUZZ_CHECK(eventfd_read(call.fd, &count) == 0, "no interrupt to take");
    vionic_dispatch(vionic, 0); /* the control queue and broken rings are its business */
}

static void op_write(struct session *session)
{
    uint32_t at = fuzz_u32(&session->input) % MEMORY_LEN;
    uint8_t len = fuzz_u8(&session->input) % (WRITE_MAX + 1);
    const uint8_t *bytes;
    size_t count = fuzz_bytes(&session->input, MIN((uint32_t)len, MEMORY_LEN - at), &bytes);

    if (count != 0)
        memcpy(session->memory + at, bytes, count);
}

/* What comes out of FILE_SOCKET, device state for one; nothing at all is its end. */
static void op_stream(struct session *session)
{
    const uint8_t *bytes;
    uint8_t len = fuzz_u8(&session->input);
    size_t count = fuzz_bytes(&session->input, len, &bytes);

    if (count == 0)
        shutdown(session->socket_peer, SHUT_WR);
    else if (send(session->socket_peer, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
    vionic_dispatch(vionic, 0);
}

static void visit_enter(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void visit_leave(void *context)
{
    (void)context;
}

static void visit_text(void *context, const char *name, const char *value)
{
    size_t *bytes = context;

    *bytes += strlen(name) + strlen(value);
}

static void visit_number(void *context, const char *name, uint64_t value, int style)
{
    size_t *bytes = context;

    (void)value;
    (void)style;
    *bytes += strlen(name);
}

static void visit_flag(void *context, const char *name, int value)
{
    visit_number(context, name, (uint64_t)value, 0);
}

/* Looks at everything, and pauses the workers on the way: a turn is over then. */
static void op_inspect(struct session *session)
{
    size_t bytes = 0;
    struct vionic_visitor visitor = {sizeof(visitor), &bytes,       visit_enter, visit_leave,
                                     visit_text,      visit_number, visit_flag};

    (void)session;
    vionic_inspect(vionic, &visitor);
    FUZZ_CHECK(bytes != 0, "nothing to see");
}

static void op_reconnect(struct session *session)
{
    close(session->fd);
    vionic_dispatch(vionic, 0);
    session_connect(session);
}

static void (*const operations[])(struct session *) = {
    op_message, op_message, op_message,   op_write,  op_kick,
    op_inspect, op_raw,     op_reconnect, op_settle, op_stream,
};

/* ---- what has to hold afterwards ------------------------------------------------------------ */

/* The same socket, a front-end that keeps the protocol. */
static void check_next_session(struct session *session)
{
    struct wire_header request = {GET_FEATURES, VERSION, 0};
    struct {
        struct wire_header header;
        uint64_t features;
    } __attribute__((packed)) answer;
    ssize_t len = -1;

    op_reconnect(session);
    FUZZ_CHECK(send(session->fd, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request),
               "the next front-end can't speak");
    for (unsigned i = 0; i < TURNS && len < 0; i++) {
        vionic_dispatch(vionic, LEFT_ALONE_MS); /* the one before may have used up its share */
        len = recv(session->fd, &answer, sizeof(answer), MSG_DONTWAIT);
    }
    FUZZ_CHECK(len == (ssize_t)sizeof(answer) && answer.header.request == GET_FEATURES,
               "the next front-end gets no answer");
    close(session->fd);
}

static void nic_add(uint8_t what)
{
    struct vionic_nic_config nic = {.size = sizeof(nic),
                                    .name = "fuzz",
                                    .socket_path = socket_path,
                                    .queue_pairs = 1 + (what & 1),
                                    .queue_size = what & 2 ? 256 : 1024,
                                    .mtu = what & 4 ? 1500 : 0,
                                    .offers = (what & 16 ? VIONIC_OFFER_IN_BAND : 0) |
                                              (what & 32 ? VIONIC_OFFER_IOMMU : 0),
                                    .endpoint = what & 8 ? "null" : "loopback"};
    struct vionic_error err;

    FUZZ_CHECK(vionic_add_nic(vionic, &nic, NULL, &err) == 0, "%s", err.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session session = {.input = {data, size}};
    unsigned files;
    int guest;

    library_start();
    files = fuzz_open_files();
    nic_add(fuzz_u8(&session.input));
    session_open(&session);
    for (unsigned i = 0; i < OPS_MAX && session.input.left != 0; i++)
        operations[fuzz_u8(&session.input) % ARRAY_COUNT(operations)](&session);
    check_next_session(&session);
    guest = dup(session.file[FILE_MEMORY]);
    session_close(&session);
    vionic_remove_nic(vionic_find_nic(vionic, "fuzz"));
    /* The kernel refuses this seal as long as anybody maps the file. */
    FUZZ_CHECK(fcntl(guest, F_ADD_SEALS, F_SEAL_WRITE) == 0, "guest memory stays mapped");
    close(guest);
    FUZZ_CHECK(fuzz_open_files() == files, "%u files are open, %u were", fuzz_open_files(), files);
    return 0;
}
