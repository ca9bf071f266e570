/* core_parts.h - the state of the core, for core.c, talk.c, roster.c, work.c, chain.c, supply.c, missing.c and nobody
 * else. */
#ifndef TR_ACTORS_COORDINATOR_CORE_PARTS_H
#define TR_ACTORS_COORDINATOR_CORE_PARTS_H

#include "actors/coordinator/core.h"
#include "actors/coordinator/quota.h"

enum work_state { WORK_KNOWN, WORK_WAITING, WORK_SENT };

struct work {
    struct tr_unit unit; /* owns */
    int64_t post, tag, step;
    enum work_state state;
    bool replay; /* a kept unit, for a learner that is behind: the planner is not told */
    struct tr_digest replay_answer; /* what it was answered before */
    struct tr_content known;        /* owns; while KNOWN */
    struct work *twin;              /* owns; the next that asks the very same thing */
    struct work *chained;           /* the next in its bucket of the index */
    struct work *before, *after;    /* in its post's queue, or its worker's hand */
    int64_t worker;                 /* while SENT: index */
    int64_t delivery; /* while SENT: which action says so, if it waits still */
    int64_t sent,
        failed; /* times: what is taken back for no fault of its own has not failed */
    double given, deadline; /* clock; while SENT */
    bool twice;             /* it was given to somebody idle besides a slow worker */
};

struct row { /* work in order; a list */
    struct work *first, *last;
    int64_t n;
};

struct worker {
    int64_t peer;
    bool here;
    bool silent; /* let a deadline pass and has not spoken since: gets nothing new */
    struct tr_hello hello;
    int64_t post;
    struct row hand;
    int64_t strays; /* units that it still has and that are another's by now */
    int64_t answered;
    double busy_seconds, busy_since, joined, heard,
        told;        /* clock: of its hello, its and our last word */
    int64_t loading; /* the want it was told to load, or -1 */
    double load_deadline;
    double estranged_since; /* a learner that fits no unit; 0: not so */
    int64_t spoilt;         /* units in a row that it failed or answered badly */
    double rests_until;     /* clock: others go before it, as it spoilt some */
    int64_t replaced; /* how many of its name took each other's place before it, lately */
};

enum { PACES = 15, PACES_LEAST = 3 };

struct post {
    enum tr_role role;
    char slot[TR_SLOT_BYTES];
    int64_t replicas;
    bool open;
    bool known, placed; /* digest, lineage are set */
    bool provisional;   /* they are its first worker's, and named by nobody else */
    struct tr_digest digest, lineage;
    struct row waiting;
    int64_t sent, saves; /* units that are out; open ones of kind save */
    double pace[PACES];  /* seconds that its last answers were out; a ring */
    int64_t paces;
    double absent_since; /* work waits and nobody here can do it; 0: not so */
    double told_absent;  /* seconds of that when people were told last */
};

enum { NO_POST = -1 };

struct want {
    int64_t post; /* NO_POST once it was closed */
    bool open, known;
    struct tr_digest digest;
    char folder[TR_PLACE_BYTES];
    int64_t refused;
    char why[256];
    double retry_at;
};

struct offer {
    struct tr_digest digest;
    int64_t worker;
    char file[TR_PLACE_BYTES], source[TR_PLACE_BYTES];
};

struct past { /* an answered unit, for second answers */
    struct tr_digest id, answer;
};

struct question { /* of a person, whose answer is being worked on */
    int64_t peer;
    struct tr_ask ask;
};

enum {
    BUCKETS = 4096,
    PASTS = 8192,
    QUESTIONS = 8,
    STEPPED_OVER =
        64 /* units in a row that nobody can do: those behind are not looked at */
};

struct tr_core {
    struct tr_core_settings set;
    const struct tr_planner *planner; /* borrows */
    const struct tr_memo *memo;       /* borrows, or NULL */
    double now, born;
    double
        told_missing; /* seconds after birth when people were told last who is missing */
    double looked,
        busy; /* clock of the last event; seconds of hearing since the last look at deadlines */
    bool started, over, dirty; /* dirty: kept since the last flush */
    struct work *bucket[BUCKETS];
    struct row known; /* answers that were kept, to be told */
    struct post post[TR_POSTS_MAX];
    int64_t posts;
    struct worker *worker; /* owns */
    int64_t workers, worker_room;
    struct want *want; /* owns */
    int64_t wants, want_room;
    struct offer *offer; /* owns */
    int64_t offers, offer_room;
    struct past *past; /* owns; a ring */
    int64_t pasts;
    struct tr_core_action *action; /* owns; a queue: next .. actions-1 */
    int64_t next, actions, action_room;
    struct tr_core_counts counts;
    struct tr_quota quota; /* of lines that peers cause */
    struct tr_fail fault;  /* the last that a worker spoilt: id and text */
    struct question question[QUESTIONS];
    int questions;
    double ask_again; /* clock: not before */
};

