/* cache.h - digests of model folders, remembered between runs.
 *
 * What it is for. The digest of a folder's weights takes seconds (read, pack, hash); the files
 * seldom change. What was computed once is kept in the user's cache folder, under a name made
 * from what the files look like from outside.
 *
 * The data. A key is the SHA-256 of `what` (which forward weights: "bf16", with a value head or
 * not) and of (real path, device, inode, size, mtime) of config.json, index and .safetensors
 * files of the folder, sorted by name. CACHE/digests/KEY holds the digest as text.
 *
 * Invariants.
 *   1. Failing to remember is no error: get says no, put does nothing.
 *   2. A folder with a file younger than two seconds is not remembered: it may still be written
 *      to without its mtime moving on. */
#ifndef TR_MODEL_CACHE_H
#define TR_MODEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/digest.h"

struct tr_cache_key {
    struct tr_digest id;
    bool settled; /* old enough to be remembered */
};

/* $XDG_CACHE_HOME/troupe, else $HOME/.cache/troupe, into out. False when there is neither. */
bool tr_cache_dir(char *out, size_t size);

/* now: seconds since 1970, as time(2) says. TR_IO when the folder cannot be listed. */
enum tr_status tr_cache_key(const char *dir, const char *what, int64_t now,
                            struct tr_cache_key *out, struct tr_err *err);

bool tr_cache_get(const char *cache, const struct tr_cache_key *key,
                  struct tr_digest *out);
void tr_cache_put(const char *cache, const struct tr_cache_key *key,
                  const struct tr_digest *value);

#endif
