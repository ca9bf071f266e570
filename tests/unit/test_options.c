/* run.yaml and key=value: what is honoured, noted, refused, and how a mistake is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/base/yaml.h"
#include "launch/options.h"
#include "tests/unit/scratch.h"

/* The least that a run needs. */
#define LEAST                                                                            \
    "model_name_or_path: m\nfinetuning_type: full\ndataset: d\noutput_dir: o\nstage: sft\n"

struct given {
    char dir[SCRATCH_ROOM], path[SCRATCH_ROOM];
    struct tr_options o;
    struct tr_buf notes;
    struct tr_err err;
    enum tr_status st;
};

/* Loads LEAST and `more`, then the assignments up to NULL. */
static void load(struct given *x, const char *more, char *const *assignments)
{
    char text[2048];
    int n = 0;
    *x = (struct given){0};
    scratch_make(x->dir);
    snprintf(text, sizeof text, "%s%s", LEAST, more);
    scratch_text(x->dir, "run.yaml", text);
    scratch_path(x->path, x->dir, "run.yaml");
    tr_buf_init(&x->notes, 1 << 16);
    while (assignments && assignments[n]) n++;
    x->st = tr_options_load(x->path, assignments, n, &x->o, &x->notes, &x->err);
}

static void unload(struct given *x)
{
    if (x->st == TR_OK) tr_options_fini(&x->o);
    tr_buf_fini(&x->notes);
    scratch_remove(x->dir);
}

static void defaults_are_the_peer_s(void **state)
{
    (void)state;
    struct given x;
    load(&x, "", NULL);
    if (x.st != TR_OK) fail_msg("%s", x.err.text);
    const struct tr_options *o = &x.o;
    assert_int_equal(o->stage, TR_SFT);
    assert_int_equal(o->steps.batch, 8);
    assert_int_equal(o->steps.accumulation, 1);
    assert_int_equal(o->steps.max_steps, -1);
    assert_int_equal(o->steps.seed, 42);
    assert_int_equal(o->steps.data_seed, -1);
    assert_true(o->steps.epochs == 3 && o->update.lr == 5e-5);
    assert_true(o->update.beta1 == 0.9 && o->update.beta2 == 0.999);
    assert_true(o->update.eps == 1e-8 && o->update.max_grad_norm == 1);
    assert_true(o->update.weight_decay == 0 && o->steps.warmup_ratio == 0);
    assert_string_equal(o->steps.scheduler, "linear");
    assert_string_equal(o->data.dataset_dir, "data");
    assert_null(o->data.template_name);
    assert_int_equal(o->data.cutoff_len, 2048);
    assert_int_equal(o->data.max_samples, 0);
    assert_int_equal(o->data.packing, -1);
    assert_int_equal(o->data.stage, TR_SFT);
    assert_true(o->output.logging_steps == 500 && o->output.save_steps == 500);
    assert_int_equal(o->output.save_strategy, TR_SAVE_STEPS);
    assert_int_equal(o->output.save_limit, -1);
    assert_false(o->output.overwrite || o->output.resume_last || o->model.bf16);
    assert_int_equal(o->exec.math, TR_MATH_EXACT);
    assert_int_equal(o->exec.threads, -1);
    assert_int_equal(o->compat, 0);
    assert_false(o->update.peer_decay);
    assert_int_equal(x.notes.size, 0);
    unload(&x);
}

static void command_lines_win_over_files(void **state)
{
    (void)state;
    char *const line[] = {"learning_rate=1e-4",
                          "output_dir=2024",
                          "threads=3",
                          "save_strategy=no",
                          "stage=rm",
                          "max_samples=null",
                          "warmup_steps=7",
                          "compat=llamafactory-0.9.3",
                          NULL};
    struct given x;
    struct tr_stage_options stage;
    load(&x,
         "learning_rate: 3\nmax_samples: 5\nwarmup_ratio: 0.5\nlr_scheduler_type: "
         "cosine_with_min_lr\nlr_scheduler_kwargs: {min_lr: 1e-5}\n",
         line);
    if (x.st != TR_OK) fail_msg("%s", x.err.text);
    assert_true(x.o.update.lr == 1e-4);
    assert_string_equal(x.o.output.dir, "2024");
    assert_int_equal(x.o.exec.threads, 3);
    assert_int_equal(x.o.output.save_strategy, TR_SAVE_NO);
    assert_int_equal(x.o.data.max_samples, 0);
    assert_true(x.o.data.compat && x.o.update.peer_decay);
    assert_int_equal(tr_options_stage(&x.o, &stage, NULL), TR_OK);
    assert_int_equal(stage.stage, TR_RM);
    assert_int_equal(stage.warmup_steps, 7);
    assert_true(stage.schedule.kind == TR_COSINE_WITH_MIN_LR);
    assert_true(stage.schedule.min_ratio > 0.0999 && stage.schedule.min_ratio < 0.1001);
    unload(&x);
}

