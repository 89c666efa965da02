/* SPDX-License-Identifier: MIT */
#include "daemon/sandbox_privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/checked.h"
#include "daemon/shown.h"

static const struct {
    unsigned capability;
    unsigned needs; /* any of these */
} kept[] = {
    {CAP_NET_ADMIN, NEED_TAP | NEED_NETNS},
    {CAP_SYS_ADMIN, NEED_NETNS}, /* setns(2) asks for it */
    {CAP_NET_BIND_SERVICE, NEED_LOW_PORT},
    {CAP_DAC_OVERRIDE, NEED_CONNECT}, /* root connects to sockets of others */
};

const char *sandbox_privileges_missing(void)
{
    return NULL;
}

static int become(const struct passwd *user)
{
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || initgroups(user->pw_name, user->pw_gid) < 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0)
        return -errno;
    /* The permitted ones were kept; now they work again, until sandbox_privileges_drop(). */
    capng_get_caps_process();
    for (int i = 0; i <= CAP_LAST_CAP; i++) {
        if (capng_have_capability(CAPNG_PERMITTED, (unsigned)i))
            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE, (unsigned)i);
    }
    prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    return capng_apply(CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

int sandbox_privileges_become(const char *user, struct error *err)
{
    const struct passwd *found = getpwnam(user);
    char shown[SHOWN_LEN];
    int ret;

    shown_text(user, shown);
    if (found == NULL)
        return error_set(err, EINVAL,
                         "--user: there is no user \"%s\"; make it (useradd --system) or name one "
                         "that `getent passwd` shows",
                         shown);
    ret = become(found);
    if (ret == 0)
        return 0;
    return error_set(err, -ret, "--user: can't become %s (%s); start the daemon as root", shown,
                     strerror(-ret));
}

/* The bounding set is what a program could get by executing another; emptying it takes a capability
 * itself, and without one there is nothing to get. */
int sandbox_privileges_drop(const struct sandbox_plan *plan, enum sandbox_role role)
{
    const capng_type_t both = (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    unsigned keep = 0;
    int may_bound;

    if (capng_get_caps_process() < 0)
        return -EIO;
    may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    for (size_t i = 0; role == SANDBOX_CONTROL && i < ARRAY_COUNT(kept); i++)
        if ((kept[i].needs & plan->needs) &&
            capng_have_capability(CAPNG_PERMITTED, kept[i].capability))
            keep |= 1u << i;
    capng_clear(CAPNG_SELECT_BOTH);
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++)
        if (keep & 1u << i)
            capng_update(CAPNG_ADD, both, kept[i].capability);
    return capng_apply(may_bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) < 0 ? -EPERM : 0;
}

void sandbox_privileges_show(char ret_text[PRIVILEGES_TEXT_LEN])
{
    size_t used = 0;

    capng_get_caps_process();
    strcpy(ret_text, "none");
    for (int i = 0; i <= CAP_LAST_CAP && used < PRIVILEGES_TEXT_LEN; i++) {
        if (capng_have_capability(CAPNG_EFFECTIVE, (unsigned)i))
            used += (size_t)snprintf(ret_text + used, PRIVILEGES_TEXT_LEN - used, "%s%s",
                                     used == 0 ? "" : " ", capng_capability_to_name((unsigned)i));
    }
}
