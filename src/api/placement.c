/* SPDX-License-Identifier: MIT */
#include "api/placement.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/number_list.h"

enum {
    CPUS_SHOWN_LEN = 128
};

/* As a list of ranges. */
static void cpus_show(const cpu_set_t *set, char ret_text[CPUS_SHOWN_LEN])
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (int cpu = 0; cpu < CPU_SETSIZE && used < CPUS_SHOWN_LEN - 16; cpu++) {
        int last = cpu;

        if (!CPU_ISSET(cpu, set))
            continue;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        used += (size_t)snprintf(ret_text + used, CPUS_SHOWN_LEN - used,
                                 last == cpu ? "%s%d" : "%s%d-%d", used == 0 ? "" : ",", cpu, last);
        cpu = last;
    }
}

int placement_cpus(const char *text, unsigned ret_cpus[PLACEMENT_CPUS_MAX], struct error *err)
{
    char allowed[CPUS_SHOWN_LEN];
    cpu_set_t set;
    int count = number_list_parse(text, UINT16_MAX, ret_cpus, PLACEMENT_CPUS_MAX);

    if (count < 0)
        return error_set(err, EINVAL, "cpus: \"%s\" is no list of CPUs; write one such as 0-1,4",
                         text);
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return error_set(err, errno, "cpus: this thread's CPUs can't be read: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        if (ret_cpus[i] < CPU_SETSIZE && CPU_ISSET(ret_cpus[i], &set))
            continue;
        cpus_show(&set, allowed);
        return error_set(
            err, EINVAL,
            "cpus: CPU %u is not there, or not allowed to this process; choose from %s",
            ret_cpus[i], allowed);
    }
    return count;
}

int placement_workers(const char *text, unsigned workers, struct worker_wish *ret_wish,
                      struct error *err)
{
    unsigned list[WORKERS_MAX];
    int count = number_list_parse(text, UINT16_MAX, list, WORKERS_MAX);

    *ret_wish = (struct worker_wish){0};
    if (count < 0)
        return error_set(err, EINVAL,
                         "workers: \"%s\" is neither a count nor a list; write one such as 2, 0-1 "
                         "or 3-3",
                         text);
    if (strpbrk(text, "-,+") == NULL) {
        if (list[0] == 0 || list[0] > workers)
            return error_set(err, EINVAL,
                             "workers: a count is 1 to %u here, not %u (worker %u alone is "
                             "written %u-%u)",
                             workers, list[0], list[0], list[0], list[0]);
        ret_wish->most = list[0];
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (list[i] >= workers)
            return error_set(err, EINVAL, "workers: there is no worker %u; choose from 0 to %u",
                             list[i], workers - 1);
        ret_wish->among |= 1ull << list[i];
    }
    return 0;
}
