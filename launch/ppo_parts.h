/* ppo_parts.h - what a PPO run is made of; for the ppo_*.c of this folder only. */
#ifndef TR_LAUNCH_PPO_PARTS_H
#define TR_LAUNCH_PPO_PARTS_H

#include "actors/coordinator/journal.h"
#include "actors/coordinator/plan_ppo.h"
#include "core/model/packed_dir.h"
#include "core/text/examples.h"
#include "core/watch/trainer_log.h"
#include "launch/keeper.h"
#include "launch/ppo_run.h"
#include "launch/roles.h"
#include "launch/seats.h"
#include "launch/staff.h"
#include "proto/wire.h"

struct tr_ppo_prompts { /* examples end to end */
    struct tr_prompts at;
    int32_t *token; /* owns */
    int64_t *start; /* owns */
};

enum tr_save_kind { TR_SAVE_SNAPSHOT, TR_SAVE_CHECKPOINT, TR_SAVE_MODEL };

struct tr_ppo_save { /* a folder that was asked for */
    bool open;
    enum tr_save_kind kind;
    enum tr_role role;
    int64_t step;
    struct tr_digest lineage;
    char folder[TR_PLACE_BYTES];
};
enum { TR_SAVES_MAX = 32 };

struct tr_ppo_parts {
    const struct tr_options *o; /* borrows, as the next two */
    const char *where;
    const struct tr_ppo_watch *watch;
    struct tr_roles roles;
    struct tr_tokenizer *tokenizer; /* owns, as all below */
    struct tr_ppo_prompts prompts, eval;
    int64_t longest; /* tokens of a prompt with its answer */
    bool recompute;  /* the learners compute activations again */
    struct tr_ppo_settings set;
    struct tr_ppo_owner owner;
    struct tr_plan_ppo *plan;
    struct tr_planner planner;
    struct tr_core *core;
    struct tr_journal *journal;
    struct tr_memo memo;
    struct tr_wire *wire;
    struct tr_seats seats;
    struct tr_keeper keeper;
    struct tr_staff *staff;
    struct tr_packed_dir *packed;
    char weights[TR_PACKED_PATH]; /* the folder of packed weights */
    char logs[TR_PACKED_PATH];
    struct tr_journal_snapshot snapshot; /* the one that was looked up last */
    char run[72], address[TR_ADDRESS_BYTES];
    struct tr_ppo_save save[TR_SAVES_MAX];
    json_t *history; /* log_history: read from the journal at the end */
    json_t *kept;    /* swaps, whose texts the roles borrow */
    double started, step_started, snapshot_at; /* clock */
    int64_t first_step, snapshot_step;
    bool stopping;
    struct tr_ppo_outcome out;
    struct tr_digest state[2]; /* of policy, of critic: at the end */
};

/* ppo_open.c: models are looked at, prompts read, settings made. */
enum tr_status tr_ppo_open(struct tr_ppo_parts *p, struct tr_err *err);
/* Its processes are given `seconds` to go by themselves. */
void tr_ppo_close(struct tr_ppo_parts *p, double seconds);
/* A model of this host that a role is to have. `what` names it. TR_BADARG, TR_IO. */
enum tr_status tr_ppo_check_model(const struct tr_ppo_parts *p, const char *what,
                                  const char *folder, struct tr_err *err);

/* ppo_memory.c: decides p->recompute. TR_NOMEM when this host has no room for the run. */
enum tr_status tr_ppo_choose_recompute(struct tr_ppo_parts *p, struct tr_err *err);

struct tr_ppo_sizes {         /* of a role's engine */
    int64_t tokens;           /* at a time */
    int64_t sequences, pages; /* 0: as the engine likes */
};

/* ppo_staff.c: the command line of a member, and what is in it.
 * tr_ppo_snapshot looks up p->snapshot: the newest one that a learner can go on from, which is not
 * younger than what still is to be generated with: with staleness the version before the last. */
struct tr_ppo_sizes tr_ppo_sizes(const struct tr_ppo_parts *p, enum tr_role role);
const char *tr_ppo_model(const struct tr_ppo_parts *p, const struct tr_member *m);
bool tr_ppo_snapshot(struct tr_ppo_parts *p, enum tr_role role);
enum tr_status tr_ppo_words(void *self, const struct tr_member *m, struct tr_words *w,
                            struct tr_err *err);
enum tr_status tr_ppo_start_staff(struct tr_ppo_parts *p, struct tr_err *err);
/* The files of struct tr_joining, for those who start the processes themselves. */
enum tr_status tr_ppo_tell_others(struct tr_ppo_parts *p, struct tr_err *err);
enum tr_status tr_ppo_start_reward(struct tr_ppo_parts *p, const struct tr_reward_wish *w,
                                   struct tr_err *err);

/* ppo_keep.c: the owner's side of the plan. */
enum tr_status tr_ppo_started(void *self, const struct tr_ppo_report *r,
                              struct tr_err *err);
enum tr_status tr_ppo_committed(void *self, struct tr_core *core,
                                const struct tr_ppo_report *r, struct tr_err *err);
enum tr_status tr_ppo_save_again(struct tr_ppo_parts *p,
                                 const struct tr_journal_step *last, struct tr_err *err);
enum tr_status tr_ppo_evaluated(void *self, const struct tr_ppo_report *r,
                                struct tr_err *err);
enum tr_status tr_ppo_saved(void *self, int64_t ticket, const struct tr_digest *weights,
                            const struct tr_digest *state, struct tr_err *err);
enum tr_status tr_ppo_swapped(void *self, int64_t ticket, int64_t step,
                              const struct tr_reward_set *set, struct tr_err *err);
enum tr_status tr_ppo_dropped(void *self, int64_t ticket, const char *why,
                              struct tr_err *err);

/* ppo_ask.c */
enum tr_status tr_ppo_ask(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err);
/* Swaps that were asked for before this process and are not in the state it goes on from. */
enum tr_status tr_ppo_ask_again(struct tr_ppo_parts *p, struct tr_err *err);

/* ppo_history.c */
enum tr_status tr_ppo_read_history(struct tr_ppo_parts *p, struct tr_err *err);

/* ppo_output.c */
enum tr_status tr_ppo_log_step(struct tr_ppo_parts *p, const struct tr_ppo_report *r,
                               struct tr_err *err);
/* The line of the last committed step, where a process ended between the commit and the line. */
enum tr_status tr_ppo_log_again(const struct tr_ppo_parts *p, struct tr_err *err);
bool tr_ppo_logged(const struct tr_ppo_parts *p, int64_t step);
/* What a logged step's metrics say; `more` is not set, nor is what tells the time. */
struct tr_log_entry tr_ppo_log_entry(const struct tr_ppo_parts *p, int64_t step,
                                     const json_t *metrics);
json_t *tr_ppo_metrics_json(
    const struct tr_ppo_report *r); /* owned by the caller, or NULL */
enum tr_status tr_ppo_manifest(const struct tr_ppo_parts *p, bool finished,
                               struct tr_err *err);
enum tr_status tr_ppo_finish(struct tr_ppo_parts *p, struct tr_err *err);

/* ppo_picture.c: training_reward.png, of the history. What fails is said and harms nothing. */
void tr_ppo_draw(const struct tr_ppo_parts *p);

#endif