/* core.c: a message for a peer. Until tr_core_next has given it out, a delivery borrows its unit's
 * content: who takes the unit back takes the delivery back. */
enum tr_status tr_core_act(struct tr_core *c, struct tr_core_action **out,
                           struct tr_err *err);
enum tr_status tr_core_send(struct tr_core *c, int64_t peer, const struct tr_message *m,
                            struct tr_err *err);
void tr_core_send_back(struct tr_core *c, const struct work *k);
/* list: the address of a pointer to n things of `each` bytes, which may hold one more afterwards. */
enum tr_status tr_core_room(void *list, int64_t n, int64_t *room, size_t each,
                            struct tr_err *err);

/* talk.c: a line for people, about the run */
enum tr_status tr_core_say(struct tr_core *c, struct tr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Something happened to a peer: a line for people, and the memo has it as this worker's. NULL: a
 * stranger's, of whom the memo has nothing. Of what happens too often the number is told instead. */
enum tr_status tr_core_note(struct tr_core *c, const struct tr_hello *who,
                            const char *kind, struct tr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Those numbers, when they are due; all: at once. */
enum tr_status tr_core_tell_held(struct tr_core *c, bool all, struct tr_err *err);

/* roster.c */
int64_t tr_core_find_worker(const struct tr_core *c, int64_t peer); /* or -1 */
enum tr_status tr_core_admit(struct tr_core *c, int64_t peer,
                             const struct tr_hello *hello, struct tr_err *err);
enum tr_status tr_core_turn_away(struct tr_core *c, int64_t peer, const char *why,
                                 struct tr_err *err);
bool tr_core_idle(const struct tr_core *c, const struct worker *w);
/* Takes its work back and forgets it. fell: it may be the work's fault. */
enum tr_status tr_core_leave(struct tr_core *c, int64_t at, bool fell, const char *why,
                             struct tr_err *err);
/* "reward main", "policy": into text [128]. */
const char *tr_core_post_text(const struct post *p, char *text);

/* missing.c */
bool tr_core_all_here(const struct tr_core *c);
/* TR_GONE names the posts that are not filled when the time to join is up, or whose units nobody
 * could do for too long. */
enum tr_status tr_core_check_filled(struct tr_core *c, struct tr_err *err);

/* work.c */
bool tr_core_is_learner(enum tr_role role);
enum tr_status tr_core_hand_out(struct tr_core *c, struct tr_err *err);
enum tr_status tr_core_tell_known(struct tr_core *c, struct tr_err *err);
enum tr_status tr_core_hear_done(struct tr_core *c, int64_t at, struct tr_message *m,
                                 struct tr_err *err);
enum tr_status tr_core_hear_fail(struct tr_core *c, int64_t at, const struct tr_fail *f,
                                 struct tr_err *err);
void tr_core_hear_progress(struct tr_core *c, int64_t at, const struct tr_progress *p);
/* What a slow worker has is asked of an idle one too (core.h). */
enum tr_status tr_core_ask_twice(struct tr_core *c, struct tr_err *err);
enum tr_status tr_core_check_silence(struct tr_core *c, struct tr_err *err);
void tr_core_take_back(struct tr_core *c, struct work *k);
void tr_core_put_work(struct tr_core *c, struct work *k);
struct work *tr_core_find_work(const struct tr_core *c, const struct tr_digest *id);
void tr_core_free_work(struct work *k);

/* Is it here, does it speak, and does it hold what the unit needs? */
bool tr_core_fits(const struct tr_core *c, const struct worker *w, const struct work *k);
/* Units wait, it has nothing in hand, and could do none of them. */
bool tr_core_fits_nothing(const struct tr_core *c, const struct worker *w);

/* chain.c */
bool tr_core_can_learn(const struct tr_core *c, const struct worker *w,
                       const struct work *k);
/* A learner has answered k, a learn unit: it holds another lineage and maybe other weights. */
enum tr_status tr_core_note_learnt(struct tr_core *c, struct worker *w,
                                   const struct work *k, const struct tr_content *answer,
                                   struct tr_err *err);
/* Adds the next kept unit for a learner that is behind. */
enum tr_status tr_core_catch_up(struct tr_core *c, int64_t at, struct tr_err *err);

/* supply.c */
enum tr_status tr_core_hear_loaded(struct tr_core *c, int64_t at,
                                   const struct tr_loaded *l, struct tr_err *err);
enum tr_status tr_core_hear_offer(struct tr_core *c, int64_t at, const struct tr_offer *o,
                                  struct tr_err *err);
enum tr_status tr_core_send_loads(struct tr_core *c, struct tr_err *err);
/* Of a rollout that says hello: what it holds and nobody wants is dropped (again). */
enum tr_status tr_core_drop_unwanted(struct tr_core *c, int64_t at, struct tr_err *err);
void tr_core_forget_offers(struct tr_core *c, int64_t worker);

#endif
