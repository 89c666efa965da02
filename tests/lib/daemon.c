/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "clockwork.h"

enum {
    STOP_MS = 10000, /* a clean end under a sanitizer, leak check included */
    IDLE_WINDOW_MS = 40,
    IDLE_NS = 8000000, /* of CPU in such a window: far below a spin, far above a timer */
    ARGUMENTS = 16 + 2 * DAEMON_NICS_MAX,
};

void daemon_init(struct daemon *daemon)
{
    memset(daemon, 0, sizeof(*daemon));
    strcpy(daemon->directory, "/tmp/vionic-test-XXXXXX");
    check(mkdtemp(daemon->directory) != NULL, "no directory in /tmp");
    snprintf(daemon->control, sizeof(daemon->control), "%.40s/control", daemon->directory);
    snprintf(daemon->log, sizeof(daemon->log), "%.40s/log", daemon->directory);
}

void daemon_socket(const struct daemon *daemon, unsigned nic, char ret_path[DAEMON_PATH_LEN])
{
    snprintf(ret_path, DAEMON_PATH_LEN, "%.40s/nic%u.sock", daemon->directory, nic);
}

unsigned daemon_add_nic(struct daemon *daemon, const char *options)
{
    unsigned nic = daemon->nic_count++;
    char socket[DAEMON_PATH_LEN];

    check(nic < DAEMON_NICS_MAX, "too many NICs");
    daemon_socket(daemon, nic, socket);
    snprintf(daemon->nic[nic], sizeof(daemon->nic[nic]),
             "name=nic%u,mac=52:54:00:00:00:%02x,socket=%s,%s", nic, nic + 1, socket, options);
    return nic;
}

static void show_log(const struct daemon *daemon)
{
    char text[4096];
    FILE *file = fopen(daemon->log, "r");
    size_t got;

    if (file == NULL)
        return;
    while ((got = fread(text, 1, sizeof(text), file)) > 0)
        fwrite(text, 1, got, stderr);
    fclose(file);
}

static void run_child(struct daemon *daemon, const char *program, const char *option)
{
    const char *argument[ARGUMENTS] = {program, "run", "--control", daemon->control};
    unsigned count = 4;
    char workers[16];
    int fd = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (daemon->workers != 0) {
        snprintf(workers, sizeof(workers), "%u", daemon->workers);
        argument[count++] = "--workers";
        argument[count++] = workers;
    }
    if (daemon->sandbox[0] != '\0') {
        argument[count++] = strcmp(daemon->sandbox, "off") == 0 ? "--sandbox" : "--sandbox-allow";
        argument[count++] = daemon->sandbox;
    }
    if (daemon->poll != NULL) {
        argument[count++] = "--poll";
        argument[count++] = daemon->poll;
    }
    if (daemon->poll_budget != NULL) {
        argument[count++] = "--poll-budget";
        argument[count++] = daemon->poll_budget;
    }
    if (daemon->lan != NULL) {
        argument[count++] = "--switch";
        argument[count++] = daemon->lan;
    }
    for (unsigned i = 0; i < daemon->nic_count; i++) {
        argument[count++] = "--nic";
        argument[count++] = daemon->nic[i];
    }
    if (option != NULL)
        argument[count++] = option;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves nothing behind */
    setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", 0); /* a finding is an end */
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execv(program, (char **)argument);
    _exit(127);
}

/* Connects to the control socket; -1 if it is not there yet. */
static int control_connect(const struct daemon *daemon)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, daemon->control);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

void daemon_start(struct daemon *daemon)
{
    const char *program = getenv("VIONIC");
    uint64_t end = now_ms() + STOP_MS;
    json_t *answer;
    int fd;

    check(program != NULL, "VIONIC must name the daemon's executable");
    daemon->pid = fork();
    if (daemon->pid == 0)
        run_child(daemon, program, NULL);
    while ((fd = control_connect(daemon)) < 0) {
        daemon_check_alive(daemon);
        check(now_ms() < end, "the daemon's control socket does not answer");
        sleep_ms(2);
    }
    close(fd);
    answer = daemon_inspect(daemon, "nic0"); /* the socket may be there before all is set up */
    check(answer != NULL, "the daemon has no nic0");
    json_decref(answer);
}

