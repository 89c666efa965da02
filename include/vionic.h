/* SPDX-License-Identifier: MIT */
/*
 * vionic: virtio network cards in this process.
 *
 * A `struct vionic` holds worker threads and NICs, a `struct vionic_nic` is one of them. There is
 * no global state but the log's: any number of `struct vionic` live side by side. The library
 * starts no event loop: wait for vionic_fd() to become readable in yours and call
 * vionic_dispatch().
 *
 * Threads: all functions that take a `struct vionic` or one of its NICs are for one thread at a
 * time, the one that dispatches.
 *
 * Errors: functions return 0 or -errno and explain themselves in `err`, which may be NULL. A
 * function that fails has changed nothing. Other pointers must not be NULL unless that is said.
 *
 * Structs that begin with `size` can grow: set it to sizeof. A program that was built with an older
 * header has shorter ones; what is missing counts as 0. One that was built with a newer header is
 * refused (-E2BIG) only if it uses members that this library does not know, that is, if they are
 * not 0.
 *
 * Signals: front-ends bring files of their own for interrupts, so the program has to ignore
 * SIGPIPE. A SIGBUS handler is installed with the first memory that a front-end shares: files that
 * shrink become empty pages; every other fault takes the way that it had before. Data threads have
 * all signals blocked.
 */
#ifndef VIONIC_H
#define VIONIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIONIC_API __attribute__((visibility("default")))

struct vionic;     /* made by vionic_create, freed by vionic_free */
struct vionic_nic; /* made by vionic_add_nic, freed by vionic_remove_nic and vionic_free */

struct vionic_endpoint_ops; /* vionic_endpoint.h */

struct vionic_error {
    char text[512]; /* one sentence that names the thing and the mend */
};

enum vionic_threads {
    VIONIC_THREADS_WORKERS, /* packets are moved by threads of the library */
    VIONIC_THREADS_NONE,    /* packets are moved inside vionic_dispatch() and vionic_poll() */
};

/* How a worker that has nothing to do waits for more. */
enum vionic_polling {
    VIONIC_POLLING_FIXED,    /* looks on for poll_us microseconds, then sleeps */
    VIONIC_POLLING_ADAPTIVE, /* looks on where that pays, within poll_budget, then sleeps */
    VIONIC_POLLING_ALWAYS,   /* never sleeps while a ring runs: takes a whole CPU */
};

struct vionic_config {
    size_t size;      /* sizeof(struct vionic_config) */
    unsigned workers; /* data threads, 1 … 64; 0: one. With VIONIC_THREADS_NONE: 0 */
    unsigned poll_us; /* how long a worker looks on after its last packet before it sleeps, up to
                         1000000. With VIONIC_THREADS_NONE: 0 */
    enum vionic_threads threads;
    const char *cpus; /* "0-1,4": worker i runs on the i-th of these, modulo; NULL: on any.
                         With VIONIC_THREADS_NONE: NULL */
    /* Called by each data thread before it does anything else, for what a program has its threads
     * do: a name, a scheduling class, a system call filter. `worker` is 0, 1, … -errno:
     * vionic_create() fails with it. NULL: not called. With VIONIC_THREADS_NONE: NULL */
    int (*worker_started)(void *context, unsigned worker);
    void *worker_context;        /* what it is given; borrowed until vionic_create() returns */
    enum vionic_polling polling; /* with VIONIC_THREADS_NONE: 0 */
    unsigned poll_budget; /* VIONIC_POLLING_ADAPTIVE: percent of a CPU that a worker may spend on
                             looks that find nothing, 1 … 100; 0: 50. With others: 0 */
};

enum vionic_socket_mode {
    VIONIC_SOCKET_SERVER, /* listen at the path, again after each front-end */
    VIONIC_SOCKET_CLIENT, /* connect to the path, again after each front-end */
};

/* What a vhost-user front-end is told when it asks for the number of queues (GET_QUEUE_NUM): it is
 * not agreed what counts as one. */
enum vionic_queue_unit {
    VIONIC_QUEUE_UNIT_RINGS, /* every ring, the control queue's too: enough for all known ones */
    VIONIC_QUEUE_UNIT_PAIRS, /* a receive and a transmit ring are one */
};

