/* SPDX-License-Identifier: MIT */
/*
 * A card that another process gives (api/handover.h): its records, changed by the input and sealed
 * again, with the files that came along. The giver is a real card with a front-end at work; the
 * taker is another library instance in this process.
 *
 * Whatever comes: it is refused with a sentence, or the card can be kept, driven and removed; every
 * file that came along is closed afterwards.
 */
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/handover.h"
#include "base/checked.h"
#include "base/log.h"
#include "base/records.h"
#include "fuzz.h"
#include "nic/saved_state.h"
#include "scratch_folder.h"
#include "vionic.h"

enum {
    MEMORY_LEN = 0x20000,
    RING_SIZE = 64,
    TURNS = 4,

    /* Of the input's first byte. */
    CHOOSE_KEEP = 1,
    CHOOSE_RECORDS = 2, /* in place of changes: the records are the input's */
    CHOOSE_RAW = 4,     /* the header too */
    CHOOSE_INNER = 8,   /* what the endpoint gave is sealed again as well */

    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_PROTOCOL_FEATURES = 16,
    SET_VRING_ENABLE = 18,
    SET_INFLIGHT_FD = 32,
};

#define UVA               0x7f0000000000ull
#define FEATURES          (1ull << 32 | 1ull << 30) /* VERSION_1, PROTOCOL_FEATURES */
#define PROTOCOL_FEATURES (1ull << 0 | 1ull << 12)  /* MQ, INFLIGHT_SHMFD */

static struct {
    struct vionic *giver, *taker;
    struct handover_card card; /* as the giver gave it */
    char name[8];              /* of each that is taken */
    size_t inner, inner_len;   /* where in it what the endpoint gave lies */
    int front_end, memory_fd;
    uint8_t *memory;
    char socket[64], endpoint[96];
    struct vionic_nic_config config;
} bed;

/* ---- the giver ------------------------------------------------------------------------------ */

static void say(uint32_t request, const void *payload, uint32_t len, int fd)
{
    uint32_t header[3] = {request, 1, len};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov[2] = {{header, sizeof(header)}, {(void *)payload, len}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};

    if (fd >= 0) {
        struct cmsghdr *rights;

        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
    }
    FUZZ_CHECK(sendmsg(bed.front_end, &message, MSG_NOSIGNAL) > 0, "the giver does not listen");
    vionic_dispatch(bed.giver, 0);
}

static void say_state(uint32_t request, uint32_t index, uint32_t num)
{
    say(request, (uint32_t[]){index, num}, 8, -1);
}

static void ring_start(uint32_t index)
{
    uint64_t at = UVA + 0x4000ull * index;
    uint64_t address[5] = {index, at, at + 0x2000, at + 0x1000, 0};
    int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), call = eventfd(0, EFD_CLOEXEC);

    say_state(SET_VRING_NUM, index, RING_SIZE);
    say_state(SET_VRING_BASE, index, 0);
    say(SET_VRING_ADDR, address, sizeof(address), -1);
    say(SET_VRING_CALL, (uint64_t[]){index}, 8, call);
    say(SET_VRING_KICK, (uint64_t[]){index}, 8, kick);
    say_state(SET_VRING_ENABLE, index, 1);
    close(kick);
    close(call);
}

static void front_end_start(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint64_t table[5] = {1, 0, MEMORY_LEN, UVA, 0};
    uint64_t area[3] = {0x4000, 0x18000, 2 | RING_SIZE << 16};
    uint64_t word = FEATURES;

    bed.memory_fd = memfd_create("guest", MFD_CLOEXEC);
    FUZZ_CHECK(ftruncate(bed.memory_fd, MEMORY_LEN) == 0, "no memory");
    bed.memory = mmap(NULL, MEMORY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, bed.memory_fd, 0);
    bed.front_end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, bed.socket);
    FUZZ_CHECK(bed.memory != MAP_FAILED &&
                   connect(bed.front_end, (struct sockaddr *)&address, sizeof(address)) == 0,
               "no session");
    vionic_dispatch(bed.giver, 0);
    say(SET_OWNER, NULL, 0, -1);
    say(SET_FEATURES, &word, 8, -1);
    word = PROTOCOL_FEATURES;
    say(SET_PROTOCOL_FEATURES, &word, 8, -1);
    say(SET_MEM_TABLE, table, sizeof(table), bed.memory_fd);
    say(SET_INFLIGHT_FD, area, sizeof(area), bed.memory_fd);
    ring_start(0);
    ring_start(1);
}

