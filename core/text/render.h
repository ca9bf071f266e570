/* render.h - conversations to examples, a stage at a time.
 *
 * What it is for. The rules of ALGORITHMS.md 4: what is truncated, what is trained, what is a
 * sequence. Each stage has one function that takes a conversation and appends examples.
 *
 * The data. A renderer borrows options, template and tokenizer, and owns scratch: a list of ids
 * for each message, for pt the ids of the group that is not cut into blocks yet, and for kto the
 * group's records, which become examples when it ends.
 *
 * Invariants.
 *   1. A conversation that a stage can't use appends nothing and says why in *fault. */
#ifndef TR_TEXT_RENDER_H
#define TR_TEXT_RENDER_H

#include "core/text/conversation.h"
#include "core/text/examples.h"
#include "core/text/template.h"
#include "core/text/twins.h"

struct tr_examples {
    struct tr_example *at; /* owns, and all in it */
    int64_t count, room, longest;
};

struct tr_renderer {
    const struct tr_examples_options *o;
    const struct tr_tokenizer *t;
    const struct tr_template *tp;
    struct tr_examples *out;
    int64_t cutoff;      /* o's, or one less where the peer takes one off */
    bool packing;        /* pt: blocks */
    struct tr_ids *list; /* [lists], owns: ids of each message */
    int lists;
    struct tr_ids group; /* pt: what is not in a block yet */
    struct tr_twins twins;
    struct tr_ids id; /* the sequence in the making */
    struct tr_ids label;
    struct tr_buf joined; /* pt: a text and its EOS */
};

void tr_render_init(struct tr_renderer *r, const struct tr_examples_options *o,
                    const struct tr_tokenizer *t, const struct tr_template *tp,
                    struct tr_examples *out);
/* Appends what the stage makes of c; *fault is NULL or the reason why that is nothing. */
enum tr_status tr_render(struct tr_renderer *r, const struct tr_conversation *c,
                         const char **fault, struct tr_err *err);
/* The end of a group of records (`last`: of all): pt drops what does not fill a block, kto gives its
 * records their twins. */
enum tr_status tr_render_end_group(struct tr_renderer *r, bool last, struct tr_err *err);
void tr_render_fini(struct tr_renderer *r);

/* Copies n sequences of ids and labels, all of the same count each, as one example. */
enum tr_status tr_examples_put(struct tr_examples *e, int n,
                               const struct tr_sequence *seq, struct tr_err *err);

#endif
