/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    LOG_LINE_LEN = 1024,
    LOG_LIMIT_BURST = 10,
};

static _Atomic int log_threshold = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

static struct {
    log_sink *line; /* NULL: stderr */
    void *context;  /* borrowed */
} sink;

void log_set_sink(log_sink *line, void *context)
{
    sink.line = line;
    sink.context = context;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error: ";
    case LOG_LEVEL_WARNING:
        return "warning: ";
    case LOG_LEVEL_DEBUG:
        return "debug: ";
    case LOG_LEVEL_INFO:
        break;
    }
    return "";
}

/* sd-daemon(3): the variable names the device and inode of the stream that goes to the journal; it
 * is inherited by programs whose stderr goes elsewhere. */
static int stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[LOG_LINE_LEN];
    char line[LOG_LINE_LEN + 64];
    va_list args;
    int len;

    if ((int)level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (sink.line != NULL) {
        sink.line(sink.context, (int)level, text);
        return;
    }
    if (stderr_is_journal())
        len = snprintf(line, sizeof(line), "<%d>%s\n", (int)level, text);
    else
        len = snprintf(line, sizeof(line), "vionic: %s%s\n", level_name(level), text);
    /* One write, so that lines of several threads don't mix; a lost log line is nobody's fault. */
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        return;
}

int log_limit_pass(struct log_limit *limit)
{
    uint64_t now = clock_now_ns();

    if (limit->window_start_ns == 0 || now - limit->window_start_ns > 10 * CLOCK_SECOND_NS) {
        if (limit->suppressed != 0)
            log_line(LOG_LEVEL_WARNING, "%u similar lines were left out", limit->suppressed);
        *limit = (struct log_limit){.window_start_ns = now};
    }
    if (limit->used >= LOG_LIMIT_BURST) {
        limit->suppressed++;
        return 0;
    }
    limit->used++;
    return 1;
}
