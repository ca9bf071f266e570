/* stage_parts.h - what a run is made of; for the stage_*.c of this folder only. */
#ifndef TR_LAUNCH_STAGE_PARTS_H
#define TR_LAUNCH_STAGE_PARTS_H

#include "actors/coordinator/journal.h"
#include "actors/course.h"
#include "actors/learner.h"
#include "core/watch/progress.h"
#include "core/watch/trainer_state.h"
#include "launch/roles.h"
#include "launch/staff.h"
#include "launch/stage_run.h"

struct tr_stage_asked { /* a judging unit that is not answered yet */
    bool open;
    enum tr_stage_judge judge;
    int64_t step, first, count;
};

struct tr_stage_parts {
    const struct tr_options *o;         /* borrows */
    const struct tr_exec *ex;           /* borrows */
    const struct tr_stage_watch *watch; /* borrows */
    struct tr_tokenizer *tokenizer;     /* owns, as all below */
    struct tr_examples *examples;
    struct tr_stage_plan *plan;
    struct tr_learner *learner;    /* here, or NULL when it has a process of its own: */
    struct tr_learner_start start; /* how it starts, there or here */
    struct tr_roles roles;
    struct tr_staff *staff;
    struct tr_journal *journal;
    struct tr_memo memo;
    char address[TR_PLACE_BYTES], logs[TR_PLACE_BYTES], newest[TR_PLACE_BYTES];
    struct tr_course *course;       /* how either is reached */
    struct tr_role_start reference; /* kto: here */
    struct tr_stage_asked *asked;   /* kto: what judges were asked and have not said */
    int64_t asks, ask_room;
    bool *on_its_way;   /* kto: [examples], the reference was asked of it */
    double snapshot_at; /* clock */
    bool restarted;     /* the learner's process was started before */
    json_t *history;
    struct tr_run_identity identity;
    struct tr_progress_line line;
    int64_t log_every, save_every; /* steps; 0: never */
    double window_loss;            /* since the last log entry */
    int64_t window_steps;
    struct tr_kto_window kto;
    double started, before; /* clock at start; seconds of the runs before a resume */
    int64_t first_step;     /* of this process */
    int64_t tokens_before;
    double flos_per_token;
};

/* Opens all of it, and goes on from a checkpoint where the options ask for that. */
enum tr_status tr_stage_open(struct tr_stage_parts *p, struct tr_err *err);
void tr_stage_close(struct tr_stage_parts *p);

/* The learner, with the state of `checkpoint` ("" for none): in this process or, where `roles:`
 * names the policy, in one of its own (stage_learner.c). */
enum tr_status tr_stage_open_learner(struct tr_stage_parts *p, const char *checkpoint,
                                     struct tr_err *err);
void tr_stage_close_learner(struct tr_stage_parts *p);

/* The state as it is now, for trainer_state.json; borrows history. */
struct tr_trainer_state tr_stage_state(const struct tr_stage_parts *p);

/* kto (stage_judges.c): asks what the next step needs, and the reference some steps ahead, and waits
 * until the next task is ready. Nothing for other stages. */
enum tr_status tr_stage_judge(struct tr_stage_parts *p, struct tr_err *err);
void tr_stage_close_judges(struct tr_stage_parts *p);
struct tr_course_judges tr_stage_judges(struct tr_stage_parts *p);

/* The newest folder that a run can go on from: a checkpoint, or a snapshot between two of them. "" when
 * there is none. */
enum tr_status tr_stage_newest(const struct tr_stage_parts *p, char *path, size_t size,
                               int64_t *step, struct tr_err *err);
/* A snapshot when one is due. */
enum tr_status tr_stage_snapshot(struct tr_stage_parts *p, struct tr_err *err);

/* checkpoint-N/ of the step that was done last. */
enum tr_status tr_stage_checkpoint(struct tr_stage_parts *p, struct tr_err *err);

/* run.yaml and manifest.json; digests may be NULL. */
enum tr_status tr_stage_manifest(const struct tr_stage_parts *p,
                                 const struct tr_stage_outcome *outcome,
                                 struct tr_err *err);
/* The model folder and what tells about the run. */
enum tr_status tr_stage_finish(struct tr_stage_parts *p,
                               const struct tr_stage_outcome *outcome,
                               struct tr_err *err);

/* training_loss.png where plot_loss asks for it, and kto's training_rewards_chosen.png; a picture that fails is a line of the log, no more. */
void tr_stage_draw(const struct tr_stage_parts *p);

#endif
