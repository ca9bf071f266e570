/* twins.h - KTO's examples: each answer with its twin.
 *
 * What it is for. KTO measures how far the policy has moved with answers that do not belong to their
 * prompts. So each record (a prompt, an answer, a mark) gets a twin: the same prompt with the answer
 * of the record before it in its group; the first takes the group's last.
 *
 * The data. A group's records are gathered as ids and become examples when it ends: sequence 0 is
 * the target, sequence 1 the twin, each cut to the cutoff by itself (ALGORITHMS.md 4.1).
 *
 * Invariants.
 *   1. Examples are in the order of their records; a record that is not valid makes none.
 *   2. (quirk 19) An answer comes from a valid record, and from another one than the prompt's while
 *      there is another: a group with fewer than two valid records is joined with the next, and one
 *      that is left over at the end takes the answer of the last record before it.
 *   3. compat: the shift is over all records, a record alone in its group is its own twin; only a
 *      record without any answer, on which the peer fails, is passed over. */
#ifndef TR_TEXT_TWINS_H
#define TR_TEXT_TWINS_H

#include "core/base/buf.h"
#include "core/text/tokenizer.h"

struct tr_examples;

struct tr_twin_record {
    struct tr_ids prompt, answer; /* own */
    bool answered;                /* there is an answer, be the record valid or not */
    bool valid, desirable;
};

struct tr_twins {
    struct tr_twin_record *record; /* owns, [room]; [count] of the running group */
    int64_t count, room;
    struct tr_ids last;      /* owns: the last answer of the groups before */
    struct tr_ids id, label; /* own: the sequences in the making */
    /* for the notes */
    int64_t groups, one_sided, passed, borrowed, matched;
};

void tr_twins_fini(struct tr_twins *w);

/* A record to fill, empty, the next of its group; borrowed until the next call. */
enum tr_status tr_twins_next(struct tr_twins *w, struct tr_twin_record **out,
                             struct tr_err *err);

/* The end of a group, or with `last` of everything: appends its examples. */
enum tr_status tr_twins_end(struct tr_twins *w, int64_t cutoff, bool compat, bool last,
                            struct tr_examples *out, struct tr_err *err);

/* What a user should know about the twins, a line each. */
enum tr_status tr_twins_note(const struct tr_twins *w, struct tr_buf *notes,
                             struct tr_err *err);

#endif
