/* SPDX-License-Identifier: MIT */
#include "front_end_script.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum {
    WORD_MAX = 32,
    WORD_ALL = -1, /* values that are names */
    WORD_PLAIN = -2,
    WORD_KEPT = -3,
    WORD_AVAIL = -4,
    WORD_NONE = -5,
};

struct word {
    char name[WORD_MAX]; /* with its '?', without ring and value */
    unsigned ring;
    long value;
    int asks;
};

static long value_of(const char *text)
{
    static const struct {
        const char *name;
        long value;
    } names[] = {
        {"all", WORD_ALL}, {"plain", WORD_PLAIN}, {"kept", WORD_KEPT}, {"avail", WORD_AVAIL}};

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, text) == 0)
            return names[i].value;
    }
    return *text == '\0' ? WORD_NONE : strtol(text, NULL, 0);
}

static struct word word_read(const char *text, size_t len)
{
    struct word word = {.value = WORD_NONE};
    char copy[WORD_MAX] = {0};
    char *at = copy;
    char *equals;
    size_t name_len;

    check(len < sizeof(copy), "a word of %zu letters", len);
    memcpy(copy, text, len);
    if (copy[len - 1] == '!') {
        word.asks = 1;
        copy[len - 1] = '\0';
    }
    equals = strchr(copy, '=');
    if (equals != NULL) {
        *equals = '\0';
        word.value = value_of(equals + 1);
    }
    while (isalpha((unsigned char)*at))
        at++;
    name_len = (size_t)(at - copy);
    memcpy(word.name, copy, name_len);
    word.ring = (unsigned)strtoul(at, &at, 10);
    strcat(word.name, at); /* the '?' */
    if (equals != NULL && *at == '\0' && name_len > 0 && word.value == WORD_NONE)
        strcat(word.name, "="); /* protocol=, features= */
    return word;
}

/* ---- words ---- */

static struct front_end *fe_of(struct front_end_script *script)
{
    return &script->nic->fe;
}

static struct driver_ring *ring_of(struct front_end_script *script, const struct word *word)
{
    return script->nic->setup.vring[word->ring];
}

static int get(struct front_end_script *script, const struct word *word)
{
    static const struct {
        const char *name;
        uint32_t request;
    } table[] = {
        {"queues?", VU_GET_QUEUE_NUM},
        {"slots?", VU_GET_MAX_MEM_SLOTS},
        {"status?", VU_GET_STATUS},
    };
    uint64_t value;

    if (strcmp(word->name, "features?") == 0)
        return front_end_get_features(fe_of(script));
    if (strcmp(word->name, "protocol?") == 0)
        return front_end_get_protocol_features(fe_of(script));
    if (strcmp(word->name, "base?") == 0)
        return front_end_get_vring_base(fe_of(script), word->ring, &script->kept[word->ring]);
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(word->name, table[i].name) == 0)
            return front_end_get_u64(fe_of(script), table[i].request, &value);
    }
    check(0, "%s: what is the word %s?", script->name, word->name);
    return 0;
}

static int set_features(struct front_end_script *script, const struct word *word)
{
    struct front_end *fe = fe_of(script);
    uint64_t wanted = script->nic->options.features | VHOST_F_PROTOCOL_FEATURES;

    if (word->value == WORD_ALL)
        wanted = ~VHOST_F_LOG_ALL;
    if (word->value == WORD_PLAIN)
        wanted &= ~VHOST_F_PROTOCOL_FEATURES;
    return front_end_set_features(fe, fe->offered & wanted);
}

static int set_protocol(struct front_end_script *script)
{
    struct front_end *fe = fe_of(script);

    return front_end_set_protocol_features(fe, fe->pf_offered & script->nic->options.pf);
}

static int config(struct front_end_script *script, const struct word *word)
{
    uint8_t bytes[256];

    return front_end_get_config(fe_of(script), 0, (uint32_t)word->value, bytes) == word->value ? 0
                                                                                               : 1;
}

static int channel(struct front_end_script *script)
{
    struct front_end *fe = fe_of(script);
    struct vu_message message = vu_message(VU_SET_BACKEND_REQ_FD, NULL, 0);

    return script->pipes ? front_end_give_pipe(fe, &message, &fe->backend_fd)
                         : front_end_set_backend_req_fd(fe);
}

static int add(struct front_end_script *script)
{
    const struct guest_ram *ram = &script->nic->ram;
    int result = 0;

    for (unsigned i = 0; i < ram->region_count && result == 0; i++)
        result = front_end_add_mem_reg(fe_of(script), &ram->region[i]);
    return result;
}

