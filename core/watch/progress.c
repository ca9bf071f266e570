#include "core/watch/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/watch/trainer_log.h"

struct tr_progress_line tr_progress_line_on(int fd)
{
    return (struct tr_progress_line){.fd = fd, .terminal = isatty(fd)};
}

static void describe(const struct tr_progress_facts *f, char *out, size_t size)
{
    char left[32];
    char skipped[48] = "";
    tr_clock_text(f->seconds_left, left, sizeof left);
    if (f->skipped)
        snprintf(skipped, sizeof skipped, "  skipped %lld", (long long)f->skipped);
    snprintf(out, size,
             "%s  step %lld/%lld  epoch %.2f  loss %.4f  %.0f tokens/s%s  %s left",
             f->stage, (long long)f->step, (long long)f->total, f->epoch, f->loss,
             f->tokens_per_second, skipped, left);
}

static void put(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n <= 0) return; /* nobody reads: the run goes on */
        text += n;
        left -= (size_t)n;
    }
}

static size_t width_of(int fd)
{
    struct winsize w;
    return !ioctl(fd, TIOCGWINSZ, &w) && w.ws_col > 1 ? w.ws_col - 1U : 79U;
}

void tr_progress_line_step(struct tr_progress_line *p, const struct tr_progress_facts *f)
{
    char text[256];
    char line[280];
    if (!p->terminal) return;
    describe(f, text, sizeof text);
    size_t width = width_of(p->fd);
    if (width < sizeof text) text[width] = 0;
    snprintf(line, sizeof line, "\r%s\033[K", text);
    put(p->fd, line);
    p->open = true;
}

void tr_progress_line_entry(struct tr_progress_line *p, const struct tr_progress_facts *f)
{
    char text[256];
    if (p->terminal) return;
    describe(f, text, sizeof text - 1);
    size_t n = strlen(text);
    text[n] = '\n';
    text[n + 1] = 0;
    put(p->fd, text);
}

void tr_progress_line_break(struct tr_progress_line *p)
{
    if (p->open) put(p->fd, "\n");
    p->open = false;
}