static void kto_s_settings_reach_the_plan(void **state)
{
    (void)state;
    struct given x;
    struct tr_stage_options stage;
    load(&x, "pref_beta: 0.3\npref_ftx: 0.5\nkto_chosen_weight: 1.5\nref_model: r\n",
         (char *const[]){"stage=kto", NULL});
    if (x.st != TR_OK) fail_msg("%s", x.err.text);
    assert_int_equal(tr_options_stage(&x.o, &stage, NULL), TR_OK);
    assert_int_equal(stage.stage, TR_KTO);
    assert_true(stage.kto.beta == 0.3 && stage.kto.ftx == 0.5);
    assert_true(stage.kto.desirable_weight == 1.5 && stage.kto.undesirable_weight == 1);
    assert_string_equal(x.o.ppo.ref_model, "r");
    unload(&x);
}

/* Two tables say what PPO does when nothing is said: the options' and core/learn/ppo_rules.c. */
static bool same_rules(const struct tr_ppo_rules *a, const struct tr_ppo_rules *b)
{
    const double of_a[] = {a->score_clip,     a->stop_penalty,    a->control.coef,
                           a->control.target, a->control.horizon, a->gae.gamma,
                           a->gae.lambda,     a->ratio_threshold, a->clip,
                           a->clip_value};
    const double of_b[] = {b->score_clip,     b->stop_penalty,    b->control.coef,
                           b->control.target, b->control.horizon, b->gae.gamma,
                           b->gae.lambda,     b->ratio_threshold, b->clip,
                           b->clip_value};
    return memcmp(of_a, of_b, sizeof of_a) == 0 && a->scale_scores == b->scale_scores &&
           a->whiten_scores == b->whiten_scores &&
           a->whiten_rewards == b->whiten_rewards &&
           a->whiten_padding == b->whiten_padding && a->kl == b->kl &&
           a->control.adaptive == b->control.adaptive &&
           a->whiten_advantages == b->whiten_advantages && a->mean == b->mean &&
           a->epochs == b->epochs && a->minibatch == b->minibatch &&
           a->micro_batch == b->micro_batch;
}

static void ppo_has_one_set_of_defaults(void **state)
{
    (void)state;
    static const char *const other[] = {NULL, /* nothing is said */
                                        "kl_coef=0.3",
                                        "kl_adaptive=false",
                                        "kl_horizon=9999",
                                        "ppo_target=5",
                                        "kl_penalty=abs",
                                        "gamma=0.9",
                                        "lam=0.9",
                                        "cliprange=0.1",
                                        "cliprange_value=0.1",
                                        "score_clip=1",
                                        "ppo_score_norm=true",
                                        "whiten_scores=true",
                                        "ppo_whiten_rewards=true",
                                        "stop_penalty=1",
                                        "ratio_threshold=9",
                                        "loss_mean=microbatch_mean",
                                        "ppo_epochs=3",
                                        "per_device_train_batch_size=4",
                                        "gradient_accumulation_steps=2",
                                        "compat=llamafactory-0.9.3"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        char text[64];
        char stage[] = "stage=ppo", reward[] = "reward_model=r",
             full[] = "reward_model_type=full";
        char *assignment[] = {stage, reward, full, other[i] ? text : NULL, NULL};
        struct tr_ppo_rules r;
        struct given x;
        snprintf(text, sizeof text, "%s", other[i] ? other[i] : "");
        load(&x, "", assignment);
        if (x.st != TR_OK) fail_msg("%s: %s", text, x.err.text);
        if (tr_options_ppo_rules(&x.o, &r, &x.err) != TR_OK)
            fail_msg("%s: %s", text, x.err.text);
        if (same_rules(&r, &tr_ppo_defaults) != !other[i])
            fail_msg("%s", other[i] ? other[i] : "the defaults differ");
        unload(&x);
    }
}

