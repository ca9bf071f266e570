#include "launch/seats.h"

void tr_seats_take(struct tr_seats *s, const struct tr_roles *roles, bool in_turns,
                   const struct tr_log *log)
{
    int wishes = 0;
    struct tr_machine host;
    struct tr_err err = {0};
    enum tr_status st = tr_machine_open(NULL, &host, &err);
    tr_place_wishes(roles, s->wish, &wishes);
    if (st == TR_OK)
        st = tr_places_divide(&host, s->wish, wishes, in_turns, &s->places, &err);
    tr_machine_close(&host);
    if (st == TR_OK)
        tr_log_info(log, "%s", s->places.why);
    else
        tr_log_warn(log, "nobody has cores of their own: %s", err.text);
}

void tr_seats_fini(struct tr_seats *s)
{
    tr_places_fini(&s->places);
}

void tr_seats_words(struct tr_seats *s, const struct tr_member *m, int64_t threads,
                    struct tr_words *w)
{
    const struct tr_place *at =
        tr_places_find(&s->places, s->wish, m->role, m->slot, m->index);
    tr_words_number(w, "--threads", at ? at->threads : threads);
    if (!at || !s->places.bound) return;
    tr_place_list(at, s->list, sizeof s->list);
    tr_words_add(w, "--cpus", s->list);
}
