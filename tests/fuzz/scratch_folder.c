/* SPDX-License-Identifier: MIT */
#include "scratch_folder.h"

#include <unistd.h>

#include "fuzz.h"

static char folder[] = "/tmp/vionic-fuzz-XXXXXX";
static int made;

static void scratch_remove(void)
{
    rmdir(folder);
}

const char *scratch_folder(void)
{
    if (!made) {
        FUZZ_CHECK(mkdtemp(folder) != NULL, "no folder in /tmp");
        atexit(scratch_remove);
        made = 1;
    }
    return folder;
}
