/* examples.h - a dataset as token ids: what a stage trains on.
 *
 * What it is for. dataset_info.json names files; readers give canonical records; a template and
 * the truncation rule give ids and labels (ALGORITHMS.md 2 to 5). The result is plain arrays
 * that the plan cuts into steps.
 *
 * The data. An example has one sequence (pt, sft, ppo's prompts) or two: chosen and rejected (rm,
 * dpo); the target and its twin (kto: the same prompt with the answer of another example); the
 * prompt and the dataset's answer, which nobody reads (ppo under compat). A sequence is ids and
 * labels of the same length; label TR_IGNORE is not trained.
 *
 * Invariants.
 *   1. Examples are in file order, datasets in the order named: shuffling belongs to the plan.
 *   2. label[i] is ids[i] or TR_IGNORE. */
#ifndef TR_TEXT_EXAMPLES_H
#define TR_TEXT_EXAMPLES_H

#include "core/text/tokenizer.h"

enum { TR_IGNORE = -100 };

enum tr_stage { TR_PT, TR_SFT, TR_RM, TR_DPO, TR_KTO, TR_PPO };

struct tr_sequence {
    int64_t count;
    int32_t *id;    /* [count] */
    int32_t *label; /* [count] */
};

struct tr_example {
    int n;          /* sequences: 1 or 2 */
    bool desirable; /* kto: the mark */
    struct tr_sequence seq[2];
};

struct tr_examples; /* owns everything in it */

struct tr_examples_options {
    enum tr_stage stage;
    const char *dataset;        /* comma list of names in dataset_info.json */
    const char *dataset_dir;    /* "data" */
    const char *template_name;  /* NULL: as ALGORITHMS.md 3.2 for `template: null` */
    const char *default_system; /* NULL: the template's */
    int64_t cutoff_len;
    int64_t max_samples; /* 0: all */
    int64_t preprocessing_batch_size;
    int packing; /* -1: unset (pt packs), 0, 1 (block size C - 1 under compat, else C) */
    bool train_on_prompt;
    bool compat; /* llamafactory-0.9.3: quirks 7, 10, 17, 19, 20 the peer's way */
};

/* Loads, renders and tokenises. Notes for the user (dropped records, missing columns) are
 * appended to notes, a line each. The tokenizer's special tokens are repaired as the template
 * asks. TR_BADARG names dataset, file, record and field. */
enum tr_status tr_examples_load(const struct tr_examples_options *o,
                                struct tr_tokenizer *t, struct tr_examples **out,
                                struct tr_buf *notes, struct tr_err *err);
int64_t tr_examples_count(const struct tr_examples *e);
const struct tr_example *tr_examples_get(const struct tr_examples *e, int64_t i);
int64_t tr_examples_longest(
    const struct tr_examples *e); /* tokens of the longest sequence (ppo: prompt) */
void tr_examples_destroy(struct tr_examples *e);

/* The truncation rule of ALGORITHMS.md 4.1. */
void tr_fit(int64_t prompt, int64_t answer, int64_t cutoff, int64_t *keep_prompt,
            int64_t *keep_answer);

#endif
