/* SPDX-License-Identifier: MIT */
/*
 * Log lines on stderr. Under journald (JOURNAL_STREAM is set) each line carries the "<N>" priority
 * prefix that sd-daemon(3) defines. Never called on the data path; whatever a guest or front-end
 * can provoke at will goes through a log_limit.
 */
#pragma once

#include <stdint.h>

enum log_level { /* the syslog numbers */
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* Lines of a greater number than `level` are not printed. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/* Where lines go instead of stderr; NULL: stderr again. Before there are threads that log. */
typedef void log_sink(void *context, int level, const char *text);
void log_set_sink(log_sink *sink, void *context);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most `burst` lines a window of ten seconds; zero-initialised is a valid limit of ten. */
struct log_limit {
    uint64_t window_start_ns;
    uint32_t used;
    uint32_t suppressed;
};

/* 1 if a line may be printed now, else 0 (and it is counted as suppressed). */
int log_limit_pass(struct log_limit *limit);
