#include "launch/room.h"

enum tr_status tr_room_choose(const struct tr_room *r, bool *recompute,
                              struct tr_err *err)
{
    const int wish = r->o->model.recompute;
    const bool open = wish < 0 && !r->o->model.never_recompute;
    struct tr_memory need;
    char text[320];
    size_t there = 0;
    *recompute = wish == 1;
    enum tr_status st = tr_memory_available("", &there, err);
    if (st == TR_OK) st = r->estimate(r->self, *recompute, &need, err);
    if (st == TR_OK && open && need.total > there / 4 * 3) {
        *recompute = true;
        st = r->estimate(r->self, true, &need, err);
    }
    if (st != TR_OK) return st;
    tr_memory_text(&need, text, sizeof text);
    tr_log_info(r->log, "memory: %s, %.1f GiB available%s", text,
                (double)there / 1073741824.0,
                *recompute ? ", activations recomputed" : "");
    return r->here ? tr_memory_check(&need, there, err) : TR_OK;
}
