/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/client.h"
#include "daemon/doctor.h"
#include "vionic.h"

static const char *text_of(const json_t *node, const char *key)
{
    const char *text = json_string_value(json_object_get(node, key));

    return text == NULL ? "" : text;
}

/* 1: nothing is wrong. */
static int check_socket(json_t *findings, const char *nic, const json_t *vhost_user)
{
    const char *path = text_of(vhost_user, "socket");
    const struct passwd *owner;
    struct stat there;

    if (strcmp(text_of(vhost_user, "mode"), "client") == 0) {
        doctor_add(findings, FINDING_NOTE, "start the front-end, with its socket in server mode",
                   "%s: nobody listens at %s yet", nic, path);
        return 0;
    }
    if (stat(path, &there) < 0 || !S_ISSOCK(there.st_mode)) {
        doctor_add(findings, FINDING_BAD, "start the daemon again, and let nobody clear its folder",
                   "%s: its socket %s is gone (%s), so no front-end can connect", nic, path,
                   errno == ENOENT ? "no such file" : "no socket");
        return 0;
    }
    if (!(there.st_mode & (S_IWGRP | S_IWOTH))) {
        owner = getpwuid(there.st_uid);
        doctor_add(findings, FINDING_NOTE,
                   "if your machines run as another user (libvirt's do), give that user the right "
                   "to write to the socket: chown or setfacl",
                   "%s: no front-end is connected, and only %s%s may connect to %s", nic,
                   there.st_uid == 0 ? "" : "root and ",
                   owner == NULL ? "its owner" : owner->pw_name, path);
        return 0;
    }
    doctor_add(findings, FINDING_OK, NULL, "%s: waits for a front-end at %s", nic, path);
    return 0;
}

static const char *ring_fault(const json_t *queue)
{
    const char *fault = text_of(json_object_get(queue, "tx_ring"), "fault");

    return *fault != '\0' ? fault : text_of(json_object_get(queue, "rx_ring"), "fault");
}

static int check_rings(json_t *findings, const char *nic, json_t *queues)
{
    const char *name;
    json_t *queue;
    int fine = 1;

    json_object_foreach(queues, name, queue)
    {
        if (*ring_fault(queue) == '\0')
            continue;
        doctor_add(findings, FINDING_BAD, "reset the guest's driver: unbind and bind it, or reboot",
                   "%s: a ring of queue pair %s rests, because its driver broke it: %s", nic, name,
                   ring_fault(queue));
        fine = 0;
    }
    return fine;
}

static int check_endpoint_and_link(json_t *findings, const char *nic, const json_t *tree)
{
    char mend[96];

    if (strcmp(text_of(tree, "endpoint_state"), "gone") == 0) {
        doctor_add(findings, FINDING_BAD,
                   "bring back what it stood on; it is tried again by itself",
                   "%s: its endpoint %s went away: %s", nic, text_of(tree, "endpoint_type"),
                   text_of(tree, "endpoint_error"));
        return 0;
    }
    if (strcmp(text_of(tree, "link_wanted"), "down") == 0) {
        snprintf(mend, sizeof(mend), "vionic set %s.link=up", nic);
        doctor_add(findings, FINDING_BAD, mend, "%s: its link was taken down with vionic set", nic);
        return 0;
    }
    if (strcmp(text_of(tree, "link"), "down") == 0) {
        doctor_add(findings, FINDING_BAD, "bring the host's interface behind it up",
                   "%s: the link of its endpoint %s is down", nic, text_of(tree, "endpoint_type"));
        return 0;
    }
    return 1;
}

static int check_session(json_t *findings, const char *nic, const json_t *vhost_user)
{
    if (!json_is_object(vhost_user)) /* another transport */
        return 1;
    if (*text_of(vhost_user, "last_refusal") != '\0')
        doctor_add(findings, FINDING_NOTE,
                   "compare what the machine's network card was given with the features of the "
                   "card (vionic inspect)",
                   "%s: its front-end asked for what can't be: %s", nic,
                   text_of(vhost_user, "last_refusal"));
    if (json_is_true(json_object_get(vhost_user, "connected")))
        return *text_of(vhost_user, "last_refusal") == '\0';
    return check_socket(findings, nic, vhost_user);
}

