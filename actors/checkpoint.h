/* checkpoint.h - a learner's state as a folder, and the folders of one run.
 *
 * Takes a learner and the name of a folder.
 * Gives a Hugging Face folder that a run can go on from to the bit.
 *
 * The data. checkpoint-N/ holds
 *   config.json, model.safetensors, value_head.safetensors   the f32 masters, as transformers
 *   tokenizer files, generation_config.json                   reads them
 *   optimizer.safetensors   exp_avg.<tensor> and exp_avg_sq.<tensor>, f32 in Hugging Face order
 *   learner.json            t, and the digest of masters, moments and t
 *   lineage.json            of a snapshot: where in the chain of learn units it stands
 *   trainer_state.json      how far the run was (core/watch writes it)
 * It is written as checkpoint-N.part, fsynced and renamed, so a folder without ".part" is whole.
 *
 * Invariants.
 *   1. After load the learner's state digest is the one that was saved, or load refuses.
 *   2. A folder of another model, or one whose files do not fit together, is refused in words. */
#ifndef TR_ACTORS_CHECKPOINT_H
#define TR_ACTORS_CHECKPOINT_H

#include "actors/learner.h"

/* Writes the model into dir (made if missing) and, with `optimiser`, what training needs to go on.
 * `source` is the folder the model came from: its config.json is carried over and its tokenizer
 * files are copied. NULL: a config of our own, no tokenizer. */
enum tr_status tr_checkpoint_write(struct tr_learner *l, const char *dir,
                                   const char *source, bool optimiser,
                                   struct tr_err *err);

/* Masters, moments and t from dir into a learner of the same shapes. On failure the learner's
 * state is undefined. */
enum tr_status tr_checkpoint_read(struct tr_learner *l, const char *dir,
                                  struct tr_err *err);

/* lineage.json: of a snapshot, where its state lies in the chain of a run's learn units, sealed with the
 * digest of that state. Read gives TR_AGAIN when the folder has none. */
enum tr_status tr_checkpoint_write_lineage(const char *dir,
                                           const struct tr_digest *lineage,
                                           struct tr_err *err);
enum tr_status tr_checkpoint_read_lineage(const char *dir, struct tr_digest *lineage,
                                          struct tr_err *err);

/* RUN/checkpoint-STEP, with `.part` while it is written. */
enum tr_status tr_checkpoint_name(const char *run, int64_t step, bool part, char *out,
                                  size_t size, struct tr_err *err);

/* Renames the finished .part into place, durably. */
enum tr_status tr_checkpoint_publish(const char *run, int64_t step, struct tr_err *err);

/* The highest N of RUN/checkpoint-N that a run can go on from (it has the optimiser's state), -1 when there is none. */
int64_t tr_checkpoint_last(const char *run);

/* Removes the oldest until `limit` are left, never the one of step `keep`, and what a crash
 * left unfinished (.part). limit < 0 keeps all that are whole. */
enum tr_status tr_checkpoint_prune(const char *run, int64_t limit, int64_t keep,
                                   struct tr_err *err);

#endif
