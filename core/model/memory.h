/* memory.h - how much a run will need at its peak, and how much the host still has.
 *
 * What it is for. A run that does not fit should be refused in words before it starts, not
 * killed by the kernel in its third hour. All large buffers are sized from shapes at create, so
 * the peak is a sum that can be known beforehand.
 *
 * The data. A list of items, each a buffer or a group of them, by name, in bytes. The
 * available bytes are the least of what the host says (MemAvailable) and what each memory
 * cgroup above this process leaves (limit less usage, plus the file cache that it can drop).
 *
 * Invariants.
 *   1. An item's bytes are what the module's own _bytes function says, so they are exact. */
#ifndef TR_MODEL_MEMORY_H
#define TR_MODEL_MEMORY_H

#include "core/model/decode.h"
#include "core/model/head.h"
#include "core/model/trunk.h"

enum { TR_MEMORY_ITEMS = 12 };

struct tr_memory {
    int64_t n;
    struct {
        const char *name; /* borrows a literal */
        size_t bytes;
    } item[TR_MEMORY_ITEMS];
    size_t total;
};

/* What a process will hold. A NULL or 0 means: not at all. */
struct tr_memory_use {
    const struct tr_params *params;
    bool
        training; /* masters, two moments, gradients, and a tied embedding's second gradient */
    bool bf16; /* forward weights; f32 ones of a learner are its masters */
    const struct tr_trunk_size *trunk;
    int64_t head_rows;
    const struct tr_decode_size *decode;
};

void tr_memory_estimate(const struct tr_memory_use *use, struct tr_memory *out);
/* For what else a process holds. At most TR_MEMORY_ITEMS in all. */
void tr_memory_add(struct tr_memory *m, const char *name, size_t bytes);

/* "2.9 GiB (weights 0.5, moments 1.0, ...)". */
void tr_memory_text(const struct tr_memory *m, char *out, size_t size);

/* Bytes that a new process may still take. `root` is "" or, for tests, a folder that holds
 * another proc/ and sys/. TR_IO when not even MemAvailable can be read. */
enum tr_status tr_memory_available(const char *root, size_t *out, struct tr_err *err);

/* TR_NOMEM in words when the estimate does not fit into `available`. */
enum tr_status tr_memory_check(const struct tr_memory *m, size_t available,
                               struct tr_err *err);

#endif
