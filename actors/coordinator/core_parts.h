/* core_parts.h - the state of the core, for core.c, roster.c and nobody else. */
#ifndef TR_ACTORS_COORDINATOR_CORE_PARTS_H
#define TR_ACTORS_COORDINATOR_CORE_PARTS_H

#include "actors/coordinator/core.h"

enum work_state { WORK_WAITING, WORK_SENT, WORK_ANSWERED };

struct work {
    struct tr_unit unit; /* owns; content is freed once answered */
    enum tr_role role;
    int64_t tag;
    enum work_state state;
    bool twin;      /* an open unit of the same id came before: that one is sent */
    int64_t worker; /* while sent: index of the worker */
    int64_t attempts;
    double deadline;         /* while sent */
    struct tr_digest answer; /* once answered */
};

struct worker {
    int64_t peer;
    bool here;
    bool silent; /* let a deadline pass and has not spoken since: gets nothing new */
    struct tr_hello hello;
    int64_t in_hand;
};

struct tr_core {
    struct tr_core_settings set;
    const struct tr_planner *planner; /* borrows */
    double now, born;
    bool started, over;
    struct work **work; /* owns */
    int64_t works, work_room;
    struct worker *worker; /* owns */
    int64_t workers, worker_room;
    bool known[TR_ROLES]; /* digest is set */
    struct tr_digest digest[TR_ROLES];
    struct tr_core_action *action; /* owns; a queue: next .. actions-1 */
    int64_t next, actions, action_room;
    struct tr_core_counts counts;
};

/* A line for people, a message for a peer. */
enum tr_status tr_core_say(struct tr_core *c, struct tr_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum tr_status tr_core_send(struct tr_core *c, int64_t peer, const struct tr_message *m,
                            struct tr_err *err);

/* The worker of this peer, or -1. */
int64_t tr_core_worker(const struct tr_core *c, int64_t peer);

/* roster.c: admits or turns away. */
enum tr_status tr_core_admit(struct tr_core *c, int64_t peer,
                             const struct tr_hello *hello, struct tr_err *err);
bool tr_core_all_here(const struct tr_core *c);
/* TR_GONE names the roles that are missing when the time to join is up. */
enum tr_status tr_core_check_joined(const struct tr_core *c, struct tr_err *err);

#endif
