/* packed_dir.h - the folder in which a run's packed weights lie, on each host.
 *
 * What it is for. Shared memory if there is room for what the run keeps, else the run's own
 * folder. Processes come, go and are killed; what nobody uses any more must not stay in memory.
 *
 * The data. SHARED/troupe-UID-RUN or RUN_DIR/weights. In it the files of packed.h and `users`, a
 * file that each process which uses the folder holds a shared lock on. The kernel gives a lock back
 * when its process ends, however it ends: a folder whose lock is free has no user.
 *
 * Invariants.
 *   1. A folder with a user is never removed; the last one out removes it, and whoever starts
 *      removes those that were left behind.
 *   2. A folder of another user, or that others may write to, is refused. */
#ifndef TR_MODEL_PACKED_DIR_H
#define TR_MODEL_PACKED_DIR_H

#include <stddef.h>

#include "core/model/packed.h"

#define TR_PACKED_SHARED "/dev/shm"

struct tr_packed_dir;

/* The path, for the one who starts the run: under `shared` if it has `bytes` to spare there. Makes
 * nothing. */
enum tr_status tr_packed_dir_choose(const char *shared, const char *run,
                                    const char *run_dir, size_t bytes,
                                    char out[TR_PACKED_PATH], struct tr_err *err);

/* For every process that uses it: makes the folder if it is missing. */
enum tr_status tr_packed_dir_open(const char *path, struct tr_packed_dir **out,
                                  struct tr_err *err);
const char *tr_packed_dir_path(const struct tr_packed_dir *d); /* borrowed until close */
/* For one who publishes and was killed before: of the files that are there the newest `keep` stay. */
void tr_packed_dir_prune(const char *path, int64_t keep);
void tr_packed_dir_close(struct tr_packed_dir *d);

/* Removes the folders of this user's runs under `shared` that nobody uses. */
void tr_packed_dir_clean(const char *shared);

#endif
