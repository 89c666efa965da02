/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "daemon/shown.h"

static const struct {
    const char *kind;
    unsigned needs;
} kinds[] = {
    {"tap", NEED_TAP},
    {"netns", NEED_TAP | NEED_NETNS}, /* no kind: a tap in another network namespace */
    {"user", NEED_USER | NEED_LOW_PORT},
    {"stream", NEED_STREAM | NEED_CONNECT | NEED_LOW_PORT},
};

unsigned sandbox_plan_of_kind(const char *kind, size_t kind_len)
{
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (strlen(kinds[i].kind) == kind_len && strncmp(kinds[i].kind, kind, kind_len) == 0)
            return kinds[i].needs;
    }
    return 0;
}

static int plan_add_folder(struct sandbox_plan *plan, const char *path, size_t len)
{
    char *folder = len == 0 ? strdup("/") : strndup(path, len);

    if (folder == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < plan->folders; i++) {
        if (strcmp(plan->folder[i], folder) != 0)
            continue;
        free(folder);
        return 0;
    }
    if (plan->folders == PLAN_FOLDERS_MAX) {
        free(folder);
        return -ENOSPC;
    }
    plan->folder[plan->folders++] = folder;
    return 0;
}

static int plan_add_folder_of(struct sandbox_plan *plan, const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? plan_add_folder(plan, ".", 1)
                         : plan_add_folder(plan, path, (size_t)(slash - path));
}

static const char *option_of(const struct vionic_nic_config *nic, const char *key)
{
    for (size_t i = 0; i < nic->endpoint_option_count; i++) {
        if (strcmp(nic->endpoint_options[i].key, key) == 0)
            return nic->endpoint_options[i].value;
    }
    return NULL;
}

static int is_server(const struct vionic_nic_config *nic)
{
    const char *mode = option_of(nic, "mode");

    return mode != NULL && strcmp(mode, "server") == 0;
}

static unsigned endpoint_needs(const struct vionic_nic_config *nic)
{
    unsigned needs = sandbox_plan_of_kind(nic->endpoint, strlen(nic->endpoint));

    if (needs == NEED_TAP && option_of(nic, "fd") != NULL)
        return NEED_TAP_FD;
    if (needs == NEED_TAP && option_of(nic, "netns") != NULL)
        needs |= NEED_NETNS;
    if ((needs & NEED_USER) && option_of(nic, "hostfwd") == NULL)
        needs &= ~(unsigned)NEED_LOW_PORT;
    if ((needs & NEED_STREAM) && (!is_server(nic) || option_of(nic, "path") != NULL))
        needs &= ~(unsigned)NEED_LOW_PORT;
    if ((needs & NEED_STREAM) && (is_server(nic) || option_of(nic, "fd") != NULL))
        needs &= ~(unsigned)NEED_CONNECT;
    return needs;
}

static int plan_add_nic(struct sandbox_plan *plan, const struct vionic_nic_config *nic)
{
    const char *path = option_of(nic, "path");

    plan->needs |= endpoint_needs(nic);
    if (nic->socket_mode == VIONIC_SOCKET_CLIENT)
        plan->needs |= NEED_CONNECT;
    else if (plan_add_folder_of(plan, nic->socket_path) < 0)
        return -ENOMEM;
    if (path != NULL && is_server(nic))
        return plan_add_folder_of(plan, path);
    return 0;
}

static int plan_add_uplink(struct sandbox_plan *plan, const struct vionic_nic_config *uplink)
{
    const char *path = option_of(uplink, "path");

    if (uplink->endpoint == NULL)
        return 0;
    plan->needs |= endpoint_needs(uplink);
    return path != NULL && is_server(uplink) ? plan_add_folder_of(plan, path) : 0;
}

static int plan_allow_one(struct sandbox_plan *plan, const char *word, size_t len,
                          struct error *err)
{
    char shown[SHOWN_LEN];

    if (word[0] == '/')
        return plan_add_folder(plan, word, len) < 0 ? error_set(err, ENOMEM, "out of memory") : 0;
    plan->needs |= sandbox_plan_of_kind(word, len);
    if (sandbox_plan_of_kind(word, len) != 0)
        return 0;
    shown_bytes(word, len, shown);
    return error_set(err, EINVAL,
                     "--sandbox-allow: \"%s\" is neither what an endpoint needs (tap, netns, user, "
                     "stream) nor a folder that begins with '/'",
                     shown);
}