static void what_changes_nothing_is_noted_in_one_line(void **state)
{
    (void)state;
    struct given x;
    load(&x,
         "report_to: none\ndeepspeed: ds.json\nflash_attn: fa2\nlora_rank: 8\n"
         "use_swanlab: true\ngalore_rank: 8\nbadam_mode: ratio\napollo_scale: 1.0\n"
         "quantization_bit: null\nuse_dora: false\nval_size: 0\neval_strategy: no\n"
         "optim: adamw_torch_fused\nneftune_noise_alpha: null\n",
         NULL);
    if (x.st != TR_OK) fail_msg("%s", x.err.text);
    const char *notes = tr_buf_text(&x.notes);
    assert_non_null(strstr(
        notes,
        "report_to, deepspeed, flash_attn, lora_rank, use_swanlab, galore_rank, badam_mode, apollo_scale\n"));
    assert_ptr_equal(strchr(notes, '\n'), notes + x.notes.size - 1);
    unload(&x);
}

struct mistake {
    const char *more;
    const char *line; /* one assignment, or NULL */
    const char *says[3];
};

static void check_mistakes(const struct mistake *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char assignment[64];
        char *const line[] = {assignment, NULL};
        struct given x;
        snprintf(assignment, sizeof assignment, "%s", row[i].line ? row[i].line : "");
        load(&x, row[i].more, row[i].line ? line : NULL);
        bool wanted = row[i].says[0] != NULL;
        if ((x.st == TR_BADARG) != wanted)
            fail_msg("%s%s: status %d %s", row[i].more, assignment, (int)x.st,
                     x.err.text);
        for (int k = 0; k < 3 && row[i].says[k]; k++)
            if (!strstr(x.err.text, row[i].says[k]))
                fail_msg("\"%s\" does not say \"%s\"", x.err.text, row[i].says[k]);
        unload(&x);
    }
}

/* Every kind of mistake names where, the key, what was expected and what was found. */
static void mistakes_are_told_in_one_line(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {"max_step: 3\n", NULL, {"run.yaml", "max_step:", "did you mean max_steps?"}},
        {"learnign_rate: 1\n", NULL, {"learnign_rate", "learning_rate?"}},
        {"qqqqqqqqqqq: 1\n", NULL, {"qqqqqqqqqqq", "no such key"}},
        {"", "sed=1", {"command line", "seed?"}},
        {"", "seed", {"command line", "key=value"}},
        {"", "=1", {"command line", "key=value"}},
        {"seed: high\n", NULL, {"seed", "a whole number", "\"high\""}},
        {"seed: 1.5\n", NULL, {"seed", "a whole number", "1.5"}},
        {"seed: -1\n", NULL, {"seed", "from 0", "-1"}},
        {"learning_rate: [1]\n", NULL, {"learning_rate", "a number", "[1]"}},
        {"bf16: 1\n", NULL, {"bf16", "true or false", "1"}},
        {"packing: maybe\n", NULL, {"packing", "true or false", "maybe"}},
        {"template: 3\n", NULL, {"template", "a text", "3"}},
        {"lr_scheduler_kwargs: 3\n", NULL, {"lr_scheduler_kwargs", "a map", "3"}},
        {"lr_scheduler_kwargs: {x: 3}\n", NULL, {"lr_scheduler_kwargs", "x"}},
        {"lr_scheduler_kwargs: {power: up}\n", NULL, {"power", "a number"}},
        {"lr_scheduler_type: sawtooth\n",
         NULL,
         {"lr_scheduler_type", "sawtooth", "cosine"}},
        {"math: fast\n", NULL, {"math", "one of exact openblas", "fast"}},
        {"save_strategy: best\n", NULL, {"save_strategy", "best", "later"}},
        {"", "stage=dpo", {"stage", "dpo", "later"}},
        {"", "stage=x", {"stage", "one of pt sft rm kto ppo,", "\"x\""}},
        {"", "seed=-1", {"seed", "from 0 to 9007199254740991,", "-1"}},
        {"", "finetuning_type=lora", {"finetuning_type", "set finetuning_type: full"}},
        {"", "finetuning_type=null", {"finetuning_type"}},
        {"use_dora: true\n", NULL, {"use_dora", "true", "LoRA"}},
        {"quantization_bit: 4\n", NULL, {"quantization_bit", "4", "bf16"}},
        {"optim: lion\n", NULL, {"optim", "lion", "AdamW"}},
        {"do_train: false\n", NULL, {"do_train", "nothing else to do"}},
        {"val_size: 0.1\n", NULL, {"val_size", "stage: ppo", "later"}},
        {"gradient_groups: 2\n", NULL, {"gradient_groups", "2"}},
        {"packing: true\n", NULL, {"packing", "pt"}},
        {"", "cutoff_len=1", {"cutoff_len", "2 or more"}},
        {"max_steps: 0\n", NULL, {"max_steps"}},
        {"logging_steps: 2.5\n", NULL, {"logging_steps", "whole"}},
        {"save_steps: 0\n", NULL, {"save_steps"}},
        {"resume_from_checkpoint: 3\n", NULL, {"resume_from_checkpoint", "folder"}},
        {"pref_beta: 0\n", NULL, {"pref_beta", "a number", "0"}},
        {"kto_rejected_weight: -1\n", NULL, {"kto_rejected_weight", "from 0", "-1"}},
        {"seed: 1\nseed: 2\n", NULL, {"run.yaml", "line 7", "again"}},
        {"", "dataset=", {"dataset is missing"}},
        {"", "train_on_prompt=true", {NULL}},
    };
    check_mistakes(rows, sizeof rows / sizeof *rows);
}