static int call(struct front_end_script *script, const struct word *word)
{
    struct front_end *fe = fe_of(script);
    struct vu_message message = vu_message_u64(VU_SET_VRING_CALL, word->ring);
    int *fd = &fe->vring[word->ring].call_fd;

    if (script->pipes)
        return front_end_give_pipe(fe, &message, fd);
    if (word->value == WORD_NONE)
        return front_end_set_vring_call(fe, word->ring);
    if (*fd >= 0)
        close(*fd);
    *fd = dup(fe->vring[word->value].call_fd);
    vu_message_add_fd(&message, *fd);
    return front_end_request(fe, &message, 0);
}

static int base(struct front_end_script *script, const struct word *word)
{
    const struct driver_ring *ring = ring_of(script, word);
    uint32_t value = ring->ops->base(ring);

    if (word->value == WORD_KEPT)
        value = script->kept[word->ring];
    if (word->value == WORD_AVAIL)
        value = script->nic->vring[word->ring].published_idx;
    return front_end_vring_state(fe_of(script), VU_SET_VRING_BASE, word->ring, value);
}

static int about_ring(struct front_end_script *script, const struct word *word)
{
    struct front_end *fe = fe_of(script);
    const char *name = word->name;

    if (strcmp(name, "num") == 0)
        return front_end_vring_state(fe, VU_SET_VRING_NUM, word->ring, ring_of(script, word)->size);
    if (strcmp(name, "base") == 0)
        return base(script, word);
    if (strcmp(name, "addr") == 0)
        return front_end_set_ring_addr(fe, word->ring, ring_of(script, word));
    if (strcmp(name, "kick") == 0)
        return front_end_set_vring_kick(fe, word->ring);
    if (strcmp(name, "call") == 0)
        return call(script, word);
    if (strcmp(name, "err") == 0)
        return front_end_set_vring_err(fe, word->ring);
    if (strcmp(name, "enable") == 0)
        return front_end_vring_state(fe, VU_SET_VRING_ENABLE, word->ring, (uint32_t)word->value);
    if (strcmp(name, "kicked") == 0)
        return front_end_vring_state(fe, VU_VRING_KICK, word->ring, 0);
    check(0, "%s: what is the word %s?", script->name, name);
    return 0;
}

static int word_say(struct front_end_script *script, const struct word *word)
{
    struct front_end *fe = fe_of(script);
    const char *name = word->name;

    if (strchr(name, '?') != NULL)
        return get(script, word);
    if (strncmp(name, "features", 8) == 0)
        return set_features(script, word);
    if (strcmp(name, "protocol=") == 0)
        return set_protocol(script);
    if (strcmp(name, "owner") == 0)
        return front_end_simple(fe, VU_SET_OWNER);
    if (strcmp(name, "reset") == 0)
        return front_end_simple(fe, VU_RESET_DEVICE);
    if (strcmp(name, "table") == 0)
        return front_end_set_mem_table(fe, &script->nic->ram);
    if (strcmp(name, "add") == 0)
        return add(script);
    if (strcmp(name, "channel") == 0)
        return channel(script);
    if (strcmp(name, "config") == 0)
        return config(script, word);
    if (strcmp(name, "status") == 0)
        return front_end_set_status(fe, (uint8_t)word->value);
    if (strcmp(name, "mtu") == 0)
        return front_end_set_u64(fe, VU_NET_SET_MTU, (uint64_t)word->value);
    return about_ring(script, word);
}

/* front_end_request asks for an answer wherever REPLY_ACK is agreed on; this one asks by the word.
 */
static void word_play(struct front_end_script *script, const char *text, size_t len)
{
    struct word word = word_read(text, len);
    struct front_end *fe = fe_of(script);
    uint64_t agreed = fe->pf;
    int result;

    fe->pf = word.asks ? agreed | VU_PF_REPLY_ACK : agreed & ~VU_PF_REPLY_ACK;
    result = word_say(script, &word);
    check(result == 0, "%s: %.*s: %d", script->name, (int)len, text, result);
    if (strcmp(word.name, "protocol=") != 0)
        fe->pf = agreed;
}

void front_end_play(struct front_end_script *script, const char *words)
{
    const char *at = words + strspn(words, " ");

    while (*at != '\0') {
        size_t len = strcspn(at, " ");

        word_play(script, at, len);
        at += len;
        at += strspn(at, " ");
    }
    front_end_bind(fe_of(script), &script->nic->setup);
    check(front_end_sync(fe_of(script)) == 0, "%s: the session is over", script->name);
}