static int plan_allow(struct sandbox_plan *plan, const char *list, struct error *err)
{
    int ret = 0;

    while (ret == 0 && list != NULL && *list != '\0') {
        size_t len = strcspn(list, ",");

        ret = plan_allow_one(plan, list, len, err);
        list += len + (list[len] == ',');
    }
    return ret;
}

int sandbox_plan_make(const struct config *config, const char *control_path,
                      struct sandbox_plan *ret_plan, struct error *err)
{
    int ret;

    *ret_plan = (struct sandbox_plan){.folder = calloc(PLAN_FOLDERS_MAX, sizeof(char *))};
    ret = ret_plan->folder == NULL ? -ENOMEM : plan_add_folder_of(ret_plan, control_path);
    for (size_t i = 0; ret == 0 && i < config->nic_count; i++)
        ret = plan_add_nic(ret_plan, &config->nics[i].nic);
    for (size_t i = 0; ret == 0 && i < config->switch_count; i++)
        ret = plan_add_uplink(ret_plan, &config->switches[i].uplink.nic);
    if (ret < 0)
        return error_set(err, ENOMEM, "out of memory");
    return plan_allow(ret_plan, config->sandbox_allow, err);
}

/* The value of an option of an endpoint as an operator writes it, and its length; NULL. */
static const char *find_option(const char *endpoint, const char *key, size_t *ret_len)
{
    const char *at = strchr(endpoint, ':');
    size_t key_len = strlen(key);

    for (; at != NULL; at = strchr(at, ',')) {
        at++;
        if (strncmp(at, key, key_len) != 0 || at[key_len] != '=')
            continue;
        *ret_len = strcspn(at + key_len + 1, ",");
        return at + key_len + 1;
    }
    return NULL;
}

static int is_in_folder(const struct sandbox_plan *plan, const char *path, size_t len)
{
    for (unsigned i = 0; i < plan->folders; i++) {
        size_t folder_len = strlen(plan->folder[i]);

        if (folder_len < len && strncmp(plan->folder[i], path, folder_len) == 0 &&
            (path[folder_len] == '/' || folder_len == 1))
            return 1;
    }
    return 0;
}

static int is_server_text(const char *endpoint)
{
    size_t len;
    const char *mode = find_option(endpoint, "mode", &len);

    return mode != NULL && len == strlen("server") && strncmp(mode, "server", len) == 0;
}

static int allows_kind(const struct sandbox_plan *plan, const char *endpoint, unsigned needs,
                       struct error *err)
{
    int len = (int)strcspn(endpoint, ":");

    if ((needs & ~plan->needs) == 0)
        return 0;
    return error_set(err, EPERM,
                     "the sandbox lets this daemon open no endpoint %.*s, because none was there "
                     "when it started; start it with --sandbox-allow %.*s",
                     len, endpoint, len, endpoint);
}

static int allows_place(const struct sandbox_plan *plan, const char *endpoint, unsigned needs,
                        struct error *err)
{
    size_t len;
    const char *path = find_option(endpoint, "path", &len);

    if ((needs & NEED_STREAM) && path != NULL && is_server_text(endpoint) &&
        !is_in_folder(plan, path, len))
        return error_set(err, EPERM,
                         "the sandbox lets this daemon make no socket at %.*s; start it with "
                         "--sandbox-allow and the folder",
                         (int)len, path);
    if ((needs & NEED_TAP) && !(plan->needs & NEED_NETNS) &&
        find_option(endpoint, "netns", &len) != NULL)
        return error_set(err, EPERM,
                         "the sandbox keeps this daemon in its network namespace; start it with "
                         "--sandbox-allow netns");
    return 0;
}

int sandbox_plan_allows(const struct sandbox_plan *plan, const char *endpoint, struct error *err)
{
    unsigned needs = sandbox_plan_of_kind(endpoint, strcspn(endpoint, ":"));
    int ret;

    needs &= ~(unsigned)NEED_LOW_PORT; /* most ports are not */
    if (is_server_text(endpoint))
        needs &= ~(unsigned)NEED_CONNECT;
    ret = allows_kind(plan, endpoint, needs, err);
    return ret == 0 ? allows_place(plan, endpoint, needs, err) : ret;
}

void sandbox_plan_clear(struct sandbox_plan *plan)
{
    for (unsigned i = 0; i < plan->folders; i++)
        free(plan->folder[i]);
    free(plan->folder);
    *plan = (struct sandbox_plan){0};
}
