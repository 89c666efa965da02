/* SPDX-License-Identifier: MIT */
/*
 * vionic: virtio network cards in this process.
 *
 * A `struct vionic` holds worker threads and NICs. It starts no event loop: wait for vionic_fd() to
 * become readable in yours and call vionic_dispatch(). All functions are for one thread, the one
 * that dispatches. Functions return 0 or -errno and explain themselves in `err`, which may be NULL.
 *
 * Front-ends bring files of their own for interrupts, so the program has to ignore SIGPIPE. A
 * SIGBUS handler is installed with the first memory that a front-end shares: files that shrink
 * become empty pages; every other fault takes the way that it had before.
 */
#ifndef VIONIC_H
#define VIONIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIONIC_API __attribute__((visibility("default")))

struct vionic;
struct vionic_nic;

struct vionic_error {
    char text[512]; /* one sentence that names the thing and the mend */
};

struct vionic_config {
    size_t size;      /* sizeof(struct vionic_config) */
    unsigned workers; /* data threads, 1 … 64; 0: one */
    unsigned poll_us; /* how long a worker looks on after its last packet before it sleeps */
};

enum vionic_socket_mode {
    VIONIC_SOCKET_SERVER, /* listen at the path, again after each front-end */
    VIONIC_SOCKET_CLIENT, /* connect to the path, again after each front-end */
};

struct vionic_option {
    const char *key;
    const char *value;
};

/* Everything is copied. */
struct vionic_nic_config {
    size_t size;      /* sizeof(struct vionic_nic_config) */
    const char *name; /* [A-Za-z0-9_-]{1,31}, unique; NULL: nic0, nic1, … */
    const char *socket_path;
    enum vionic_socket_mode socket_mode;
    uint8_t mac[6];       /* all zero: a random local one */
    uint16_t mtu;         /* 68 … 65535; 0: what the endpoint says, or no MTU feature */
    uint32_t speed_mbps;  /* 0: what the endpoint says, or unknown */
    unsigned queue_pairs; /* 1 … 128; 0: one */
    unsigned queue_size;  /* largest ring that a driver may choose, 1 … 32768; 0: 1024 */
    const char *endpoint; /* kind: "user", "tap", … */
    const struct vionic_option *endpoint_options;
    size_t endpoint_option_count;
};

VIONIC_API const char *vionic_version(void);

VIONIC_API int vionic_create(const struct vionic_config *config, struct vionic **ret_vionic,
                             struct vionic_error *err);
/* Stops every NIC (all buffers go back to their guests) and frees everything. NULL is fine. */
VIONIC_API void vionic_free(struct vionic *vionic);

VIONIC_API int vionic_fd(const struct vionic *vionic);
VIONIC_API int vionic_dispatch(struct vionic *vionic, int timeout_ms);

VIONIC_API int vionic_add_nic(struct vionic *vionic, const struct vionic_nic_config *config,
                              struct vionic_error *err);
/* -ENOENT: no NIC of that name. */
VIONIC_API int vionic_remove_nic(struct vionic *vionic, const char *name, struct vionic_error *err);

/* Changes a card that runs. -ENOENT: no NIC of that name; -EINVAL: no such key or value; otherwise
 * the card or its driver can't have it now, and `err` says why. */
VIONIC_API int vionic_set(struct vionic *vionic, const char *name, const char *key,
                          const char *value, struct vionic_error *err);
/* What vionic_set() takes: call with index 0, 1, … until it returns -ENOENT. */
struct vionic_setting {
    const char *key;    /* "link" */
    const char *values; /* "up|down" */
    const char *summary;
};
VIONIC_API int vionic_setting(unsigned index, struct vionic_setting *ret_setting);

/* Receives the inspect tree, depth first. Counters are live; the data path is not stopped. */
struct vionic_visitor {
    size_t size; /* sizeof(struct vionic_visitor) */
    void *context;
    void (*enter)(void *context, const char *name);
    void (*leave)(void *context);
    void (*text)(void *context, const char *name, const char *value);
    /* style: 0 decimal, 1 hexadecimal, 2 a counter that only grows */
    void (*number)(void *context, const char *name, uint64_t value, int style);
    void (*flag)(void *context, const char *name, int value);
};
VIONIC_API void vionic_inspect(struct vionic *vionic, const struct vionic_visitor *visitor);

/* The endpoint kinds of this build: call with index 0, 1, … until it returns -ENOENT. */
struct vionic_endpoint_kind {
    const char *kind;
    const char *summary;
    const char *options_help;
};
VIONIC_API int vionic_endpoint_kind(unsigned index, struct vionic_endpoint_kind *ret_kind);

#ifdef __cplusplus
}
#endif

#endif
