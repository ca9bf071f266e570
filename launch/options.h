/* options.h - run.yaml and key=value, checked against one table, as the structs of the modules.
 *
 * What it is for. Users bring LLaMA-Factory's configuration as it is. A key that we know and
 * obey is *honoured*; one that cannot change the result (a GPU's settings, another stage's) is
 * *noted* and named in one line at start; one that would change the result in a way that we do not
 * do is *refused* with the setting that would do, unless it is given its inert default. Anything
 * else is an error that suggests the nearest key.
 *
 * The data. launch/options_table.c holds one row for each key: what it is called, of which kind,
 * its default, what values it may have, its status and which field of struct tr_options it
 * fills. The values are JSON, from the file (core/base/yaml.h) and then from the command line.
 *
 * Invariants.
 *   1. Every key of ALGORITHMS.md 11 has a row, with the default stated there.
 *   2. An error names where the value stands, the key, what was expected and what was found.
 *   3. The texts in struct tr_options are borrowed from its own `values`. */
#ifndef TR_LAUNCH_OPTIONS_H
#define TR_LAUNCH_OPTIONS_H

#include <jansson.h>

#include "core/base/buf.h"
#include "core/learn/ppo_rules.h"
#include "core/learn/stage.h"
#include "kernels/exec.h"

enum tr_key_group {
    TR_KEY_FINETUNING,
    TR_KEY_TRAINING,
    TR_KEY_DATA,
    TR_KEY_MODEL,
    TR_KEY_GENERATING,
    TR_KEY_OWN,
};

enum tr_key_kind {
    TR_KEY_BOOL, /* bool */
    TR_KEY_TRI,  /* int: -1 null, 0, 1 */
    TR_KEY_INT,  /* int64_t; null is -1 */
    TR_KEY_REAL, /* double; null is 0 */
    TR_KEY_TEXT, /* const char *; null is NULL */
    TR_KEY_WORD, /* int: the place in `words`, those marked ! included */
    TR_KEY_MAP,  /* json_t *; null is NULL */
    TR_KEY_ANY,  /* anything: noted and refused keys only */
};

enum tr_key_status { TR_KEY_HONOURED, TR_KEY_NOTED, TR_KEY_REFUSED };

struct tr_key {
    const char *name;
    enum tr_key_group group;
    enum tr_key_kind kind;
    enum tr_key_status status;
    const char *otherwise; /* the default as YAML; NULL is null */
    double lo, hi;         /* INT and REAL */
    const char *words; /* WORD: "pt sft rm !dpo": with ! known and refused, for `why` */
    const char *why;   /* what to do instead, or what will bring it */
    size_t at;         /* honoured: offset in struct tr_options */
};

/* The table. */
const struct tr_key *tr_key_row(size_t i); /* NULL past the end */
const struct tr_key *tr_key_find(const char *name);
const char *tr_key_nearest(
    const char *name); /* by edit distance; NULL when none is near */

struct tr_model_options {
    const char *path; /* model_name_or_path */
    bool from_scratch, bf16;
    bool never_recompute; /* disable_gradient_checkpointing */
    int recompute;        /* gradient_checkpointing: -1 as memory asks, 0, 1 */
};

struct tr_output_options {
    const char *dir;
    bool overwrite;
    const char *resume;               /* a path, or NULL */
    bool resume_last;                 /* resume_from_checkpoint: true */
    double logging_steps, save_steps; /* below 1: a share of all steps */
    bool logging_first;
    int save_strategy;  /* enum tr_save_strategy */
    int64_t save_limit; /* -1: all */
    bool save_only_model;
    bool plot_loss;
};
enum tr_save_strategy { TR_SAVE_NO, TR_SAVE_STEPS, TR_SAVE_EPOCH };

struct tr_exec_options {
    int math;        /* enum tr_math */
    int64_t threads; /* -1: as many as the process may use */
    int64_t gradient_groups;
};

/* PPO beyond what the other stages know: ppo_open.c makes the plan's structs of it. */
struct tr_ppo_options {
    const char *ref_model, *reward_model;
    int reward_type; /* 0: full */
    int64_t buffer, epochs;
    bool score_norm, whiten_rewards, whiten_scores, kl_adaptive;
    double target, kl_coef, kl_horizon, gamma, lam, cliprange, cliprange_value;
    double score_clip, stop_penalty, ratio_threshold;
    const char *kl_penalty, *loss_mean;
    int64_t staleness;
    double snapshot_seconds; /* between two snapshots; 0: by steps alone */
    int64_t snapshot_steps;  /* -1: by time alone */
    const char *eval_dataset;
    double val_size;
    int64_t eval_steps; /* -1: at the start and the end */
};

struct tr_generate_options {
    bool sample;
    double temperature, top_p, repetition_penalty;
    int64_t top_k, max_new_tokens;
};

/* Steps and rates as the file says them, before the plan is made. */
struct tr_step_options {
    int64_t batch, accumulation, max_steps, warmup_steps, data_seed, seed;
    double epochs, warmup_ratio;
    bool drop_last, in_order;
    const char *scheduler;
    json_t *scheduler_kwargs;
};

struct tr_options {
    int stage; /* enum tr_stage */
    int tuning;
    int compat; /* 1: llamafactory-0.9.3 */
    struct tr_model_options model;
    struct tr_examples_options data;
    struct tr_step_options steps;
    struct tr_update update;
    struct tr_output_options output;
    struct tr_exec_options exec;
    struct tr_kto kto;
    struct tr_ppo_options ppo; /* its ref_model is kto's too */
    struct tr_generate_options generate;
    json_t *roles;
    json_t *resume; /* resume_from_checkpoint as given: a path or true */
    json_t *values; /* owns: every key that was given, in order */
};

/* Reads the file (NULL: none), then `assignments` ("key=value"), and checks everything. The keys
 * that were noted are appended to notes, one line. The caller owns *out (tr_options_fini). */
enum tr_status tr_options_load(const char *path, char *const *assignments, int n,
                               struct tr_options *out, struct tr_buf *notes,
                               struct tr_err *err);
void tr_options_fini(struct tr_options *o);

/* All honoured keys with the values in force, in the table's order: what run.yaml in the output
 * folder says. */
enum tr_status tr_options_text(const struct tr_options *o, struct tr_buf *out,
                               struct tr_err *err);

/* What the stage plan is made from. */
enum tr_status tr_options_stage(const struct tr_options *o, struct tr_stage_options *out,
                                struct tr_err *err);
/* What PPO's arithmetic depends on: of a file that says nothing about it, tr_ppo_defaults. */
enum tr_status tr_options_ppo_rules(const struct tr_options *o, struct tr_ppo_rules *r,
                                    struct tr_err *err);

#endif
