/* core.h - the coordinator as a pure state machine: messages and time in, messages out.
 *
 * What it is for. It knows who is there, what is to be done and what has been answered, and hands
 * each unit to a worker that holds the digests which the unit needs. It has no socket, no clock
 * and no thread, so the same core runs over ZeroMQ, within one process, and under a simulator
 * that loses, repeats and delays what it pleases.
 *
 * The data. A *post* is a place that workers fill: a role, and of several rewards a slot. A unit
 * is asked of a post. A worker has the digests it holds and credits: how many units it takes in
 * hand. A planner (plan_ppo.h, plan_stage.h) says which units there are and reads their answers;
 * a memo (memo.h) keeps answers beyond the life of this process.
 *
 *     known ---------------------------- its answer was kept ----------------.
 *     waiting --- a worker with credit holds all it needs ---> sent -- done --+--> answered
 *        ^                                                      |
 *        '--- silence, fail, worker gone, answer no good -------'
 *
 * What fails. A unit has failed when a worker says so, answers it badly, falls silent with it, or vanishes or breaks
 * the protocol while it has it; after `attempts` of these the run gives up. One that is given back by who leaves,
 * or taken back from who was slow or gave its place to another process of its name while it still spoke, has not.
 * Whoever fails units or answers them badly, one after the other, is at hand again at once and would get the same unit
 * until the run gives up. So others of its post go before it, first for a second, then for twice as long, up to a minute.
 *
 * One name, two processes. The one that was started later is right, and at once: a former self that was killed
 * does not say so. The other is told to go when it speaks. If they were to take turns, each has its place for a
 * while first, from one second to a minute as it happens again, unless it has been silent for two.
 *
 * A slow worker. Asking twice is harmless, so where nothing waits at a post and somebody there has nothing in hand, the
 * unit that has been out longest goes to him too: once it has been out for three times the median of the post's
 * last answers and for five seconds, one unit of a post at a time and each once. Whoever answers first has answered it.
 * Never what a learner learns, of which there is one; never what a process answers that says no `math: exact`: OpenBLAS may
 * round otherwise the next time, and an outside reward may cost money and have another opinion.
 *
 * Learners (chain.c). A learner's units form a chain: each needs the lineage that the one before it
 * made. One that joins with an older lineage is taught the kept units once more, and their
 * answers are compared; one whose lineage is that of the unit which it is about to be asked has
 * done it already and repeats its answer.
 *
 * Weights (supply.c). A planner wants digests at posts. Workers that lack one are told where to
 * load it from; those that have loaded hold one digest more, until it is retired.
 *
 * Invariants.
 *   1. What a planner is told depends on answers only, never on who gave them or when; each unit
 *      is answered to it once.
 *   2. A second answer is compared with the first and dropped; a difference is counted and said.
 *   3. A unit goes only to a worker that holds all digests which it needs.
 *   4. What follows from an answer is sent only after the memo was flushed with it.
 *   5. The first worker of a frozen post says which digest the post has, unless the planner does;
 *      others are idle until they hold it. */
#ifndef TR_ACTORS_COORDINATOR_CORE_H
#define TR_ACTORS_COORDINATOR_CORE_H

#include "actors/coordinator/memo.h"
#include "core/base/buf.h"

struct tr_core;

struct tr_planner { /* who knows what is to be done; self is the planner's own */
    void *self;
    /* All posts are filled: adds the first units. */
    enum tr_status (*start)(void *self, struct tr_core *core, struct tr_err *err);
    /* The answer to the unit that was added with this tag. It may add units. TR_BADMSG: the answer
     * is no good and another worker is asked; any other failure ends the run. */
    enum tr_status (*answer)(void *self, struct tr_core *core, int64_t tag,
                             const struct tr_content *answer, struct tr_err *err);
    bool (*finished)(const void *self);
    /* Something changed that is no answer: weights were loaded, time passed. May be NULL. */
    enum tr_status (*turn)(void *self, struct tr_core *core, struct tr_err *err);
    /* A person asks: JSON into reply, or a failure whose text is the answer. TR_AGAIN: there is more
     * to do, and the same is asked again soon. May be NULL. */
    enum tr_status (*ask)(void *self, struct tr_core *core, const char *what,
                          const char *argument, struct tr_buf *reply, struct tr_err *err);
};

enum { TR_POSTS_MAX = 16 };

struct tr_core_settings {
    char run[72];           /* the run's id */
    char math[16];          /* the first word of what workers say of theirs; "": any */
    double join_seconds;    /* how long to wait until all posts are filled */
    double silence_seconds; /* without a sign, a unit goes to another worker */
    double absent_seconds;  /* work and nobody to do it: the run ends; 0: never */
    double
        remind_seconds; /* of either wait: then people are told, and as long again later; 0: never */
    double here_seconds; /* between two signs of life to a worker; 0: none */
    int64_t attempts;    /* of a unit that fail, before the run gives up */
};

/* Borrows the planner and the memo (or NULL) until destroy. */
enum tr_status tr_core_create(const struct tr_core_settings *s,
                              const struct tr_planner *planner,
                              const struct tr_memo *memo, double now,
                              struct tr_core **out, struct tr_err *err);
void tr_core_destroy(struct tr_core *c);

/* ---- events: one or several, and then the actions that follow from them ---- */

/* A message from a peer; *m is read and, where content is kept, emptied. The caller still calls
 * tr_message_fini. Only a broken run fails: what a peer does wrong is an action. */
enum tr_status tr_core_hear(struct tr_core *c, int64_t peer, struct tr_message *m,
                            double now, struct tr_err *err);
/* The peer said what cannot be understood: a stranger is told why it is not admitted. */
enum tr_status tr_core_mishear(struct tr_core *c, int64_t peer, const char *why,
                               double now, struct tr_err *err);
