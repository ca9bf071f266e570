/* shards.h - the .safetensors files of one model folder as one list of tensors.
 *
 * What it is for. A model is one file, model.safetensors, or several with an index
 * (model.safetensors.index.json, whose weight_map says which file holds which tensor). Readers
 * ask for a tensor by name and need not know.
 *
 * The data. The open files, sorted by name, and for an indexed model its weight_map.
 *
 * Invariants.
 *   1. File names of an index are plain names in the folder: no separators, no "..".
 *   2. Every tensor of the index is in the file that the index names; anything else is refused
 *      with index, tensor and file. A tensor in a file but not in the index is not seen by find. */
#ifndef TR_MODEL_SHARDS_H
#define TR_MODEL_SHARDS_H

#include <jansson.h>

#include "core/model/safetensors.h"

struct tr_shards;

enum tr_status tr_shards_open(const char *dir, struct tr_shards **out,
                              struct tr_err *err);
void tr_shards_close(struct tr_shards *s);

int tr_shards_count(const struct tr_shards *s);               /* files */
const char *tr_shards_name(const struct tr_shards *s, int i); /* "model.safetensors" */
const struct tr_st *tr_shards_file(const struct tr_shards *s, int i);
const json_t *tr_shards_index(
    const struct tr_shards *s); /* NULL when there is one file */

/* The tensor and, if file is not NULL, the number of its file; or NULL. Borrowed until close. */
const struct tr_st_tensor *tr_shards_find(const struct tr_shards *s, const char *name,
                                          int *file);

#endif
