/* folder.h - a Hugging Face model folder: config.json, model*.safetensors, value_head.safetensors.
 *
 * What it is for. Models come in and go out as folders that transformers reads. Weights are read
 * tensor by tensor, block of rows by block of rows, straight into the packed layout; memory
 * never holds a second copy.
 *
 * Invariants.
 *   1. Missing, extra-shaped or wrongly typed tensors are refused with file, tensor, expected
 *      and found; extra tensors are noted by name and ignored (rotary inv_freq, lm_head of a
 *      tied model).
 *   2. A folder written back unchanged gives bit-identical tensors (names, dtypes, shapes, data). */
#ifndef TR_MODEL_FOLDER_H
#define TR_MODEL_FOLDER_H

#include "core/model/shards.h"
#include "core/model/weights.h"

struct tr_folder; /* opened: arch, config, the shards and which tensor is where */

enum tr_status tr_folder_open(const char *dir, struct tr_folder **out,
                              struct tr_err *err);
const struct tr_arch *tr_folder_arch(const struct tr_folder *f);
const json_t *tr_folder_config(const struct tr_folder *f);
const char *tr_folder_dir(const struct tr_folder *f);
bool tr_folder_has_value_head(const struct tr_folder *f);
/* A tied model's counts as there. */
bool tr_folder_has_lm_head(const struct tr_folder *f);
/* The dtype of the files' embed_tokens: what the model is stored as. */
enum tr_dtype tr_folder_dtype(const struct tr_folder *f);
const struct tr_shards *tr_folder_shards(const struct tr_folder *f);
/* The open value_head.safetensors, or NULL. */
const struct tr_st *tr_folder_head(const struct tr_folder *f);
/* One line that names the tensors which the model does not use, or "". Borrowed until close. */
const char *tr_folder_notes(const struct tr_folder *f);
void tr_folder_close(struct tr_folder *f);

/* Fills a flat f32 buffer (masters) with every tensor of params. The value head comes from
 * value_head.safetensors when there is one; otherwise it is left as it is and *head_found is
 * false. */
enum tr_status tr_folder_read(const struct tr_folder *f, const struct tr_exec *ex,
                              const struct tr_params *params, float *flat,
                              bool *head_found, struct tr_err *err);

/* The same into forward weights, without masters. */
enum tr_status tr_folder_read_weights(const struct tr_folder *f, const struct tr_exec *ex,
                                      struct tr_weights *w, bool *head_found,
                                      struct tr_err *err);

/* With `like`, a folder that was opened (the one the model was read from, usually), each tensor
 * keeps the dtype and the file that it has there, and tensors which the model does not use are
 * copied: a model that was not changed comes out bit-identical. A tied model's stored lm_head
 * is written from the embedding, which is what it means. */
struct tr_folder_save {
    const json_t *config;         /* written as config.json; NULL: made from the arch */
    const char *tokenizer_dir;    /* copies its tokenizer files, chat template and
                                * generation_config.json; may be NULL */
    enum tr_dtype dtype;          /* of files and torch_dtype; unused with like */
    int64_t shard_bytes;          /* 0: one file; unused with like */
    const struct tr_folder *like; /* borrows; may be NULL */
};

/* Writes model.safetensors (or shards and an index), config.json and, when params has one,
 * value_head.safetensors, into dir (made if missing). flat is in the layout of masters. */
enum tr_status tr_folder_write(const char *dir, const struct tr_exec *ex,
                               const struct tr_params *params, const float *flat,
                               const struct tr_folder_save *save, struct tr_err *err);

#endif
