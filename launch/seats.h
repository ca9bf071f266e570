/* seats.h - which of this host's cores each process of a run gets (place.h), as words of its command line. */
#ifndef TR_LAUNCH_SEATS_H
#define TR_LAUNCH_SEATS_H

#include "core/base/log.h"
#include "launch/place.h"
#include "launch/staff.h"

struct tr_seats { /* zeroes: nobody has any */
    struct tr_place_wish wish[TR_PLACE_WISHES];
    struct tr_places places; /* owns */
    char list[256];          /* of the member whose words were made last */
};

/* Divides this host among the roles and says how. What cannot be had is a warning: they share then. */
void tr_seats_take(struct tr_seats *s, const struct tr_roles *roles, bool in_turns,
                   const struct tr_log *log);
void tr_seats_fini(struct tr_seats *s);

/* The member's --threads (`threads` where it has no place: one that nobody counted with, as a reward that
 * came by a swap) and --cpus where it has cores of its own. Borrowed until the next call. */
void tr_seats_words(struct tr_seats *s, const struct tr_member *m, int64_t threads,
                    struct tr_words *w);

#endif