/* What a vhost-user front-end is offered only where it is wanted. */
enum vionic_offer {
    VIONIC_OFFER_IN_BAND = 1 << 0,  /* kicks and interrupts as messages: for simulated time, slow */
    VIONIC_OFFER_POSTCOPY = 1 << 1, /* post-copy migration: the front-end can hold up the workers */
    /* ACCESS_PLATFORM: the card reaches what the guest's IOMMU maps, and nothing else. A driver
     * that does not accept it gets no card. */
    VIONIC_OFFER_IOMMU = 1 << 2,
};

/* How a driver reaches the card. */
enum vionic_transport {
    VIONIC_TRANSPORT_VHOST_USER, /* a front-end in another process, over socket_path */
    VIONIC_TRANSPORT_MMIO,       /* registers of virtio-mmio in this one: vionic_mmio_read(), … */
    VIONIC_TRANSPORT_PCI, /* a function on a PCI bus of this one: vionic_pci_read_bar(), … */
};

/* Interrupts of a card whose registers are in this process. */
struct vionic_interrupts {
    size_t size; /* sizeof(struct vionic_interrupts) */
    void *context;
    /*
     * The level of the card's interrupt line (PCI: INTA), 0 or 1. Called by the thread that
     * dispatches and by workers, perhaps by several at a time; whatever their order, the last call
     * to return told the level. It may come with level 1 while the line is high: something new
     * happened, so an edge-triggered interrupt has to fire again. It must not call the library.
     * NULL: not told.
     */
    void (*set_line)(void *context, int level);
    /* An eventfd that gets 1 whenever set_line would be called with level 1: an irqfd of KVM, for
     * an edge-triggered line. Borrowed until the NIC is removed. 0: none. */
    int line_eventfd;
    /* PCI: a message of a vector that is enabled, as the driver wrote it into the table. By the
     * same threads as set_line. NULL: messages are lost. */
    void (*send_msi)(void *context, uint64_t address, uint32_t data);
    /* PCI: the BAR answers at this guest address from now on (mapped 1), or nowhere (mapped 0).
     * Called inside vionic_pci_write_config() and vionic_nic_reset(). NULL: see
     * vionic_pci_bar_address(). */
    void (*bar_moved)(void *context, uint64_t address, int mapped);
};

struct vionic_option {
    const char *key;
    const char *value;
};

/* Everything is copied. */
struct vionic_nic_config {
    size_t size;             /* sizeof(struct vionic_nic_config) */
    const char *name;        /* [A-Za-z0-9_-]{1,31}, unique; NULL: nic0, nic1, … */
    const char *socket_path; /* vhost-user: at most 107 bytes; else NULL */
    enum vionic_socket_mode socket_mode;
    uint8_t mac[6];       /* all zero: a random local one */
    uint16_t mtu;         /* bytes of IP packet, 68 … 65535; 0: what the endpoint says, or no MTU
                             feature */
    uint32_t speed_mbps;  /* 0: what the endpoint says, or unknown */
    unsigned queue_pairs; /* 1 … 128; 0: one */
    unsigned queue_size;  /* largest ring that a driver may choose, 1 … 32768; 0: 1024 */
    const char *endpoint; /* kind: "user", "tap", …; NULL with endpoint_ops */
    const struct vionic_option *endpoint_options;
    size_t endpoint_option_count;
    /* An endpoint of yours (vionic_endpoint.h). The calls are copied. */
    const struct vionic_endpoint_ops *endpoint_ops;
    void *endpoint_context; /* what its open() is given; borrowed until the NIC is removed */
    const char *workers;    /* "2": on two workers, those with the fewest pairs; "0-1,3", "3-3": on
                               these; NULL: on all */
    enum vionic_transport transport;
    const struct vionic_interrupts *interrupts; /* copied; NULL: none, the driver polls */
    unsigned pci_vectors; /* of MSI-X, up to 2048; 0: one a queue and one for config */
    /* vhost-user, VIONIC_SOCKET_SERVER: an open socket that listens at socket_path already, such as
     * a service manager passes. Duplicated, and its file is not removed at the end. 0: none. */
    int socket_fd;
    unsigned memory_regions; /* vhost-user: most that a front-end may share, 1 … 512; 0: 512, but no
                              * more than an eighth of RLIMIT_NOFILE: each keeps a file open */
    uint64_t memory_max;     /* … and bytes in all; 0: 4 TiB */
    enum vionic_queue_unit queue_unit; /* vhost-user */
    unsigned offers;                   /* vhost-user: VIONIC_OFFER_… */
    /* vhost-user: percent of the time of vionic_dispatch() that the front-end's messages may take
     * in the long run, 1 … 100; 0: 25. All that take much share 40. */
    unsigned control_share;
};

