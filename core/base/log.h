/* log.h - lines for people, to one stream, from the top of the program only.
 *
 * What it is for. Libraries return statuses; the program that called them says what happened.
 * A line is "HH:MM:SS role text" and goes out in one write.
 *
 * Invariants.
 *   1. One call, one line, one write: lines of several threads never mix. */
#ifndef TR_BASE_LOG_H
#define TR_BASE_LOG_H

enum tr_log_level { TR_LOG_QUIET, TR_LOG_WARN, TR_LOG_INFO, TR_LOG_DEBUG };

struct tr_log {
    const char *name; /* who speaks: "policy", "coordinator" */
    int fd;           /* where to, usually 2 */
    enum tr_log_level level;
};

void tr_log_warn(const struct tr_log *log, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Each line of the text by itself. */
void tr_log_warn_lines(const struct tr_log *log, const char *text);
void tr_log_info(const struct tr_log *log, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void tr_log_debug(const struct tr_log *log, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