pid_t daemon_start_takeover(struct daemon *daemon, const char *program)
{
    pid_t pid = fork();

    if (pid == 0)
        run_child(daemon, program, "--takeover");
    return pid;
}

/* Waits for the end; 0 and the wait status, or -1 when it still runs. */
static int wait_end(struct daemon *daemon, int timeout_ms, int *ret_status)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;

    while (waitpid(daemon->pid, ret_status, WNOHANG) == 0) {
        if (now_ms() >= end)
            return -1;
        sleep_ms(1);
    }
    daemon->pid = 0;
    return 0;
}

void daemon_take_over(struct daemon *daemon, const char *program)
{
    daemon_see_takeover(daemon, daemon_start_takeover(daemon, program));
}

void daemon_see_takeover(struct daemon *daemon, pid_t next)
{
    int status;

    check(wait_end(daemon, STOP_MS, &status) == 0, "the old daemon does not end");
    daemon->pid = next;
    if (status != 0)
        show_log(daemon);
    check(status == 0, "the old daemon ended with wait status 0x%x", (unsigned)status);
    daemon_check_alive(daemon);
}

void daemon_check_alive(struct daemon *daemon)
{
    int status;

    check(daemon->pid != 0, "the daemon was not started");
    if (wait_end(daemon, 0, &status) == 0) {
        show_log(daemon);
        fail_msg("the daemon ended by itself, wait status 0x%x", (unsigned)status);
    }
}

/* Nothing that a test asks of the daemon is refused by its own sandbox. */
static void check_not_refused(const struct daemon *daemon)
{
    FILE *file = fopen(daemon->log, "r");
    char line[1024];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        check(strstr(line, "sandbox: refused") == NULL, "%s", line);
    if (file != NULL)
        fclose(file);
}

void daemon_stop(struct daemon *daemon)
{
    int status;

    daemon_check_alive(daemon);
    kill(daemon->pid, SIGTERM);
    check(wait_end(daemon, STOP_MS, &status) == 0, "the daemon does not end on SIGTERM");
    if (status != 0) {
        show_log(daemon);
        fail_msg("the daemon ended with wait status 0x%x", (unsigned)status);
    }
    check_not_refused(daemon);
}

void daemon_kill(struct daemon *daemon)
{
    int status;

    if (daemon->pid == 0)
        return;
    kill(daemon->pid, SIGKILL);
    wait_end(daemon, STOP_MS, &status);
}

void daemon_free(struct daemon *daemon)
{
    DIR *directory;
    struct dirent *entry;

    if (daemon->pid != 0) /* the test ended early: what the daemon said may tell why */
        show_log(daemon);
    daemon_kill(daemon);
    directory = opendir(daemon->directory);
    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    rmdir(daemon->directory);
}

/* ---- inspect ---- */

static int ask_begin(struct daemon *daemon, const char *request)
{
    int fd = control_connect(daemon);

    if (fd < 0)
        daemon_check_alive(daemon);
    check(fd >= 0, "no control socket");
    dprintf(fd, "%s\n", request);
    return fd;
}

/* The whole answer, owned by the caller. */
static json_t *ask_end(int fd)
{
    json_t *answer;
    json_error_t error;
    FILE *stream;

    check(wait_readable(fd, 3 * WAIT_LONG_MS), "the control socket does not answer");
    stream = fdopen(fd, "r");
    answer = json_loadf(stream, JSON_DISABLE_EOF_CHECK, &error);
    fclose(stream);
    check(answer != NULL, "the control socket's answer: %s", error.text);
    return answer;
}

int daemon_inspect_begin(struct daemon *daemon, const char *path)
{
    char request[256];

    snprintf(request, sizeof(request), "{\"command\":\"inspect\",\"path\":\"%s\"}", path);
    return ask_begin(daemon, request);
}

