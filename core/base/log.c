#include "core/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 4, 0))) static void say(const struct tr_log *log,
                                                      enum tr_log_level level,
                                                      const char *mark, const char *fmt,
                                                      va_list ap)
{
    char line[1024];
    struct tm tm;
    if (!log || level > log->level) return;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    int n = snprintf(line, sizeof line, "%02d:%02d:%02d %s %s", tm.tm_hour, tm.tm_min,
                     tm.tm_sec, log->name, mark);
    if (n < 0 || (size_t)n >= sizeof line - 1) return;
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt,
                      ap); // NOLINT(clang-analyzer-valist.*)
    if (m < 0) return;
    size_t size = (size_t)n + (size_t)m;
    if (size > sizeof line - 2) size = sizeof line - 2;
    line[size++] = '\n';
    /* A log that cannot be written has nobody to tell. */
    if (write(log->fd, line, size) < 0) return;
}

void tr_log_warn(const struct tr_log *log, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(log, TR_LOG_WARN, "warning: ", fmt, ap);
    va_end(ap);
}

void tr_log_warn_lines(const struct tr_log *log, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        tr_log_warn(log, "%.*s", (int)n, text);
        text += n + (text[n] != 0);
    }
}

void tr_log_info(const struct tr_log *log, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(log, TR_LOG_INFO, "", fmt, ap);
    va_end(ap);
}

void tr_log_debug(const struct tr_log *log, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(log, TR_LOG_DEBUG, "", fmt, ap);
    va_end(ap);
}
