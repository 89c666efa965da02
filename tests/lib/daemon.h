/* SPDX-License-Identifier: MIT */
/*
 * The real daemon as a child process: `$VIONIC run --control … --nic …`. What it prints goes to a
 * file that is shown when something goes wrong. Values come from its inspect tree over the control
 * socket.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    DAEMON_NICS_MAX = 24,
    DAEMON_FDS_ENOUGH = 4096, /* daemon_limit_fds: no limit to speak of */
    DAEMON_PATH_LEN = 96
};

struct daemon {
    pid_t pid; /* 0: not running */
    char directory[DAEMON_PATH_LEN];
    char control[DAEMON_PATH_LEN];
    char log[DAEMON_PATH_LEN];
    unsigned workers;               /* 0: as many as it takes by itself */
    char sandbox[192];              /* --sandbox-allow, or "off"; "": as it is by itself */
    const char *poll, *poll_budget; /* borrowed; the options of that name, NULL: left out */
    const char *lan;                /* borrowed: the text behind --switch; NULL: none */
    unsigned nic_count;
    char nic[DAEMON_NICS_MAX][256]; /* the text behind --nic */
};

/* Makes a directory for sockets and log. */
void daemon_init(struct daemon *daemon);
/* Socket path of a NIC inside the directory; valid as long as the daemon. */
void daemon_socket(const struct daemon *daemon, unsigned nic, char ret_path[DAEMON_PATH_LEN]);
/* Adds `--nic mac=…,socket=…,OPTIONS`; returns the NIC's number. The MAC is 52:54:00:00:00:NN. */
unsigned daemon_add_nic(struct daemon *daemon, const char *options);
/* Starts it and waits until its control socket answers. */
void daemon_start(struct daemon *daemon);
/* Another one, of the same or of another build, takes over from it in place of a fresh start. Waits
 * until the old one has ended, with status 0. */
void daemon_take_over(struct daemon *daemon, const char *program);
/* Starts the one that takes over, and waits for nothing. */
pid_t daemon_start_takeover(struct daemon *daemon, const char *program);
/* Sees that one to its end: the old daemon has ended, with status 0. */
void daemon_see_takeover(struct daemon *daemon, pid_t next);
/* SIGTERM; fails the test unless it ends in time with status 0 and a clean log. */
void daemon_stop(struct daemon *daemon);
/* SIGKILL, and waits for the end. */
void daemon_kill(struct daemon *daemon);
/* Stops it if it still runs, in whatever state, and removes the directory. No check. */
void daemon_free(struct daemon *daemon);
/* Fails the test if the daemon has ended or a sanitizer spoke. */
void daemon_check_alive(struct daemon *daemon);

/* A node of the inspect tree, owned by the caller; NULL if there is none. */
json_t *daemon_inspect(struct daemon *daemon, const char *path);
/* The same in two steps, for who has something to do meanwhile; the end closes the fd. */
int daemon_inspect_begin(struct daemon *daemon, const char *path);
json_t *daemon_inspect_end(int fd);
/* `vionic set NAME=VALUE`: 1 if it was done, else 0 and the sentence why not. */
int daemon_set(struct daemon *daemon, const char *name, const char *value, char ret_refusal[512]);
/* The same in two steps, for who has something to do meanwhile: the answer is there when the fd
 * that it returns is readable; the end closes it. */
int daemon_set_begin(struct daemon *daemon, const char *name, const char *value);
int daemon_set_end(int fd, char ret_refusal[512]);
/* A text in the tree, "" if there is none at the path. */
void daemon_text(struct daemon *daemon, const char *path, char *ret_text, size_t len);
/* Waits until that text is `wanted`; fails the test otherwise. */
void daemon_wait_text(struct daemon *daemon, const char *path, const char *wanted);
/* A number in the tree, `nic0/queues/0/tx_packets`; fails the test if it is not there. */
uint64_t daemon_number(struct daemon *daemon, const char *path);
/* The sum of all numbers below path. */
uint64_t daemon_sum(struct daemon *daemon, const char *path);
/* Waits until the number at path is at least `least`; fails the test otherwise. */
void daemon_wait_number(struct daemon *daemon, const char *path, uint64_t least);

unsigned daemon_fd_count(const struct daemon *daemon);
/* The same, once it stays the same for some milliseconds. */
unsigned daemon_fd_count_settled(const struct daemon *daemon);
/* From now on it can open `more` fds beside those that it has. */
void daemon_limit_fds(struct daemon *daemon, unsigned more);
/* Its mappings. */
unsigned daemon_map_count(const struct daemon *daemon);
uint64_t daemon_rss_kib(const struct daemon *daemon);
/* Nanoseconds of CPU that all its threads used up to now. */
uint64_t daemon_cpu_ns(const struct daemon *daemon);
/* Fails the test unless the daemon comes to rest within some seconds. */
void daemon_check_idle(struct daemon *daemon);
/* Waits until it has at most `most` fds open; fails the test otherwise. */
void daemon_check_fds(struct daemon *daemon, unsigned most);
