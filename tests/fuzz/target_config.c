/* SPDX-License-Identifier: MIT */
/*
 * What an operator may write: the file and the texts of --nic, up to the endpoint's spec. The
 * endpoint itself is not opened: it would make interfaces and sockets.
 *
 *     a byte (1: a file comes first, with its length in two bytes), then texts of --nic, each ended
 * by a zero
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"
#include "endpoint/spec.h"
#include "fuzz.h"

enum {
    TEXT_MAX = 2048,
    TEXTS_MAX = 4,
};

/* A sentence on one line of a terminal, whatever the operator wrote. */
static void check_refusal(const struct error *err)
{
    size_t len = strnlen(err->text, sizeof(err->text));

    FUZZ_CHECK(len != 0 && len < sizeof(err->text), "a refusal without a word");
    for (size_t i = 0; i < len; i++)
        FUZZ_CHECK((unsigned char)err->text[i] >= ' ' && err->text[i] != 0x7f,
                   "a control character in: %s", err->text);
}

static int load_file(struct config *config, const uint8_t *bytes, size_t len, struct error *err)
{
    char path[64];
    int fd = memfd_create("config", MFD_CLOEXEC);
    int result;

    FUZZ_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len, "no memory file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    result = config_load_file(config, path, err);
    close(fd);
    return result;
}

static int add_nics(struct config *config, struct fuzz_input *input, struct error *err)
{
    char text[TEXT_MAX + 1];
    const uint8_t *bytes;
    int result = 0;

    for (unsigned i = 0; i < TEXTS_MAX && input->left != 0 && result == 0; i++) {
        size_t len = strnlen((const char *)input->at, input->left);

        len = fuzz_bytes(input, len < TEXT_MAX ? len : TEXT_MAX, &bytes);
        memcpy(text, bytes, len);
        text[len] = '\0';
        fuzz_u8(input); /* the zero */
        /* What begins with + is a --switch. */
        result = text[0] == '+' ? config_add_switch(config, text + 1, err)
                                : config_add_nic(config, text, err);
    }
    return result;
}

/* What vionic_add_nic and the endpoint are given. */
static void check_nic(const struct vionic_nic_config *nic)
{
    struct endpoint_spec spec = {0};
    struct error err = {{0}};
    int result;

    FUZZ_CHECK(nic->name != NULL && nic->name[0] != '\0', "a NIC without a name");
    FUZZ_CHECK(nic->socket_path != NULL && nic->socket_path[0] != '\0', "a NIC without a socket");
    FUZZ_CHECK(nic->endpoint != NULL, "a NIC without an endpoint");
    FUZZ_CHECK(nic->mtu == 0 || nic->mtu >= 68, "an MTU of %u", nic->mtu);
    FUZZ_CHECK(nic->queue_pairs <= 128 && nic->queue_size <= 32768, "%u queues of %u",
               nic->queue_pairs, nic->queue_size);
    FUZZ_CHECK(!(nic->mac[0] & 1), "a multicast MAC address");
    result = endpoint_spec_parse(&spec, nic->endpoint, &err);
    for (size_t i = 0; i < nic->endpoint_option_count && result == 0; i++)
        result = endpoint_spec_add(&spec, nic->endpoint_options[i].key,
                                   nic->endpoint_options[i].value, &err);
    if (result < 0)
        check_refusal(&err);
    endpoint_spec_clear(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct error err = {{0}};
    struct config config;
    int result = 0;

    FUZZ_CHECK(config_init(&config, &err) == 0, "no memory");
    if (fuzz_u8(&input) & 1) {
        uint16_t want = fuzz_u16(&input);
        const uint8_t *bytes;
        size_t len = fuzz_bytes(&input, want, &bytes);

        result = load_file(&config, bytes, len, &err);
    }
    if (result == 0)
        result = add_nics(&config, &input, &err);
    if (result == 0)
        result = config_finish(&config, &err);
    if (result < 0)
        check_refusal(&err);
    for (size_t i = 0; i < config.nic_count && result == 0; i++)
        check_nic(&config.nics[i].nic);
    config_clear(&config);
    return 0;
}
