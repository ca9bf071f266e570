/* progress.h - the line that says how a run is doing.
 *
 * What it is for. On a terminal one line is written over itself; anywhere else a plain line
 * appears at every entry of the log. Both say step, loss, tokens a second and time left.
 *
 * Invariants.
 *   1. A terminal's line is cut to the width that is given, so it never wraps. */
#ifndef TR_WATCH_PROGRESS_H
#define TR_WATCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct tr_progress_line {
    int fd;
    bool terminal;
    bool open; /* a line without its end stands on the terminal */
};

struct tr_progress_facts {
    const char *stage;
    int64_t step, total;
    double loss, epoch, tokens_per_second, seconds_left;
    int64_t skipped;
};

struct tr_progress_line tr_progress_line_on(int fd);

/* At every step; writes on a terminal only. */
void tr_progress_line_step(struct tr_progress_line *p, const struct tr_progress_facts *f);
/* At every entry of the log; writes elsewhere only. */
void tr_progress_line_entry(struct tr_progress_line *p,
                            const struct tr_progress_facts *f);
/* Before other text goes to the same terminal, and at the end. */
void tr_progress_line_break(struct tr_progress_line *p);

#endif
