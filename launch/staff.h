/* staff.h - the processes of a run on this host: started, started again, ended.
 *
 * What it is for. `troupe train` starts a process for each role that its roles block names. One that
 * ends too early is started again after a pause that grows; whoever started them ends them.
 *
 * The data. A member is a name, the words of its command line and the child that runs them. The
 * words are asked for at every start, because a learner goes on from its newest snapshot. Each
 * member's lines go to LOGS/NAME.log.
 *
 * Invariants.
 *   1. No member outlives this process (child.h).
 *   2. A member whose command line was a mistake (exit code 2) is lost: it is not started again.
 *   3. The pause doubles from half a second to thirty, and starts anew after a minute of life.
 *   4. One that falls TR_STAFF_FALLS times in a row, and in none of these lives answered a unit, is lost
 *      too: after 31.5 s of pauses.
 *   5. One that is not needed when it ends has not fallen, and is not started again.
 *   6. Who is lost ends the run, with a line that names it, how it ended, its log and the last line in
 *      there, unless the owner says that the run can do without it. */
#ifndef TR_LAUNCH_STAFF_H
#define TR_LAUNCH_STAFF_H

#include "core/base/log.h"
#include "launch/child.h"
#include "proto/message.h"

enum { TR_STAFF_FALLS = 7 };

struct tr_words { /* of a command line; numbers are kept here */
    const char *at[TR_CHILD_WORDS + 1];
    int n;
    char text[8][32];
    int texts;
    bool cut; /* there were more than fit: whoever asked for them refuses these */
};
void tr_words_add(struct tr_words *w, const char *flag,
                  const char *value); /* value or NULL */
void tr_words_number(struct tr_words *w, const char *flag, int64_t value);
void tr_words_real(struct tr_words *w, const char *flag, double value);

struct tr_staff;

struct tr_member {
    enum tr_role role;
    char slot[TR_SLOT_BYTES];
    char name[96];
    int64_t index; /* of its post's replicas */
};

/* A post's only member, by the name ROLE or ROLE-SLOT. */
struct tr_member tr_member_of(enum tr_role role, const char *slot);

struct tr_joining { /* how a run gets its processes */
    bool
        staff; /* this program starts them; else others do, anywhere, who read these files: */
    const char *address_file; /* where to write the address besides; or NULL */
    const char *roles_file;   /* what to start: a line a post, the words of `troupe role`
                               * between tabs; anew with each snapshot. Or NULL */
    double seconds;           /* that they may take to join; 0: 600 */
};
double tr_joining_seconds(const struct tr_joining *j);

struct tr_staff_settings {
    const char *logs; /* a folder */
    const struct tr_log *log;
    /* The command line of a member, at every start; borrowed until the next call. */
    enum tr_status (*words)(void *self, const struct tr_member *m, struct tr_words *out,
                            struct tr_err *err);
    /* It ended: does the run still need it? One that was told to go may be gone before its end is seen. NULL: yes. */
    bool (*needed)(void *self, const struct tr_member *m);
    /* It ended early and will be started again. */
    void (*fell)(void *self, const struct tr_member *m, int64_t times);
    /* Did the process of it that was started at `since` answer a unit? NULL: if it lived a minute. */
    bool (*answered)(void *self, const struct tr_member *m, double since);
    /* It is lost; `st` and err say how. TR_OK: the run goes on without it; else what ends it. */
    enum tr_status (*lost)(void *self, const struct tr_member *m, enum tr_status st,
                           struct tr_err *err);
    void *self;
};

/* Copies the settings; their texts and log are borrowed until destroy. */
enum tr_status tr_staff_create(const struct tr_staff_settings *s, struct tr_staff **out,
                               struct tr_err *err);
/* Ends them all: they are given `seconds` to go by themselves, and are asked to after a second. */
void tr_staff_destroy(struct tr_staff *s, double seconds);

/* Writes the files of j, for post[n], whose words s makes; the address last: whoever sees it finds the
 * other file complete. */
enum tr_status tr_staff_tell(const struct tr_staff_settings *s,
                             const struct tr_joining *j, const char *address,
                             const struct tr_member *post, int64_t n, struct tr_err *err);

/* Adds `replicas` members of a post and starts them. */
enum tr_status tr_staff_add(struct tr_staff *s, enum tr_role role, const char *slot,
                            int64_t replicas, struct tr_err *err);
/* Looks after them: now and then, several times a second. Invariant 6: TR_BADARG after a mistake,
 * TR_GONE after too many falls. */
enum tr_status tr_staff_tend(struct tr_staff *s, double now, struct tr_err *err);
/* From now on who ends is not started again. */
void tr_staff_rest(struct tr_staff *s);
/* The same for one post, which is closed. */
void tr_staff_dismiss(struct tr_staff *s, enum tr_role role, const char *slot);

/* Member i with its process id (0: not running), for people; false past the last. */
bool tr_staff_see(const struct tr_staff *s, int64_t i, struct tr_member *out,
                  int64_t *pid, int64_t *falls);

#endif