static void check_nic(json_t *findings, const char *nic, const json_t *tree)
{
    int fine = check_endpoint_and_link(findings, nic, tree);

    fine &= check_rings(findings, nic, json_object_get(tree, "queues"));
    fine &= check_session(findings, nic, json_object_get(tree, "vhost_user"));
    if (fine)
        doctor_add(findings, FINDING_OK, NULL, "%s: connected, its link is up, its rings are sound",
                   nic);
}

static int any_refused(const json_t *refused)
{
    const char *role;
    json_t *calls;
    int any = 0;

    json_object_foreach((json_t *)refused, role, calls) any |= json_object_size(calls) != 0;
    return any;
}

static void check_sandbox(json_t *findings, const json_t *sandbox)
{
    const char *mode = text_of(sandbox, "mode");

    if (strcmp(mode, "off") == 0 || strcmp(mode, "log") == 0)
        doctor_add(findings, FINDING_NOTE, "start the daemon without --sandbox",
                   "the daemon's sandbox is %s: whoever finds a fault in the daemon has all its "
                   "rights",
                   mode);
    else if (any_refused(json_object_get(sandbox, "refused")))
        doctor_add(findings, FINDING_NOTE,
                   "report it; --sandbox=log lets such calls pass and names them",
                   "the sandbox refused the daemon something (vionic inspect daemon)");
    else if (strcmp(text_of(sandbox, "files"), "limited") != 0)
        doctor_add(findings, FINDING_NOTE, "have Landlock in the kernel: lsm=landlock,…",
                   "the daemon's sandbox can't limit files: this kernel has no Landlock");
    else
        doctor_add(findings, FINDING_OK, NULL, "the daemon is in its sandbox");
}

/* The result of a command, of inspect for `path`; NULL and the sentence. */
static json_t *ask(const char *control_path, const char *command, const char *path,
                   struct error *err)
{
    json_t *request = path == NULL ? json_pack("{s: s}", "command", command)
                                   : json_pack("{s: s, s: s}", "command", command, "path", path);
    json_t *result = NULL;

    if (client_ask(control_path, request, &result, err) < 0)
        result = NULL;
    json_decref(request);
    return result;
}

static void check_version(json_t *findings, const json_t *ping)
{
    const char *version = text_of(ping, "version");
    long long pid = (long long)json_integer_value(json_object_get(ping, "pid"));

    if (strcmp(version, vionic_version()) == 0)
        doctor_add(findings, FINDING_OK, NULL, "a daemon runs, process %lld", pid);
    else
        doctor_add(findings, FINDING_NOTE, "start the daemon again after an update",
                   "the daemon, process %lld, is version %s, this program %s", pid, version,
                   vionic_version());
}

void doctor_check_daemon(json_t *findings, const char *control_path)
{
    struct error err = {{0}};
    json_t *sandbox;
    json_t *ping = ask(control_path, "ping", NULL, &err);
    json_t *tree = ping == NULL ? NULL : ask(control_path, "inspect", NULL, &err);
    const char *name;
    json_t *nic;

    if (tree == NULL)
        doctor_add(findings, FINDING_NOTE, NULL, "%s", err.text);
    else
        check_version(findings, ping);
    sandbox = tree == NULL ? NULL : ask(control_path, "inspect", "daemon/sandbox", &err);
    if (sandbox != NULL) /* an older daemon has none */
        check_sandbox(findings, sandbox);
    json_decref(sandbox);
    json_object_foreach(tree, name, nic)
    {
        if (strncmp(name, "switch:", strlen("switch:")) == 0)
            continue;
        if (strncmp(name, "uplink:", strlen("uplink:")) == 0)
            check_endpoint_and_link(findings, name, nic);
        else
            check_nic(findings, name, nic);
    }
    json_decref(tree);
    json_decref(ping);
}
