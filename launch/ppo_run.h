/* ppo_run.h - a whole run of PPO, from options to the finished folder.
 *
 * What it is for. The coordinator's program around the plan (actors/coordinator/plan_ppo.h): it
 * opens the journal and the listening wire, starts the processes of the roles block, and keeps what
 * comes of each step.
 *
 *   output_dir/  run.yaml manifest.json       what was asked; digests at the end
 *                coordinator.json             address and process of who coordinates
 *                run.db                       the journal (docs/journal.md)
 *                logs/ROLE-i.log              what each process said
 *                snapshot/ROLE-N/             to go on from; the last two
 *                checkpoint-N/, critic/checkpoint-N/   every save_steps and at Ctrl-C
 *                config.json model.safetensors ...     the policy, with its tokenizer
 *                critic/                      the critic
 *                trainer_log.jsonl trainer_state.json all_results.json training_reward.png
 *
 * Invariants.
 *   1. A run that was stopped, however that was, goes on where it was when it is started again with
 *      the same settings; its digests are those of an undisturbed one.
 *   2. A step's row in the journal lies before its line in the logs. */
#ifndef TR_LAUNCH_PPO_RUN_H
#define TR_LAUNCH_PPO_RUN_H

#include "core/base/digest.h"
#include "core/base/log.h"
#include "launch/company_status.h"
#include "launch/options.h"
#include "launch/staff.h"

struct tr_ppo_watch {
    const struct tr_log *log;
    int stop_fd; /* a signalfd. First: finish the step, save, stop; again: stop now. -1: none */
    struct tr_joining joining;
};

struct tr_ppo_outcome {
    bool stopped; /* before the last step */
    int64_t step;
    double reward;                   /* of the last step */
    struct tr_company_times times;   /* of the steps of this process */
    struct tr_digest policy, critic; /* weights */
    struct tr_digest run; /* of weights and states of both: what two runs must share */
};

/* TR_AGAIN: stopped before anything was begun. */
enum tr_status tr_ppo_run(const struct tr_options *o, const char *where,
                          const struct tr_ppo_watch *watch, struct tr_ppo_outcome *out,
                          struct tr_err *err);

#endif
