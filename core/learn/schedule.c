#include "core/learn/schedule.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "kernels/real.h"

static const double pi = 3.14159265358979323846;

/* The peer's names in the order of enum tr_schedule_kind. */
static const char *const names[] = {
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "warmup_stable_decay",
};
enum { TR_SCHEDULES = sizeof names / sizeof *names };

enum tr_status tr_schedule_named(const char *name, struct tr_schedule *out,
                                 struct tr_err *err)
{
    *out = (struct tr_schedule){.cycles = 0.5,
                                .power = 1,
                                .lr_end = 1e-7,
                                .stable = -1,
                                .decay = -1,
                                .down = TR_SHAPE_COSINE};
    for (int i = 0; i < TR_SCHEDULES; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        out->kind = (enum tr_schedule_kind)i;
        if (out->kind == TR_COSINE_WITH_RESTARTS) out->cycles = 1;
        return TR_OK;
    }
    return tr_err_set(err, TR_BADARG,
                      "lr_scheduler_type: found %s, expected linear, cosine, "
                      "cosine_with_restarts, polynomial, constant, constant_with_warmup, "
                      "inverse_sqrt, cosine_with_min_lr or warmup_stable_decay",
                      name);
}

enum tr_status tr_schedule_set(struct tr_schedule *c, const char *key, double value,
                               struct tr_err *err)
{
    const struct {
        const char *name;
        double *field;
    } row[] = {
        {"num_cycles", &c->cycles},       {"power", &c->power},
        {"lr_end", &c->lr_end},           {"timescale", &c->timescale},
        {"min_lr_rate", &c->min_ratio},   {"min_lr_ratio", &c->min_ratio},
        {"num_stable_steps", &c->stable}, {"num_decay_steps", &c->decay},
    };
    if (!(value >= 0 && value < 1e15))
        return tr_err_set(err, TR_BADARG, "lr_scheduler_kwargs: %s: found %g", key,
                          value);
    if (!strcmp(key, "min_lr")) {
        c->min_ratio = c->lr > 0 ? value / c->lr : 0;
        return TR_OK;
    }
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        if (strcmp(key, row[i].name) != 0) continue;
        *row[i].field = value;
        return TR_OK;
    }
    return tr_err_set(err, TR_BADARG, "lr_scheduler_kwargs: %s is not known", key);
}

enum tr_status tr_schedule_set_shape(struct tr_schedule *c, const char *key,
                                     const char *shape, struct tr_err *err)
{
    static const char *const shapes[] = {"linear", "cosine", "1-sqrt"};
    enum tr_schedule_shape *field = !strcmp(key, "warmup_type")  ? &c->up
                                    : !strcmp(key, "decay_type") ? &c->down
                                                                 : NULL;
    if (!field)
        return tr_err_set(err, TR_BADARG,
                          "lr_scheduler_kwargs: %s: found \"%s\", expected a number", key,
                          shape);
    for (int i = 0; i < 3; i++) {
        if (strcmp(shape, shapes[i]) != 0) continue;
        *field = (enum tr_schedule_shape)i;
        return TR_OK;
    }
    return tr_err_set(err, TR_BADARG,
                      "lr_scheduler_kwargs: %s: found %s, expected linear, cosine or "
                      "1-sqrt",
                      key, shape);
}

const char *tr_schedule_name(enum tr_schedule_kind kind)
{
    return names[kind];
}

int64_t tr_schedule_warmup(int64_t warmup_steps, double warmup_ratio, int64_t total)
{
    if (warmup_steps > 0) return warmup_steps;
    return (int64_t)ceil(warmup_ratio * (double)total);
}

static double wave(double x)
{
    return 0.5 * (1 + tr_cos(pi * x));
}

/* From the floor to 1 or back, p of the way. */
static double on_the_way(const struct tr_schedule *c, enum tr_schedule_shape shape,
                         double p, bool down)
{
    double f = down ? 1 - p : p;
    if (shape == TR_SHAPE_COSINE) f = down ? wave(2 * c->cycles * p) : 1 - wave(p);
    if (shape == TR_SHAPE_SQRT) f = 1 - sqrt(down ? p : 1 - p);
    return fmax(0, f * (1 - c->min_ratio) + c->min_ratio);
}

/* Up from the floor, then 1, then down to it. */
static double stable_then_decay(const struct tr_schedule *c, int64_t s)
{
    double rest = (double)(c->total - c->warmup);
    double stable = c->stable >= 0 ? c->stable : floor(rest / 3);
    double decay = c->decay >= 0 ? c->decay : rest - floor(rest / 3);
    double into = (double)(s - c->warmup) - stable;
    if (s < c->warmup) return on_the_way(c, c->up, (double)s / (double)c->warmup, false);
    if (into < 0) return 1;
    if (into >= decay) return c->min_ratio;
    return on_the_way(c, c->down, into / fmax(1, decay), true);
}

static double inverse_sqrt(const struct tr_schedule *c, int64_t s)
{
    double w = (double)c->warmup;
    double ts = c->timescale > 0 ? c->timescale : w > 0 ? w : 10000;
    return 1 / sqrt(((double)s + ts - w) / ts);
}

static double polynomial(const struct tr_schedule *c, int64_t s, double p)
{
    if (s > c->total) return c->lr_end / c->lr;
    double rest = 1 - p;
    double shaped = c->power == 1 ? rest : rest > 0 ? tr_exp(c->power * tr_log(rest)) : 0;
    return ((c->lr - c->lr_end) * shaped + c->lr_end) / c->lr;
}

double tr_schedule_factor(const struct tr_schedule *c, int64_t s)
{
    int64_t w = c->warmup;
    int64_t length = c->total > w ? c->total - w : 1;
    double p = (double)(s - w) / (double)length;
    if (c->kind == TR_CONSTANT) return 1;
    if (c->kind == TR_WARMUP_STABLE_DECAY) return stable_then_decay(c, s);
    if (s < w) return (double)s / (double)w;
    switch (c->kind) {
    case TR_LINEAR:
        return fmax(0, (double)(c->total - s) / (double)length);
    case TR_COSINE:
        return fmax(0, wave(2 * c->cycles * p));
    case TR_COSINE_WITH_RESTARTS:
        return p >= 1 ? 0 : fmax(0, wave(c->cycles * p - floor(c->cycles * p)));
    case TR_POLYNOMIAL:
        return polynomial(c, s, p);
    case TR_INVERSE_SQRT:
        return inverse_sqrt(c, s);
    case TR_COSINE_WITH_MIN_LR:
        return fmax(0, wave(2 * c->cycles * p) * (1 - c->min_ratio) + c->min_ratio);
    case TR_WARMUP_STABLE_DECAY:
    case TR_CONSTANT:
    case TR_CONSTANT_WITH_WARMUP:
        break;
    }
    return 1;
}

double tr_schedule_lr(const struct tr_schedule *c, int64_t step)
{
    return c->lr > 0 ? c->lr * tr_schedule_factor(c, step) : 0;
}