/* "0.1.0"; static. */
VIONIC_API const char *vionic_version(void);

/*
 * Where messages for the operator go, for the whole process: it is the only setting of this kind,
 * to be made before the first vionic_create(). Messages have the priorities of syslog(3): 3 errors,
 * 4 warnings, 6 what happened, 7 why. `line` gets those up to priority_max, without a line's end;
 * it is called by any thread and must not call the library. NULL: standard error, as it is without
 * this call, where priority_max is 6.
 */
VIONIC_API void vionic_set_log(int priority_max,
                               void (*line)(void *context, int priority, const char *text),
                               void *context);

/* Starts the workers. -EINVAL and -E2BIG: the config; else what the system refuses. */
VIONIC_API int vionic_create(const struct vionic_config *config, struct vionic **ret_vionic,
                             struct vionic_error *err);
/* Stops every NIC (all buffers go back to their guests) and frees everything. NULL is fine. */
VIONIC_API void vionic_free(struct vionic *vionic);

/* The fd that is readable while vionic_dispatch() has something to do. Owned by `vionic` and the
 * same for its whole life; never read or close it. */
VIONIC_API int vionic_fd(const struct vionic *vionic);
/* Does what there is to do: front-ends, control queues, endpoints that come and go, and without
 * threads packets too. Waits for up to timeout_ms (-1: for ever) if there is nothing. 0, also when
 * the time is up or a signal came; or -errno. */
VIONIC_API int vionic_dispatch(struct vionic *vionic, int timeout_ms);
/* The same in bounded pieces, never waiting: up to `budget` rounds, in each of which everything
 * that is ready has its turn (with VIONIC_THREADS_NONE a queue pair moves up to 4096 frames each
 * way in one). 1: there is more to do; 0: nothing, vionic_fd() will become readable; or -errno. */
VIONIC_API int vionic_poll(struct vionic *vionic, unsigned budget);

/* Opens the endpoint and lets a driver come. *ret_nic (ret_nic may be NULL) belongs to `vionic`.
 * -EEXIST: there is a NIC of that name; -EINVAL: the config or the endpoint's options; else what
 * the system refuses to the endpoint or the socket. */
VIONIC_API int vionic_add_nic(struct vionic *vionic, const struct vionic_nic_config *config,
                              struct vionic_nic **ret_nic, struct vionic_error *err);
/* Gives all buffers back to the guest, closes the endpoint, frees the NIC. NULL is fine. */
VIONIC_API void vionic_remove_nic(struct vionic_nic *nic);
/* NULL: no NIC of that name. */
VIONIC_API struct vionic_nic *vionic_find_nic(struct vionic *vionic, const char *name);
/* Valid as long as the NIC. */
VIONIC_API const char *vionic_nic_name(const struct vionic_nic *nic);

/* ---- switches -----------------------------------------------------------------------------
 *
 * The endpoint "switch" with the option "name" is a port of a switch between the cards of one
 * `struct vionic`. A switch is there as long as it has ports; only one with settings or an uplink
 * has to be added.
 */

struct vionic_switch_config {
    size_t size;        /* sizeof(struct vionic_switch_config) */
    const char *name;   /* [A-Za-z0-9_-]{1,31}, unique among switches */
    uint32_t ageing_s;  /* seconds after which an address that was not heard of is forgotten;
                           0: 300 */
    const char *uplink; /* kind of endpoint behind the switch: "tap", …; NULL: none */
    const struct vionic_option *uplink_options;
    size_t uplink_option_count;
    unsigned queue_pairs; /* of the uplink, 1 … 128; 0: one */
};

/* Before its first port. -EEXIST: there is one of that name; else as vionic_add_nic(). Everything
 * is copied. */
VIONIC_API int vionic_add_switch(struct vionic *vionic, const struct vionic_switch_config *config,
                                 struct vionic_error *err);
/* Closes the uplink; ports stay connected to each other. -ENOENT: none was added by that name. */
VIONIC_API int vionic_remove_switch(struct vionic *vionic, const char *name,
                                    struct vionic_error *err);