static void mistakes_in_roles_are_told_in_one_line(void **state)
{
    (void)state;
    static const struct mistake rows[] = {
        {"roles: {rollout: {replicas: 2}}\n", NULL, {"roles", "rollout"}},
        {"roles: {policy: {threads: 0}}\n", NULL, {"threads", "1"}},
        {"", "roles={policy: {threads: 0}}", {"roles: policy: threads:", "1"}},
        {"", "roles={policy: {threads: 1}", {"command line: roles: line 2"}},
        {"", "roles=policy", {"roles: expected a map", "policy"}},
        {"roles: {policy: {thread: 1}}\n",
         NULL,
         {"roles: policy: thread:", "no such key", "replicas, threads, model or"}},
        {"roles: {policy: {replicas: 2}}\n", NULL, {"policy: replicas:", "1", "found 2"}},
        {"roles: {reward: 3}\n", "stage=ppo", {"roles: reward:", "a list", "integer"}},
        {"roles: {reward: []}\n", "stage=ppo", {"roles: reward:", "1 to 8", "found 0"}},
        {"roles: {reward: [{name: a, rule: length, scale: 0}]}\n",
         "stage=ppo",
         {"roles: reward 1: scale:", "from 1e-06", "found 0"}},
        {"roles: {reward: [{name: a, rule: length, target: -1}]}\n",
         "stage=ppo",
         {"roles: reward 1: target:", "from 0", "found -1"}},
        {"roles: {reward: [{name: a, rule: length, weight: 2e9}]}\n",
         "stage=ppo",
         {"roles: reward 1: weight:", "-1e9 to 1e9", "found 2e+09"}},
        {"roles: {reference: {replicas: 0}}\n",
         "stage=kto",
         {"reference: replicas:", "1 or more", "kto"}},
        {"roles: {critic: {}}\n", "stage=kto", {"roles", "critic", "no such role"}},
    };
    check_mistakes(rows, sizeof rows / sizeof *rows);
}

static void lora_by_default_is_refused_in_words(void **state)
{
    (void)state;
    char *const line[] = {"model_name_or_path=m", "dataset=d", "output_dir=o"};
    struct tr_options o;
    struct tr_buf notes;
    struct tr_err err = {0};
    tr_buf_init(&notes, 1 << 16);
    assert_int_equal(tr_options_load(NULL, line, 3, &o, &notes, &err), TR_BADARG);
    assert_non_null(strstr(err.text, "set finetuning_type: full"));
    assert_int_equal(tr_options_load("/nowhere/run.yaml", line, 3, &o, &notes, &err),
                     TR_BADARG);
    tr_buf_fini(&notes);
}

static void roles_may_name_the_policy(void **state)
{
    (void)state;
    struct given x;
    load(&x, "roles: {policy: {threads: 2}}\n", NULL);
    assert_int_equal(x.st, TR_OK);
    assert_int_equal(x.o.exec.threads, 2);
    unload(&x);
}

