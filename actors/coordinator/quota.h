/* quota.h - how many lines the peers of a coordinator may cause, in its log and in run.db.
 *
 * What it is for. Most lines say what happened to a worker, and a worker that is broken, or hostile, can
 * make the same thing happen a thousand times a second. The first few of a kind are news; of the others
 * their number is.
 *
 * The data. A *source* is a kind of event ("left") of one name of one role, and a *crowd* the same kind of
 * all names of that role, so that one that takes a new name each time is no way around. Both have
 * lines to spend: so many at once, and then so many a second.
 *
 *              at once   then one each
 *     source        5        10 s
 *     crowd       256         1 s
 *
 * What was held back is counted where the lines ran out, and told as one line every ten seconds. Such a line
 * about a source is one of its crowd's: with none left the number goes to the crowd.
 *
 * Invariants.
 *   1. Whatever comes, in t seconds a role's events of one kind make at most 256 + 1.1 t lines, and those of
 *      one name 5 + 0.2 t.
 *   2. Each event was either let through, or is in one number that is told: none is lost.
 *   3. One who has been quiet for a minute has all its lines again.
 *   4. The size is fixed: who finds no place among the sources is counted in its crowd only. */
#ifndef TR_ACTORS_COORDINATOR_QUOTA_H
#define TR_ACTORS_COORDINATOR_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum { TR_QUOTA_SOURCES = 256, TR_QUOTA_CROWDS = 128 };

struct tr_quota_place {
    char kind[24], instance[64]; /* instance "": of a crowd */
    int role;
    double lines, at; /* left to spend, as of this moment on the clock */
    int64_t held;     /* since the last line about it */
    double held_since;
};

struct tr_quota { /* zeros: nobody has said anything yet */
    struct tr_quota_place source[TR_QUOTA_SOURCES], crowd[TR_QUOTA_CROWDS];
    int64_t sources, crowds;
};

/* May there be a line about this event? It is counted if not. kind has at most 23 bytes; role is
 * any number, and there are at most TR_QUOTA_CROWDS pairs of both. */
bool tr_quota_take(struct tr_quota *q, int role, const char *instance, const char *kind,
                   double now);

/* What was held back and should be told now; all: without waiting. False when there is nothing.
 * *out has its number in `held`, since `held_since`. */
bool tr_quota_tell(struct tr_quota *q, bool all, double now, struct tr_quota_place *out);

#endif
