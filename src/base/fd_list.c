/* SPDX-License-Identifier: MIT */
#include "base/fd_list.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/fd.h"

enum {
    CAPACITY_FIRST = 16
};

uint16_t fd_list_add(struct fd_list *list, int fd)
{
    if (fd < 0 || list->failed)
        return FD_LIST_NONE;
    if (list->count == list->capacity) {
        unsigned capacity = MAX(2 * list->capacity, (unsigned)CAPACITY_FIRST);
        int *grown = realloc(list->fd, capacity * sizeof(*grown));

        list->failed = grown == NULL || capacity > FD_LIST_NONE;
        if (grown != NULL)
            list->fd = grown;
        if (list->failed)
            return FD_LIST_NONE;
        list->capacity = capacity;
    }
    list->fd[list->count] = fd;
    return (uint16_t)list->count++;
}

int fd_list_take(struct fd_list *list, uint16_t place, int *ret_fd)
{
    *ret_fd = -1;
    if (place == FD_LIST_NONE)
        return 0;
    if (place >= list->count || list->fd[place] < 0)
        return -EBADF;
    *ret_fd = fd_take(&list->fd[place]);
    return 0;
}

void fd_list_free(struct fd_list *list)
{
    free(list->fd);
    *list = (struct fd_list){0};
}

void fd_list_close(struct fd_list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        fd_close(&list->fd[i]);
    fd_list_free(list);
}
