/* stage_parts.h - what a run is made of; for the stage_*.c of this folder only. */
#ifndef TR_LAUNCH_STAGE_PARTS_H
#define TR_LAUNCH_STAGE_PARTS_H

#include "actors/coordinator/journal.h"
#include "actors/course.h"
#include "actors/learner.h"
#include "core/watch/progress.h"
#include "core/watch/trainer_state.h"
#include "launch/home.h"
#include "launch/keeper.h"
#include "launch/roles.h"
#include "launch/seats.h"
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
    struct tr_learner_start start; /* how the learner starts, in its own process */
    struct tr_roles roles;
    struct tr_seats seats;
    struct tr_keeper keeper;
    struct tr_staff *staff;
    struct tr_journal *journal;
    struct tr_memo memo;
    struct tr_wire *wire;
    char run[72], address[TR_ADDRESS_BYTES], logs[TR_PLACE_BYTES], newest[TR_PLACE_BYTES];
    struct tr_course *course;     /* how the processes are reached */
    struct tr_stage_asked *asked; /* kto: what judges were asked and have not said */
    int64_t asks, ask_room;
    bool *on_its_way;             /* kto: [examples], the reference was asked of it */
    double snapshot_at, noted_at; /* clock */
    int64_t snapshot_step;
    double step_began, judged; /* clock: of the step in hand */
    struct tr_company_times times;
    bool restarted; /* the learner's process was started before */
    bool stopping;  /* a first signal came */
    /* log_history, all of it: every checkpoint's trainer_state.json has it whole, as the peer's. It grows by
     * an entry each logging_steps, some 1 KB. */
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
void tr_stage_close(struct tr_stage_parts *p, bool ended_well);

/* stage_learner.c: journal and address, then the processes: the learner, with the state of `checkpoint`
 * ("" for none), and kto's references. */
enum tr_status tr_stage_open_learner(struct tr_stage_parts *p, const char *checkpoint,
                                     struct tr_err *err);
/* The files of struct tr_joining, where a learner's first words may have changed. */
enum tr_status tr_stage_tell_others(struct tr_stage_parts *p, struct tr_err *err);
/* ended_well: they were told to go, and are given time to. */
void tr_stage_close_learner(struct tr_stage_parts *p, bool ended_well);

/* stage_watch.c: the journal's row of the step that was done last. */
enum tr_status tr_stage_note_step(struct tr_stage_parts *p,
                                  const struct tr_learn_task *task,
                                  const struct tr_learn_result *result,
                                  struct tr_err *err);
/* Who is there and what was counted; for the file, where nobody can be asked any more. */
enum tr_status tr_stage_note_company(struct tr_stage_parts *p, struct tr_err *err);
/* For the course: what people ask. */
enum tr_status tr_stage_answer(void *ctx, struct tr_core *core, const char *what,
                               const char *argument, struct tr_buf *reply,
                               struct tr_err *err);
/* TR_GONE once a second signal has come. */
enum tr_status tr_stage_hear_stop(struct tr_stage_parts *p, struct tr_err *err);
/* How far, how fast. loss: what to say of it. */
struct tr_progress_facts tr_stage_facts(const struct tr_stage_parts *p, double loss);

/* The state as it is now, for trainer_state.json; borrows history. */
struct tr_trainer_state tr_stage_state(const struct tr_stage_parts *p);

/* kto (stage_judges.c): asks what the next step needs, and the reference some steps ahead, and waits
 * until the next task is ready. Nothing for other stages. */
enum tr_status tr_stage_judge(struct tr_stage_parts *p, struct tr_err *err);
void tr_stage_close_judges(struct tr_stage_parts *p);
/* For the course: the numbers of one ask. */
enum tr_status tr_stage_judged(void *ctx, int64_t tag, const float *number, int64_t n,
                               struct tr_err *err);

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