json_t *daemon_inspect_end(int fd)
{
    json_t *answer = ask_end(fd);
    json_t *result =
        json_is_true(json_object_get(answer, "ok")) ? json_object_get(answer, "result") : NULL;

    json_incref(result);
    json_decref(answer);
    return result;
}

json_t *daemon_inspect(struct daemon *daemon, const char *path)
{
    return daemon_inspect_end(daemon_inspect_begin(daemon, path));
}

int daemon_set_begin(struct daemon *daemon, const char *name, const char *value)
{
    char request[512];

    snprintf(request, sizeof(request), "{\"command\":\"set\",\"values\":{\"%s\":\"%s\"}}", name,
             value);
    return ask_begin(daemon, request);
}

int daemon_set_end(int fd, char ret_refusal[512])
{
    json_t *answer = ask_end(fd);
    int done = json_is_true(json_object_get(answer, "ok"));

    snprintf(ret_refusal, 512, "%s",
             done ? "" : json_string_value(json_object_get(answer, "error")));
    json_decref(answer);
    return done;
}

int daemon_set(struct daemon *daemon, const char *name, const char *value, char ret_refusal[512])
{
    return daemon_set_end(daemon_set_begin(daemon, name, value), ret_refusal);
}

static uint64_t sum_of(const json_t *node)
{
    const char *name;
    json_t *child;
    uint64_t sum = 0;

    if (json_is_integer(node))
        return (uint64_t)json_integer_value(node);
    if (!json_is_object(node))
        return 0;
    json_object_foreach((json_t *)node, name, child) sum += sum_of(child);
    return sum;
}

/* A leaf is asked for through its parent, so that it does not matter how a bare leaf is answered.
 * The parent is the caller's to free. */
static json_t *leaf_of(struct daemon *daemon, const char *path, json_t **ret_parent)
{
    const char *leaf = strrchr(path, '/');
    char parent[128];

    check(leaf != NULL, "%s has no parent", path);
    snprintf(parent, sizeof(parent), "%.*s", (int)(leaf - path), path);
    *ret_parent = daemon_inspect(daemon, parent);
    return *ret_parent == NULL ? NULL : json_object_get(*ret_parent, leaf + 1);
}

uint64_t daemon_number(struct daemon *daemon, const char *path)
{
    json_t *parent;
    json_t *value = leaf_of(daemon, path, &parent);
    uint64_t number;

    check(json_is_integer(value), "inspect has no number at %s", path);
    number = (uint64_t)json_integer_value(value);
    json_decref(parent);
    return number;
}

void daemon_text(struct daemon *daemon, const char *path, char *ret_text, size_t len)
{
    json_t *parent;
    const char *text = json_string_value(leaf_of(daemon, path, &parent));

    snprintf(ret_text, len, "%s", text == NULL ? "" : text);
    json_decref(parent);
}

void daemon_wait_text(struct daemon *daemon, const char *path, const char *wanted)
{
    uint64_t end = now_ms() + 2 * WAIT_LONG_MS; /* longer than the longest wait between two tries */
    char text[512];

    for (;;) {
        daemon_text(daemon, path, text, sizeof(text));
        if (strcmp(text, wanted) == 0)
            return;
        check(now_ms() < end, "%s is \"%s\", not \"%s\"", path, text, wanted);
        sleep_ms(5);
    }
}

uint64_t daemon_sum(struct daemon *daemon, const char *path)
{
    json_t *node = daemon_inspect(daemon, path);
    uint64_t sum;

    check(node != NULL, "inspect has nothing at %s", path);
    sum = sum_of(node);
    json_decref(node);
    return sum;
}

void daemon_wait_number(struct daemon *daemon, const char *path, uint64_t least)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    uint64_t number;

    while ((number = daemon_number(daemon, path)) < least) {
        check(now_ms() < end, "%s is %llu, not %llu", path, (unsigned long long)number,
              (unsigned long long)least);
        sleep_ms(2);
    }
}

