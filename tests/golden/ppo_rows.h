/* ppo_rows.h - the peers' padded PPO arrays [B, T - 1] and our samples.
 *
 * Place t of a peer's row is the act of saying token t + 1, so an answer that begins at token
 * `from` stands at places from - 1 .. T - 2 of it; all others are masked. Numbers of several
 * samples lie end to end here, one for each answer token. */
#ifndef TR_GOLDEN_PPO_ROWS_H
#define TR_GOLDEN_PPO_ROWS_H

#include "actors/evaluator.h"
#include "core/learn/rollouts.h"
#include "tests/golden/golden.h"

struct tr_ppo_rows {
    struct tr_ppo_sample *s; /* owns when opened, else borrows */
    int64_t n;               /* rows */
    int64_t L;               /* places of a peer's row */
    bool picked;             /* row i is sample pick[i], else sample i */
    int64_t pick[256];
};

/* The samples of a step with its queries, responses and scores; stop: the id that ends an answer. The
 * peer's PREFIX.input_ids, .attention_mask and .masks are compared (a case each). */
bool tr_ppo_rows_open(struct tr_golden *g, const char *name, const json_t *step,
                      const struct tr_st *f, const char *prefix, struct tr_ppo_rows *out);
void tr_ppo_rows_close(struct tr_ppo_rows *r);

/* `count` of these rows in the order of list, from its element `first` on; borrows r's samples. */
struct tr_ppo_rows tr_ppo_rows_pick(const struct tr_ppo_rows *r, const json_t *list,
                                    int64_t first, int64_t count);

const struct tr_ppo_sample *tr_ppo_row(const struct tr_ppo_rows *r, int64_t i);
int64_t tr_ppo_rows_tokens(const struct tr_ppo_rows *r); /* of answers */

/* An array of the samples, by offsetof, end to end and back. gather: malloc, the caller frees. */
float *tr_ppo_rows_gather(const struct tr_ppo_rows *r, size_t member);
void tr_ppo_rows_scatter(const struct tr_ppo_rows *r, size_t member, const float *from);

/* Log-probs or values of the answers; with a reference, how far e is from it. The caller frees;
 * NULL and a failed case when it could not be done. */
float *tr_ppo_rows_judge(struct tr_golden *g, const char *name, struct tr_evaluator *e,
                         struct tr_evaluator *reference, enum tr_unit_kind kind,
                         const struct tr_ppo_rows *r);

/* The unmasked places of a tensor [n, L] end to end; the caller frees; NULL and a failed case. */
float *tr_ppo_rows_read(struct tr_golden *g, const char *name, const struct tr_st *f,
                        const char *tensor, const struct tr_ppo_rows *r);

/* One case, NAME/WHAT: number against the tensor, differences divided by max(1, |want|) when
 * `relative`. */
void tr_ppo_rows_case(struct tr_golden *g, const char *name, const char *what,
                      const struct tr_st *f, const char *tensor,
                      const struct tr_ppo_rows *r, const float *number, double tolerance,
                      bool relative);

/* |got - want| / max(1, |want|), Inf when want is no number or either is NaN. */
double tr_ppo_off(double got, const json_t *want);

#endif
