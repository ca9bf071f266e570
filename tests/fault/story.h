/* story.h - numbered things that a run writes into its journal, and how far a file tells them.
 *
 * The data. Deed i of the story is, by i % 8: a commit of step i / 8 (7), a snapshot (3, of every 64th),
 * a flush (5), else an answer that is kept for good. A file tells the story up to m when deeds
 * 0 .. m-1 are there and none after.
 *
 * Everything asserts. */
#ifndef TR_TEST_STORY_H
#define TR_TEST_STORY_H

#include "tests/unit/made_journal.h"

/* A journal whose log is folded often, so that stops fall into folds too. */
enum tr_status story_open(const char *path, struct tr_journal **out, struct tr_err *err);

/* Does deed i. *lasts: all up to it were flushed; *durable: they are on the disk. */
enum tr_status story_do(struct tr_journal *j, int64_t i, bool *lasts, bool *durable,
                        struct tr_err *err);

/* How far the journal tells the story, of which at most `most` deeds were done; what it has is
 * right to the byte. -1: it says that it is damaged. */
int64_t story_told(struct tr_journal *j, int64_t most);
/* The same for a file whose bits were turned, where a row may be lost: how many of the deeds are
 * there, in whatever order. */
int64_t story_left(struct tr_journal *j, int64_t most);

#endif