/* ---- /proc ---- */

static DIR *open_proc(const struct daemon *daemon, const char *what)
{
    char path[64];
    DIR *directory;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)daemon->pid, what);
    directory = opendir(path);
    check(directory != NULL, "no %s", path);
    return directory;
}

unsigned daemon_fd_count(const struct daemon *daemon)
{
    DIR *directory = open_proc(daemon, "fd");
    struct dirent *entry;
    unsigned count = 0;

    while ((entry = readdir(directory)) != NULL)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static int read_proc(const struct daemon *daemon, const char *what, char *text, size_t len)
{
    char path[64];
    FILE *file;
    size_t got;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)daemon->pid, what);
    file = fopen(path, "r");
    if (file == NULL)
        return -errno;
    got = fread(text, 1, len - 1, file);
    text[got] = '\0';
    fclose(file);
    return 0;
}

/* The limit is one of numbers: the holes below it are what is free. */
void daemon_limit_fds(struct daemon *daemon, unsigned more)
{
    struct rlimit limit;
    char path[64];
    unsigned free = 0;

    check(prlimit(daemon->pid, RLIMIT_NOFILE, NULL, &limit) == 0, "no limit of the daemon");
    for (limit.rlim_cur = 0; free < more; limit.rlim_cur++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)daemon->pid, (unsigned)limit.rlim_cur);
        free += access(path, F_OK) != 0;
    }
    check(prlimit(daemon->pid, RLIMIT_NOFILE, &limit, NULL) == 0, "the limit can't be set");
}

unsigned daemon_map_count(const struct daemon *daemon)
{
    char path[64];
    unsigned count = 0;
    FILE *file;
    int byte;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)daemon->pid);
    file = fopen(path, "r");
    check(file != NULL, "no %s", path);
    while ((byte = fgetc(file)) != EOF)
        count += byte == '\n';
    fclose(file);
    return count;
}

uint64_t daemon_rss_kib(const struct daemon *daemon)
{
    char text[4096];
    const char *line;

    check(read_proc(daemon, "status", text, sizeof(text)) == 0, "no /proc entry");
    line = strstr(text, "VmRSS:");
    check(line != NULL, "no VmRSS");
    return strtoull(line + 6, NULL, 10);
}

uint64_t daemon_cpu_ns(const struct daemon *daemon)
{
    DIR *directory = open_proc(daemon, "task");
    struct dirent *entry;
    uint64_t sum = 0;

    while ((entry = readdir(directory)) != NULL) {
        char name[300];
        char text[128];

        snprintf(name, sizeof(name), "task/%s/schedstat", entry->d_name);
        if (entry->d_name[0] != '.' && read_proc(daemon, name, text, sizeof(text)) == 0)
            sum += strtoull(text, NULL, 10);
    }
    closedir(directory);
    return sum;
}

void daemon_check_idle(struct daemon *daemon)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    uint64_t used = IDLE_NS;

    while (used >= IDLE_NS) {
        uint64_t before = daemon_cpu_ns(daemon);

        check(now_ms() < end, "the daemon does not come to rest: %llu ns of CPU in %d ms",
              (unsigned long long)used, IDLE_WINDOW_MS);
        sleep_ms(IDLE_WINDOW_MS);
        used = daemon_cpu_ns(daemon) - before;
    }
}

unsigned daemon_fd_count_settled(const struct daemon *daemon)
{
    unsigned count = daemon_fd_count(daemon);

    for (unsigned same = 0; same < 4; same++) {
        unsigned again;

        sleep_ms(2);
        again = daemon_fd_count(daemon);
        if (again != count)
            same = 0;
        count = again;
    }
    return count;
}

void daemon_check_fds(struct daemon *daemon, unsigned most)
{
    uint64_t end = now_ms() + WAIT_LONG_MS;
    unsigned count;

    while ((count = daemon_fd_count(daemon)) > most) {
        check(now_ms() < end, "the daemon has %u fds open, not %u", count, most);
        sleep_ms(5);
    }
}
