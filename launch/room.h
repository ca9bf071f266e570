/* room.h - has this host the memory for a run, and is memory worth more than time in it?
 *
 * What it is for. A run that does not fit is refused in words before it starts (core/model/memory.h),
 * and one that would nearly fill the host computes activations again instead of keeping them: that
 * costs time and changes no bit. The same for every stage.
 *
 * Invariants.
 *   1. What `gradient_checkpointing` or `disable_gradient_checkpointing` says is done. Only where neither
 *      does is there a choice: at three quarters of what the host has.
 *   2. What was found is one line, with each item of the estimate. */
#ifndef TR_LAUNCH_ROOM_H
#define TR_LAUNCH_ROOM_H

#include "core/base/log.h"
#include "core/model/memory.h"
#include "launch/options.h"

struct tr_room { /* borrows */
    const struct tr_options *o;
    const struct tr_log *log;
    bool here; /* the processes are started on this host: what does not fit is refused */
    /* What the run takes, with activations kept or not. */
    enum tr_status (*estimate)(void *self, bool recompute, struct tr_memory *need,
                               struct tr_err *err);
    void *self;
};

/* TR_NOMEM says what is needed and what there is. */
enum tr_status tr_room_choose(const struct tr_room *r, bool *recompute,
                              struct tr_err *err);

#endif