/* The peer is gone. */
enum tr_status tr_core_lose(struct tr_core *c, int64_t peer, const char *why, double now,
                            struct tr_err *err);
/* Time has passed. */
enum tr_status tr_core_tick(struct tr_core *c, double now, struct tr_err *err);

/* ---- actions ---- */

struct tr_core_action {
    bool send; /* message to peer; else `text` is a line for people */
    bool owns; /* the core frees the content at the next call of tr_core_next */
    int64_t peer;
    struct tr_message
        message; /* its content is borrowed until the next call of any kind */
    char text[320];
};

/* All answers heard so far are kept: before the actions are done. */
enum tr_status tr_core_flush(struct tr_core *c, struct tr_err *err);
/* The next thing to do; false when there is none. */
bool tr_core_next(struct tr_core *c, struct tr_core_action *out);

/* The clock of the event that came last. */
double tr_core_now(const struct tr_core *c);

/* A question is being worked on bit by bit: a tick should come within some tens of milliseconds. */
bool tr_core_hurries(const struct tr_core *c);

/* All posts were filled once. */
bool tr_core_started(const struct tr_core *c);
/* The planner has all it wanted, and everybody was told to go. */
bool tr_core_over(const struct tr_core *c);

/* ---- for planners and those who set a run up ---- */

/* A place for workers; `replicas` are waited for before the start. slot "" is the role's only
 * one. *post numbers it. TR_BADARG when there are too many, or it is there already. */
enum tr_status tr_core_open_post(struct tr_core *c, enum tr_role role, const char *slot,
                                 int64_t replicas, int64_t *post, struct tr_err *err);
/* Nothing is asked of it any more; its workers are told to go. */
enum tr_status tr_core_close_post(struct tr_core *c, int64_t post, struct tr_err *err);
/* The open post of this role and slot, or -1. A role's only post is found by any slot "". */
int64_t tr_core_post(const struct tr_core *c, enum tr_role role, const char *slot);
/* The newest step of which answers were kept, this process's or one's before it; 0: none. */
enum tr_status tr_core_begun(const struct tr_core *c, int64_t *step, struct tr_err *err);
/* So many workers are waited for before the start, if it has not started. */
void tr_core_expect(struct tr_core *c, int64_t post, int64_t replicas);
/* Workers here, idle ones not counted. */
int64_t tr_core_workers(const struct tr_core *c, int64_t post);

/* Takes the unit; its answer comes with tag. `step`: memo.h. A unit that was added before is
 * answered once. */
enum tr_status tr_core_add(struct tr_core *c, int64_t post, struct tr_unit *unit,
                           int64_t tag, int64_t step, struct tr_err *err);

/* The digest that a post's units should name: its weights, of a learner those it started with. */
struct tr_digest tr_core_digest(const struct tr_core *c, int64_t post);
void tr_core_set_digest(struct tr_core *c, int64_t post, const struct tr_digest *digest);
/* What the next unit of a learner's chain needs. */
struct tr_digest tr_core_lineage(const struct tr_core *c, int64_t post);
void tr_core_set_lineage(struct tr_core *c, int64_t post,
                         const struct tr_digest *lineage);

/* Workers of the post should hold these weights beside those they have. digest NULL: whatever
 * the folder holds. folder "": from whoever offers them. *want numbers it. */
enum tr_status tr_core_want(struct tr_core *c, int64_t post,
                            const struct tr_digest *digest, const char *folder,
                            int64_t *want, struct tr_err *err);
/* How many of the post's workers hold what was wanted, and its digest once one does; `refused`
 * workers could not load it, `why` [256] is what the last of them said. */
struct tr_core_supply {
    int64_t holders, refused;
    struct tr_digest digest;
    bool known;
    char why[256];
};
struct tr_core_supply tr_core_supplied(const struct tr_core *c, int64_t want);
/* Nobody needs to load it any more; who has it keeps it. */
void tr_core_unwant(struct tr_core *c, int64_t want);
/* These weights are not needed at the post any more. */
enum tr_status tr_core_retire(struct tr_core *c, int64_t post,
                              const struct tr_digest *digest, struct tr_err *err);

/* Nobody will be sent for these weights any more: who offered them need not keep them. */
enum tr_status tr_core_withdraw(struct tr_core *c, const struct tr_digest *digest,
                                struct tr_err *err);

struct tr_core_counts {
    int64_t units, answered, known,
        reissued, /* asked_twice of these: of somebody idle too */
        asked_twice, second_answers, differences, refused, unknown_fields, replayed,
        joins, losses,
        unsaid; /* events that got no line of their own: only their number was told */
};
struct tr_core_counts tr_core_counts(const struct tr_core *c);

/* A look at one worker, for people; false past the last. Borrows until the next call. */
struct tr_core_worker {
    enum tr_role role;
    const char *slot, *instance, *isa, *math, *host;
    bool here, silent, idle, busy;
    int64_t in_hand, answered, threads;
    double busy_seconds, since; /* clock of its joining */
    struct tr_digests holds;
};
bool tr_core_see(const struct tr_core *c, int64_t i, struct tr_core_worker *out);
/* Did the process of this name that joined at `since` on the clock or later answer anything? */
bool tr_core_answered(const struct tr_core *c, enum tr_role role, const char *instance,
                      double since);
/* Units that wait for a worker of the post, and that are sent. */
void tr_core_queue(const struct tr_core *c, int64_t post, int64_t *waiting,
                   int64_t *sent);
/* For how many seconds has nobody been there who could do what waits? 0: somebody is, or nothing does. why
 * [200]: which digest it needs, and what somebody who is there holds instead, for people. */
double tr_core_missed(const struct tr_core *c, int64_t post, char *why);

#endif