static void inner_find(void)
{
    struct records records;
    struct record_reader reader;
    struct error err;

    FUZZ_CHECK(records_parse_long(&records, bed.card.block, bed.card.len, SAVED_HANDOVER_TAGS_KNOWN,
                                  &err) == 0 &&
                   records_find(&records, SAVED_ENDPOINT, &reader),
               "no endpoint was given");
    record_skip(&reader, record_take_u8(&reader));
    bed.inner = (size_t)(reader.at - bed.card.block);
    bed.inner_len = reader.left;
}

static void library_stop(void)
{
    handover_free_given(&bed.card);
    vionic_free(bed.taker);
    vionic_free(bed.giver);
}

static void library_start(void)
{
    const struct vionic_config settings = {.size = sizeof(settings),
                                           .threads = VIONIC_THREADS_NONE};
    struct vionic_error reason;
    struct error err;

    if (bed.giver != NULL)
        return;
    signal(SIGPIPE, SIG_IGN); /* as daemon/service.c does */
    log_set_level(LOG_LEVEL_ERROR);
    strcpy(bed.name, "fuzz");
    snprintf(bed.socket, sizeof(bed.socket), "%s/nic", scratch_folder());
    snprintf(bed.endpoint, sizeof(bed.endpoint), "stream:mode=server,path=%s/wire",
             scratch_folder());
    bed.config = (struct vionic_nic_config){.size = sizeof(bed.config),
                                            .name = "fuzz",
                                            .mac = {2, 0, 0, 0, 0, 1},
                                            .socket_path = bed.socket,
                                            .queue_size = 256,
                                            .endpoint = bed.endpoint};
    FUZZ_CHECK(vionic_create(&settings, &bed.giver, &reason) == 0 &&
                   vionic_create(&settings, &bed.taker, &reason) == 0 &&
                   vionic_add_nic(bed.giver, &bed.config, NULL, &reason) == 0,
               "%s", reason.text);
    front_end_start();
    handover_hold(bed.giver);
    FUZZ_CHECK(handover_give(vionic_find_nic(bed.giver, "fuzz"), &bed.card, &err) == 0, "%s",
               err.text);
    inner_find();
    atexit(library_stop);
}

/* ---- what is taken -------------------------------------------------------------------------- */

static void put(uint8_t *at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void seal(uint8_t *block, size_t len)
{
    put(block + 12, len, 8);
    put(block + RECORDS_CRC_OFFSET, records_crc(block, len), 4);
}

static void block_make(struct fuzz_input *input, unsigned choice, struct handover_card *ret_card)
{
    size_t header = choice & CHOOSE_RAW ? 0 : RECORDS_HEADER_LEN;
    size_t len = choice & CHOOSE_RECORDS ? header + input->left : bed.card.len;
    uint8_t *block = malloc(len + 1);

    FUZZ_CHECK(block != NULL, "no memory");
    memcpy(block, bed.card.block, MIN(len, bed.card.len));
    if (choice & CHOOSE_RECORDS) {
        memcpy(block + header, input->at, input->left);
    } else {
        while (input->left != 0) {
            size_t at = fuzz_u16(input) % len;

            block[at] = fuzz_u8(input);
        }
        if (choice & CHOOSE_INNER)
            seal(block + bed.inner, bed.inner_len);
    }
    if (!(choice & CHOOSE_RAW))
        seal(block, len);
    *ret_card = (struct handover_card){.name = bed.name, .block = block, .len = len};
    for (unsigned i = 0; i < bed.card.fds.count; i++)
        fd_list_add(&ret_card->fds, dup(bed.card.fds.fd[i]));
}

/* Kept and driven, or given up. */
static void card_use(unsigned choice)
{
    struct vionic_nic *nic = vionic_find_nic(bed.taker, "fuzz");

    FUZZ_CHECK(nic != NULL, "it was taken and is not there");
    if (choice & CHOOSE_KEEP) {
        handover_keep(nic);
        handover_release(bed.taker);
        vionic_poll(bed.taker, TURNS);
    }
    vionic_remove_nic(nic);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct handover_card card;
    struct error err = {{0}};
    unsigned choice, files;
    int result;

    library_start();
    memset(bed.memory, 0, MEMORY_LEN);
    files = fuzz_open_files();
    choice = fuzz_u8(&input);
    block_make(&input, choice, &card);
    handover_hold(bed.taker);
    result = handover_take(bed.taker, &bed.config, &card, &err);
    FUZZ_CHECK(result == 0 || (result < 0 && err.text[0] != '\0'), "it answers %d", result);
    FUZZ_CHECK(result == 0 || size > 1 || choice & CHOOSE_RECORDS, "as it is it is refused: %s",
               err.text);
    if (result == 0)
        card_use(choice);
    handover_release(bed.taker);
    free(card.block);
    fd_list_close(&card.fds);
    FUZZ_CHECK(fuzz_open_files() == files, "%u files are open, %u were", fuzz_open_files(), files);
    return 0;
}
