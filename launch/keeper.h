/* keeper.h - who keeps an eye on a run's processes (staff.h): what the coordinator knows of them, what the journal is
 * told, whether the run can do without one. The same for every stage. */
#ifndef TR_LAUNCH_KEEPER_H
#define TR_LAUNCH_KEEPER_H

#include "actors/coordinator/journal.h"
#include "launch/staff.h"

struct tr_keeper { /* borrows */
    struct tr_core *core;
    struct tr_journal *journal;
    const struct tr_log *log;
};

/* As the callbacks of struct tr_staff_settings. Needed are those of open posts until the run is over. */
bool tr_keeper_needs(const struct tr_keeper *k, const struct tr_member *m);
void tr_keeper_fell(const struct tr_keeper *k, const struct tr_member *m, int64_t times);
bool tr_keeper_answered(const struct tr_keeper *k, const struct tr_member *m,
                        double since);
/* TR_OK where others of its post are here, silent and idle ones not counted: they do the same. */
enum tr_status tr_keeper_lost(const struct tr_keeper *k, const struct tr_member *m,
                              enum tr_status st, const struct tr_err *why);

#endif
