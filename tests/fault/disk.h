/* disk.h - a disk under SQLite that fails when told to, or forgets what was not synced.
 *
 * What it is for. SQLite's writes, truncations and syncs are counted as they go by. One of them can be
 * made to fail, alone or with all after it. Or the moment of one of them is a loss of power: of each
 * file there is then what was synced, and of what came later any sectors whatever, by seed.
 *
 * One process, one thread, at most DISK_FILES files at a time; everything asserts. */
#ifndef TR_TEST_DISK_H
#define TR_TEST_DISK_H

#include <stdbool.h>
#include <stdint.h>

enum { DISK_FILES = 2 }; /* run.db, run.db-wal, by the order of their paths below */

/* From now on SQLite's calls go through here. */
void disk_attach(void);
void disk_detach(void);

/* Operation k from now on fails with this errno; `stays`: all after it too. k < 0: none. */
void disk_fail(int64_t k, int cause, bool stays);
/* Operations since. */
int64_t disk_operations(void);

/* The power is lost at operation k from now on, for the files at these paths, which may appear later
 * and are empty at present or absent. What this process sees is not changed. */
void disk_lose_power(int64_t k, uint32_t seed, const char *const path[DISK_FILES]);
/* It was. */
bool disk_lost(void);
/* What was left, to other paths; a file that was never there is not written. */
void disk_write_left(const char *const to[DISK_FILES]);

#endif