static void resuming_is_a_folder_or_the_last(void **state)
{
    (void)state;
    static const struct {
        const char *more;
        bool last;
        const char *path;
    } rows[] = {
        {"resume_from_checkpoint: true\n", true, NULL},
        {"resume_from_checkpoint: false\n", false, NULL},
        {"resume_from_checkpoint: null\n", false, NULL},
        {"resume_from_checkpoint: runs/x/checkpoint-3\n", false, "runs/x/checkpoint-3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct given x;
        load(&x, rows[i].more, NULL);
        assert_int_equal(x.st, TR_OK);
        assert_true(x.o.output.resume_last == rows[i].last);
        if (rows[i].path)
            assert_string_equal(x.o.output.resume, rows[i].path);
        else
            assert_null(x.o.output.resume);
        unload(&x);
    }
}

/* What is written as run.yaml means the same when it is read again. */
static void resolved_options_read_back_the_same(void **state)
{
    (void)state;
    char *const line[] = {
        "learning_rate=1.25e-5",       "template=chatml",         "bf16=true",
        "resume_from_checkpoint=true", "default_system=a: \"b\"", NULL};
    struct given x;
    struct tr_buf text;
    struct tr_buf again;
    struct tr_options o;
    load(&x, "lr_scheduler_kwargs: {num_cycles: 2}\n", line);
    if (x.st != TR_OK) fail_msg("%s", x.err.text);
    tr_buf_init(&text, 1 << 16);
    tr_buf_init(&again, 1 << 16);
    assert_int_equal(tr_options_text(&x.o, &text, NULL), TR_OK);
    scratch_text(x.dir, "resolved.yaml", tr_buf_text(&text));
    char path[SCRATCH_ROOM];
    scratch_path(path, x.dir, "resolved.yaml");
    enum tr_status st = tr_options_load(path, NULL, 0, &o, &x.notes, &x.err);
    if (st != TR_OK) fail_msg("%s", x.err.text);
    assert_int_equal(tr_options_text(&o, &again, NULL), TR_OK);
    assert_string_equal(tr_buf_text(&text), tr_buf_text(&again));
    assert_true(o.update.lr == 1.25e-5 && o.model.bf16 && o.output.resume_last);
    assert_string_equal(o.data.default_system, "a: \"b\"");
    tr_options_fini(&o);
    tr_buf_fini(&text);
    tr_buf_fini(&again);
    unload(&x);
}

/* Invariant 1 of options.h, as far as the table alone can say: no name twice, every default is
 * a value that its own row would take. */
static void the_table_is_consistent(void **state)
{
    (void)state;
    size_t n = 0;
    for (; tr_key_row(n); n++) {
        const struct tr_key *key = tr_key_row(n);
        assert_ptr_equal(tr_key_find(key->name), key);
        assert_string_equal(tr_key_nearest(key->name), key->name);
        if (key->status == TR_KEY_REFUSED) assert_non_null(key->why);
        if (key->kind == TR_KEY_WORD) assert_non_null(key->otherwise);
        bool number = key->kind == TR_KEY_INT || key->kind == TR_KEY_REAL;
        if (number && key->otherwise) {
            json_t *value = tr_yaml_scalar(key->otherwise);
            double x = json_number_value(value);
            if (!json_is_number(value) || x < key->lo || x > key->hi)
                fail_msg("%s: default %s", key->name, key->otherwise);
            json_decref(value);
        }
    }
    assert_true(n > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_peer_s),
        cmocka_unit_test(command_lines_win_over_files),
        cmocka_unit_test(kto_s_settings_reach_the_plan),
        cmocka_unit_test(ppo_has_one_set_of_defaults),
        cmocka_unit_test(what_changes_nothing_is_noted_in_one_line),
        cmocka_unit_test(mistakes_are_told_in_one_line),
        cmocka_unit_test(mistakes_in_roles_are_told_in_one_line),
        cmocka_unit_test(lora_by_default_is_refused_in_words),
        cmocka_unit_test(roles_may_name_the_policy),
        cmocka_unit_test(resuming_is_a_folder_or_the_last),
        cmocka_unit_test(resolved_options_read_back_the_same),
        cmocka_unit_test(the_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
