/* file.h - whole files in, whole files out, never half of one.
 *
 * What it is for. Reading a file of bounded size, mapping a large one, and writing so that a
 * crash leaves either the old file or the new one.
 *
 * Invariants.
 *   1. A read says the path, the size found and the limit when the file is too large. A file
 *      that is not there, or is none, is TR_BADARG; one that refuses is TR_IO.
 *   2. tr_file_write writes aside (path + ".part"), fsyncs, renames and fsyncs the folder.
 *   3. On any failure nothing is held and no ".part" is left behind. */
#ifndef TR_BASE_FILE_H
#define TR_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Reads the whole file into out (initialised by the callee with limit). TR_IO or TR_NOMEM. */
enum tr_status tr_file_read(const char *path, size_t limit, struct tr_buf *out,
                            struct tr_err *err);

/* A read-only mapping. size 0 maps nothing and at is NULL. */
struct tr_map {
    const unsigned char *at;
    size_t size;
};
enum tr_status tr_map_open(const char *path, struct tr_map *out, struct tr_err *err);
void tr_map_close(struct tr_map *m);

/* Replaces path by these bytes, durably. */
enum tr_status tr_file_write(const char *path, const void *bytes, size_t size,
                             struct tr_err *err);

/* mkdir -p; TR_IO names the folder that refused. */
enum tr_status tr_dir_make(const char *path, struct tr_err *err);

/* fsync of a folder, so that renames in it last. */
enum tr_status tr_dir_sync(const char *path, struct tr_err *err);

/* Renames a finished folder into place (from must be on the same file system), replacing an
 * older one, and syncs the parent. */
enum tr_status tr_dir_replace(const char *from, const char *to, struct tr_err *err);

/* Removes a folder and all in it; a missing one is fine. Follows no symbolic link. */
enum tr_status tr_dir_remove(const char *path, struct tr_err *err);

bool tr_path_exists(const char *path);
bool tr_path_is_dir(const char *path);

/* a + "/" + b into out[size]; TR_BADARG when it does not fit. */
enum tr_status tr_path_join(char *out, size_t size, const char *a, const char *b,
                            struct tr_err *err);

#endif
