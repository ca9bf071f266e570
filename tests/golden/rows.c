#include "tests/golden/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tr_rows_fini(struct tr_rows *r)
{
    free(r->token);
    free(r->label);
    free(r->position);
    free(r->place);
    free(r->start);
    free(r->target);
    free(r->wanted);
    *r = (struct tr_rows){0};
}

static bool allocate(struct tr_rows *r)
{
    size_t n = (size_t)(r->B * r->T + 1);
    r->token = calloc(n, sizeof *r->token);
    r->label = calloc(n, sizeof *r->label);
    r->position = calloc(n, sizeof *r->position);
    r->place = calloc(n, sizeof *r->place);
    r->target = calloc(n, sizeof *r->target);
    r->wanted = calloc(n, sizeof *r->wanted);
    r->start = calloc((size_t)r->B + 1, sizeof *r->start);
    return r->token && r->label && r->position && r->place && r->target && r->wanted &&
           r->start;
}

/* The optional tensor PREFIX.WHAT, or NULL. */
static int64_t *optional(struct tr_golden *g, const char *name, const struct tr_st *f,
                         const char *prefix, const char *what)
{
    char key[256];
    int64_t n = 0;
    snprintf(key, sizeof key, "%s.%s", prefix, what);
    return tr_st_find(f, key) ? tr_golden_ids(g, name, f, key, &n) : NULL;
}

static void fill(struct tr_rows *r, const int64_t *ids, const int64_t *mask,
                 const int64_t *labels, const int64_t *positions)
{
    for (int64_t b = 0; b < r->B; b++) {
        r->start[b] = r->n;
        for (int64_t t = 0; t < r->T; t++) {
            int64_t at = b * r->T + t;
            if (!mask[at]) continue;
            r->token[r->n] = (int32_t)ids[at];
            r->label[r->n] = labels ? (int32_t)labels[at] : -100;
            r->position[r->n] = positions ? (int32_t)positions[at] : (int32_t)t;
            r->place[r->n] = at;
            if (r->n > r->start[b] && r->label[r->n] != -100) {
                r->target[r->targets] = r->n - 1;
                r->wanted[r->targets++] = r->label[r->n];
            }
            r->n++;
        }
    }
    r->start[r->B] = r->n;
}

bool tr_rows_read(struct tr_golden *g, const char *name, const struct tr_st *f,
                  const char *prefix, struct tr_rows *out)
{
    char key[256];
    bool good = false;
    *out = (struct tr_rows){0};
    snprintf(key, sizeof key, "%s.input_ids", prefix);
    const struct tr_st_tensor *shape = tr_st_find(f, key);
    int64_t *ids = optional(g, name, f, prefix, "input_ids");
    int64_t *mask = optional(g, name, f, prefix, "attention_mask");
    int64_t *labels = optional(g, name, f, prefix, "labels");
    int64_t *positions = optional(g, name, f, prefix, "position_ids");
    if (!ids || !mask || !shape || shape->rank != 2) {
        tr_golden_fail(g, name, "%s: expected [B, T] and a mask", key);
    } else {
        out->B = shape->shape[0];
        out->T = shape->shape[1];
        good = allocate(out);
        if (good)
            fill(out, ids, mask, labels, positions);
        else
            tr_golden_fail(g, name, "no memory");
    }
    free(ids);
    free(mask);
    free(labels);
    free(positions);
    if (!good) tr_rows_fini(out);
    return good;
}

struct tr_batch tr_rows_batch(const struct tr_rows *r)
{
    return (struct tr_batch){.T = r->n,
                             .S = r->B,
                             .token = r->token,
                             .start = r->start,
                             .position = r->position};
}

int64_t tr_rows_next(const struct tr_rows *r, int64_t *row, int32_t *target)
{
    int64_t n = 0;
    for (int64_t b = 0; b < r->B; b++)
        for (int64_t i = r->start[b]; i + 1 < r->start[b + 1]; i++) {
            row[n] = i;
            target[n++] = r->token[i + 1];
        }
    return n;
}
