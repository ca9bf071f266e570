/* packed.h - forward weights as one file that the processes of a host map and share.
 *
 * What it is for. After each step a policy has new weights and rollouts on the same host want them.
 * The file holds them as the kernels want them, so a reader maps it and computes: nothing is
 * read, packed or hashed, and all readers share the memory.
 *
 * The data (little-endian; every part starts at a multiple of 64 bytes, the first at 256):
 *     header    256 bytes: magic, version, sizes, which layout, the digest of the table of tensors,
 *               the digest of the weights
 *     chunks    the SHA-256 of each 4 MiB chunk (weights.h), 32 bytes each
 *     half      bf16 only: the matrices, at the offsets of params
 *     f32       everything (f32), or vectors and value head (bf16)
 * It is called DIGEST.weights. A file without a folder has no name and lives as long as those
 * who have it open.
 *
 * Invariants.
 *   1. A file appears under its name whole or not at all: it is written aside and renamed.
 *   2. A reader accepts only a file of its own user, that nobody else may write to, whose header
 *      equals the one that it would write itself for the wanted digest; the chunks' digests make
 *      that digest. The elements are then trusted; tr_packed_verify hashes them.
 *   3. Opened files are read-only in memory. */
#ifndef TR_MODEL_PACKED_H
#define TR_MODEL_PACKED_H

#include "core/model/weights.h"

struct tr_packed; /* opaque; owns the mapping, borrows params */

enum { TR_PACKED_PATH = 1024 };

/* DIGEST.weights in dir. TR_BADARG when it does not fit. */
enum tr_status tr_packed_path(const char *dir, const struct tr_digest *digest,
                              char out[TR_PACKED_PATH], struct tr_err *err);
/* Bytes of a file. */
size_t tr_packed_bytes(const struct tr_params *params, bool bf16);

/* A new file of zeros to be filled: put chunks into tr_packed_fill, then seal. dir NULL: one without a
 * name. Room on the disk is taken now: TR_IO when it is full. */
enum tr_status tr_packed_create(const struct tr_params *params, enum tr_math math,
                                bool bf16, const char *dir, struct tr_packed **out,
                                struct tr_err *err);
struct tr_weights *tr_packed_fill(struct tr_packed *p);
/* Writes the header and gives the file its name; from now on it is read-only. chunk holds the
 * digests of all chunks, digest what they make. */
enum tr_status tr_packed_seal(struct tr_packed *p, const struct tr_digest *chunk,
                              const struct tr_digest *digest, struct tr_err *err);

/* The three above for weights that are there already. */
enum tr_status tr_packed_write(const struct tr_weights *w, const struct tr_exec *ex,
                               const struct tr_digest *chunk,
                               const struct tr_digest *digest, const char *dir,
                               struct tr_packed **out, struct tr_err *err);

/* Maps a file for weights of this kind. TR_BADARG says what it is instead. */
enum tr_status tr_packed_open(const char *path, const struct tr_params *params,
                              enum tr_math math, bool bf16, const struct tr_digest *want,
                              struct tr_packed **out, struct tr_err *err);
/* The same file once more, for another thread (its params are equal, but its own). */
enum tr_status tr_packed_again(const struct tr_packed *p, const struct tr_params *params,
                               struct tr_packed **out, struct tr_err *err);

/* All below are borrowed until close; of a file that is sealed or was opened. */
const struct tr_weights *tr_packed_weights(const struct tr_packed *p);
struct tr_digest tr_packed_digest(const struct tr_packed *p);
const struct tr_digest *tr_packed_chunks(const struct tr_packed *p);
const char *tr_packed_name(const struct tr_packed *p); /* its path, "" if it has none */

/* Hashes every chunk; TR_BADMSG names the first that is not what its digest says. */
enum tr_status tr_packed_verify(const struct tr_packed *p, const struct tr_exec *ex,
                                struct tr_err *err);

/* Takes the name away; those who have it open keep it. */
void tr_packed_unlink(const struct tr_packed *p);
void tr_packed_close(struct tr_packed *p);

#endif