/* ---- cards whose registers are in this process --------------------------------------------
 *
 * For a VMM: give the card the guest's memory, forward the guest's accesses to its registers, and
 * take its interrupts. Offsets and widths are the guest's and may be anything: what no driver
 * should do reads 0 and changes nothing. Calls for a card with another transport do the same.
 *
 * Kicks: a write to the notify register is forwarded like any other, or an ioeventfd carries it to
 * vionic_nic_kick_fd() without a detour. For mmio bind it to VIONIC_MMIO_NOTIFY, 4 bytes, with the
 * queue's number as its data; for PCI to the BAR's VIONIC_PCI_NOTIFY + queue *
 * VIONIC_PCI_NOTIFY_STEP, any length.
 */

enum {
    VIONIC_MMIO_LEN = 0x200,    /* of the register region, in bytes */
    VIONIC_MMIO_NOTIFY = 0x050, /* QueueNotify */

    VIONIC_PCI_CONFIG_LEN = 256,
    VIONIC_PCI_BAR_LEN = 0x10000,
    VIONIC_PCI_NOTIFY = 0x3000, /* in the BAR */
    VIONIC_PCI_NOTIFY_STEP = 4,
};

enum vionic_memory_flags {
    VIONIC_MEMORY_READ_ONLY = 1 << 0, /* ROM: the card never writes there */
};

/* A piece of guest memory. */
struct vionic_memory {
    uint64_t gpa;   /* where the guest sees it */
    uint64_t size;  /* bytes */
    void *address;  /* where it is mapped in this process; borrowed until it was replaced */
    uint32_t flags; /* VIONIC_MEMORY_… */
};

/* Replaces all memory that the card knows; `memory` itself is copied. When this returns the card
 * uses nothing of what it had before and does not have now; rings in it are broken until the driver
 * resets the card. -EINVAL, -EEXIST, -ENOSPC: a piece is empty or wraps, two overlap, more than 512
 * pieces; -EOPNOTSUPP: the memory of this transport is the front-end's. */
VIONIC_API int vionic_nic_set_memory(struct vionic_nic *nic, const struct vionic_memory *memory,
                                     size_t count, struct vionic_error *err);
/* As after power-up: for a reset of the whole machine. A vhost-user card is left alone. */
VIONIC_API void vionic_nic_reset(struct vionic_nic *nic);

/* virtio-mmio, version 2 (virtio 1.4, 4.2.2). Registers are 4 bytes wide; config space takes 1, 2,
 * 4 and 8. */
VIONIC_API uint64_t vionic_mmio_read(struct vionic_nic *nic, uint64_t offset, unsigned width);
VIONIC_API void vionic_mmio_write(struct vionic_nic *nic, uint64_t offset, unsigned width,
                                  uint64_t value);

/* virtio-pci, modern (virtio 1.4, 4.1.4): the config space of the function (256 bytes) and its one
 * BAR, number 0, of VIONIC_PCI_BAR_LEN bytes, 64 bits wide. While memory space is disabled the BAR
 * reads all ones. */
VIONIC_API uint32_t vionic_pci_read_config(struct vionic_nic *nic, uint32_t offset, unsigned width);
VIONIC_API void vionic_pci_write_config(struct vionic_nic *nic, uint32_t offset, unsigned width,
                                        uint32_t value);
VIONIC_API uint64_t vionic_pci_read_bar(struct vionic_nic *nic, uint64_t offset, unsigned width);
VIONIC_API void vionic_pci_write_bar(struct vionic_nic *nic, uint64_t offset, unsigned width,
                                     uint64_t value);
/* 1 and the guest address of the BAR; 0: it answers nowhere. */
VIONIC_API int vionic_pci_bar_address(const struct vionic_nic *nic, uint64_t *ret_address);

/*
 * Saved state: what a guest would miss if its card were replaced by a new one: what was agreed and
 * commanded, registers, where the rings stand, statistics. Not in it: guest memory, and what lies
 * behind the endpoint (connections of `user`, for one). It may be restored by another build.
 *
 * save: the guest stands still. The card goes on afterwards, so copy memory while nothing calls the
 * library, or remove the card. *ret_state is the caller's, for free(3); at most 1 MiB. -ENOMEM;
 * -EOPNOTSUPP: a vhost-user card.
 *
 * restore: a card as after power-up, with the same transport, queue pairs and MTU, and with the
 * memory that goes with the state. The bytes may come from anywhere: they are checked, not
 * believed. -EINVAL: they are no state, damaged, or of a card that this one can't be; -EBUSY: a
 * driver is at work. The card is as after power-up then.
 */
