/* golden.h - one case after another against the numbers of the peers.
 *
 * What it is for. tests/golden/run takes a folder laid out like the fixtures: family, then a
 * part (`given` or another name). Each family has one function that walks a part's files,
 * computes the same with our code, and tells each case's largest error beside its tolerance.
 * Nothing in it knows what the numbers are: other folders of the same layout run as well.
 *
 * Invariants.
 *   1. Every file of a part that names a case is passed, failed, or `later` (its kind stands in
 *      later.c with what will bring it); what is not understood is failed, never passed over. */
#ifndef TR_GOLDEN_H
#define TR_GOLDEN_H

#include <jansson.h>
#include <stdbool.h>

#include "core/model/safetensors.h"
#include "kernels/exec.h"

struct tr_golden {
    const char *dir;     /* what a path that starts with "fixtures/" means */
    const char *data;    /* the folder of the demo datasets */
    const char *smollm2; /* a model folder, or NULL */
    const struct tr_exec *ex;
    int passed, failed, later, skipped;
};

/* One case: `error` is the largest found, in the measure that `tolerance` bounds (0: exact).
 * NaN fails. */
void tr_golden_case(struct tr_golden *g, const char *name, double error,
                    double tolerance);
void tr_golden_fail(struct tr_golden *g, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Is this kind of case in the table of later.c? Then it is told and counted, and true. */
bool tr_golden_later(struct tr_golden *g, const char *name);
void tr_golden_skip(struct tr_golden *g, const char *name, const char *why);

/* max |a - b| over n; places where want is NaN must be NaN. */
double tr_golden_abs(const float *got, const float *want, int64_t n);
/* max |a - b| / max |want| (the largest entry of the tensor). */
double tr_golden_rel(const float *got, const float *want, int64_t n);

/* A tensor of an open file as floats (malloc; the caller frees), its element count in *n; NULL
 * (and a failed case) when it is missing. tr_golden_ids: the same for I64 and I32. */
float *tr_golden_floats(struct tr_golden *g, const char *name, const struct tr_st *f,
                        const char *tensor, int64_t *n);
int64_t *tr_golden_ids(struct tr_golden *g, const char *name, const struct tr_st *f,
                       const char *tensor, int64_t *n);

/* The families. `part` is the folder of one part, `family`/given for example; `name` opens the
 * case names: "F1/given". */
typedef void tr_golden_family(struct tr_golden *g, const char *part, const char *name);
tr_golden_family tr_golden_f0, tr_golden_f1, tr_golden_f2, tr_golden_f3, tr_golden_f4,
    tr_golden_f5, tr_golden_f7, tr_golden_f8, tr_golden_f9, tr_golden_f10;

/* Parts that have a source of their own. */
tr_golden_family tr_golden_f5_standalone, tr_golden_f10_critic, tr_golden_f10_kto;
/* cases: kto_expected.json. */
void tr_golden_f4_kto(struct tr_golden *g, const char *part, const char *name,
                      json_t *cases);

/* DIR/../golden.json: formulas alone. */
void tr_golden_vectors(struct tr_golden *g, const char *path);

#endif
