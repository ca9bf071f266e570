/* gguf_import.h - a Hugging Face folder out of a GGUF file.
 *
 * What it is for. `troupe import MODEL.gguf DIR`: after it, everything else reads DIR.
 *
 * The data. Architecture from the metadata, tensors renamed and dequantised. llama.cpp stores
 * the rows of Llama's q and k interleaved within a head (its RoPE turns neighbours), Hugging
 * Face in halves: row h D + j D/2 + i comes from row h D + 2 i + j. Qwen2's are not changed.
 *
 * Invariants.
 *   1. Nothing is guessed: a tensor, a scaling of positions or a key that would change the
 *      result and is not understood is refused in words.
 *   2. The folder appears whole or not at all; one that holds anything is never overwritten. */
#ifndef TR_MODEL_GGUF_IMPORT_H
#define TR_MODEL_GGUF_IMPORT_H

#include "core/model/arch.h"
#include "core/model/gguf.h"
#include "kernels/exec.h"
#include "kernels/mat.h"

/* Shapes and constants from the metadata; ids from the tokenizer's part of it. */
enum tr_status tr_gguf_arch(const struct tr_gguf *g, struct tr_arch *out,
                            struct tr_err *err);

/* Makes dir; *weights is the number of weights written. TR_BADARG when the file cannot be
 * imported or dir is not new or empty. */
enum tr_status tr_gguf_import(const char *path, const char *dir, enum tr_dtype dtype,
                              const struct tr_exec *ex, int64_t *weights,
                              struct tr_err *err);

#endif