VIONIC_API int vionic_nic_save(struct vionic_nic *nic, void **ret_state, size_t *ret_len,
                               struct vionic_error *err);
VIONIC_API int vionic_nic_restore(struct vionic_nic *nic, const void *state, size_t len,
                                  struct vionic_error *err);

/* 0 for a vhost-user card. */
VIONIC_API unsigned vionic_nic_queue_count(const struct vionic_nic *nic);
/* The eventfd that stands for a kick of the queue; the same for the whole life of the NIC, which
 * owns it. Any thread may write to it. -1: no such queue. */
VIONIC_API int vionic_nic_kick_fd(const struct vionic_nic *nic, unsigned queue);

/* ---- cards that run ----------------------------------------------------------------------- */

/* Changes a card that runs: "link" to "down", say; vionic_setting() lists the keys and their
 * values. -EINVAL: no such key or value; otherwise the card or its driver can't have it now, and
 * `err` says why. */
VIONIC_API int vionic_nic_set(struct vionic_nic *nic, const char *key, const char *value,
                              struct vionic_error *err);

/* An endpoint: one of the catalog, or one of yours. Everything is copied. */
struct vionic_endpoint_config {
    size_t size;          /* sizeof(struct vionic_endpoint_config) */
    const char *endpoint; /* kind: "user", "tap", …, or with options: "tap:ifname=tap1"; NULL with
                             ops */
    const struct vionic_option *options; /* more of them */
    size_t option_count;
    const struct vionic_endpoint_ops *ops; /* vionic_endpoint.h; NULL: one of the catalog */
    void *context; /* what its open() is given; borrowed until the endpoint is changed again, or the
                      NIC removed */
};

/* Puts another endpoint behind a card that runs; its driver goes on. The new one is opened first,
 * then all queue pairs move over while their workers stand still; each frame that the old one held
 * is completed once, and the old one is closed. A driver that watches the link sees it go down and
 * up again, and one that takes that is asked to announce itself. Offloads that were agreed on and
 * that the new one can't do are done in software; -EOPNOTSUPP: some can't be (UDP tunnels; in front
 * of endpoints with reap(), all). Otherwise what opening it says; nothing has changed then. */
VIONIC_API int vionic_nic_set_endpoint(struct vionic_nic *nic,
                                       const struct vionic_endpoint_config *config,
                                       struct vionic_error *err);

/* Static texts. */
struct vionic_setting {
    size_t size;        /* sizeof(struct vionic_setting), set by the caller */
    const char *key;    /* "link" */
    const char *values; /* "up|down" */
    const char *summary;
};
/* What vionic_nic_set() takes: call with index 0, 1, … until it returns -ENOENT. */
VIONIC_API int vionic_setting(unsigned index, struct vionic_setting *ret_setting);

enum vionic_number_style {
    VIONIC_NUMBER_DECIMAL,
    VIONIC_NUMBER_HEXADECIMAL,
    VIONIC_NUMBER_COUNTER, /* only grows: its rate means something */
};

/* Receives the inspect tree, depth first. Calls may be NULL: nothing is told then. Texts are
 * borrowed until the call returns. A call must not call the library. */
struct vionic_visitor {
    size_t size; /* sizeof(struct vionic_visitor) */
    void *context;
    void (*enter)(void *context, const char *name);
    void (*leave)(void *context);
    void (*text)(void *context, const char *name, const char *value);
    void (*number)(void *context, const char *name, uint64_t value, int style);
    void (*flag)(void *context, const char *name, int value);
};
/* Shows all NICs; counters are live, the data path is not stopped. -EINVAL, -E2BIG: the size. */
VIONIC_API int vionic_inspect(struct vionic *vionic, const struct vionic_visitor *visitor);
/* Shows one NIC, without a node of its own around it. */
VIONIC_API int vionic_nic_inspect(struct vionic_nic *nic, const struct vionic_visitor *visitor);

/* Static texts. */
struct vionic_endpoint_kind {
    size_t size; /* sizeof(struct vionic_endpoint_kind), set by the caller */
    const char *kind;
    const char *summary;
    const char *options_help; /* a line an option; NULL: it has none */
};
/* The endpoint kinds of this build: call with index 0, 1, … until it returns -ENOENT. */
VIONIC_API int vionic_endpoint_kind(unsigned index, struct vionic_endpoint_kind *ret_kind);

#ifdef __cplusplus
}
#endif

#endif
