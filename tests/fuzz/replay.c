/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over files, for builds without libFuzzer: corpora and regressions are tests
 * like any other. Arguments are files or folders of files; a file that breaks a promise ends the
 * program.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum {
    PATH_MAX_LEN = 4096,
    INPUT_MAX = 1 << 20,
};

static unsigned replayed;

static int replay_file(const char *path)
{
    static uint8_t room[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    uint8_t *exact;
    size_t len;

    if (file == NULL) {
        printf("Bail out! %s can't be read\n", path);
        return 1;
    }
    len = fread(room, 1, sizeof(room), file);
    fclose(file);
    exact = malloc(len + 1); /* a read behind the input's end is seen by the sanitizer */
    if (exact == NULL)
        return 1;
    memcpy(exact + 1, room, len);
    fprintf(stderr, "%s: %zu bytes\n", path, len);
    LLVMFuzzerTestOneInput(exact + 1, len);
    free(exact);
    printf("ok %u - %s\n", ++replayed, path);
    return 0;
}

static int replay_folder(const char *path)
{
    struct dirent **entry;
    int count = scandir(path, &entry, NULL, alphasort);
    int failed = 0;

    for (int i = 0; i < count; i++) {
        char name[PATH_MAX_LEN];

        snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name);
        if (entry[i]->d_name[0] != '.')
            failed |= replay_file(name);
        free(entry[i]);
    }
    if (count >= 0)
        free(entry);
    return failed;
}

int main(int argc, char **argv)
{
    struct stat status;
    int failed = 0;

    for (int i = 1; i < argc; i++) {
        if (stat(argv[i], &status) < 0) {
            failed |= errno != ENOENT; /* a target without regressions has no folder of them */
            continue;
        }
        failed |= S_ISDIR(status.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("1..%u\n", replayed);
    return failed || replayed == 0;
}
