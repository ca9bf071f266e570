#include "core/model/packed.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER = 256, ALIGN = 64, VERSION = 1 };

struct header {
    char magic[8];
    uint32_t version, math;
    uint32_t bf16, zero;
    uint64_t size, chunks, half_at, half_bytes, f32_at, f32_bytes;
    struct tr_digest shapes, weights;
    unsigned char rest[HEADER - 8 - 16 - 48 - 64]; /* zero */
};
_Static_assert(sizeof(struct header) == HEADER, "the header's bytes are the format");

struct tr_packed {
    const struct tr_params *params; /* borrows */
    struct header header;           /* as it is, or will be, in the file */
    int fd;
    unsigned char *at;    /* owns the mapping, header.size bytes */
    struct tr_weights *w; /* owns; lies in the mapping */
    char part[TR_PACKED_PATH], path[TR_PACKED_PATH]; /* "" when without a name */
    bool sealed;
};

/* ---- the header ---- */

static size_t align(size_t x)
{
    return (x + ALIGN - 1) / ALIGN * ALIGN;
}

/* Chunks of forward weights: as weights.h counts them, from the table alone. */
static uint64_t count_chunks(const struct tr_params *params, bool bf16)
{
    uint64_t n = 0;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        uint64_t width = bf16 && p->kind != TR_PARAM_VALUE_HEAD ? 2 : 4;
        uint64_t bytes = (uint64_t)tr_param_elements(p) * width;
        n += (bytes + TR_CHUNK_BYTES - 1) / TR_CHUNK_BYTES;
    }
    return n;
}

static enum tr_status hash_shapes(const struct tr_params *params, struct tr_digest *out,
                                  struct tr_err *err)
{
    struct tr_hash *h = NULL;
    enum tr_status st = tr_hash_create(&h, err);
    if (st != TR_OK) return st;
    for (int64_t i = 0; i < tr_params_count(params); i++) {
        const struct tr_param *p = tr_params_get(params, i);
        tr_hash_put_u64(h, strlen(p->name));
        tr_hash_put(h, p->name, strlen(p->name));
        tr_hash_put_u64(h, (uint64_t)p->kind);
        tr_hash_put_u64(h, (uint64_t)p->N);
        tr_hash_put_u64(h, (uint64_t)p->K);
        tr_hash_put_u64(h, (uint64_t)p->at);
    }
    *out = tr_hash_end(h);
    tr_hash_destroy(h);
    return TR_OK;
}

/* The one header that such weights have; the digest is left zero. */
static enum tr_status make_header(const struct tr_params *params, enum tr_math math,
                                  bool bf16, struct header *out, struct tr_err *err)
{
    struct tr_weights_parts parts = tr_weights_sizes(params, bf16);
    uint64_t chunks = count_chunks(params, bf16);
    *out = (struct header){.magic = {'T', 'R', 'P', 'A', 'C', 'K', 'E', 'D'},
                           .version = VERSION,
                           .math = (uint32_t)math,
                           .bf16 = bf16,
                           .chunks = chunks,
                           .half_at = HEADER + align(chunks * sizeof(struct tr_digest)),
                           .half_bytes = parts.half_bytes,
                           .f32_bytes = parts.f32_bytes};
    out->f32_at = out->half_at + align(out->half_bytes);
    out->size = out->f32_at + align(out->f32_bytes);
    return hash_shapes(params, &out->shapes, err);
}

size_t tr_packed_bytes(const struct tr_params *params, bool bf16)
{
    struct tr_weights_parts parts = tr_weights_sizes(params, bf16);
    return HEADER + align(count_chunks(params, bf16) * sizeof(struct tr_digest)) +
           align(parts.half_bytes) + align(parts.f32_bytes);
}

/* What a file is instead of what is wanted, as TR_BADARG. `size` is the file's. */
static enum tr_status check_header(const char *path, const struct header *want,
                                   const struct header *found, size_t size,
                                   struct tr_err *err)
{
    const struct header *f = found;
    char a[65], b[65];
    if (memcmp(f->magic, want->magic, sizeof f->magic) != 0)
        return tr_err_set(err, TR_BADARG, "%s: no file of packed weights", path);
    if (f->version != want->version)
        return tr_err_set(err, TR_BADARG, "%s: version %u, expected %u", path, f->version,
                          want->version);
    if (f->math != want->math)
        return tr_err_set(err, TR_BADARG, "%s: laid out for other maths", path);
    if (f->bf16 != want->bf16)
        return tr_err_set(err, TR_BADARG, "%s: %s weights, expected %s", path,
                          f->bf16 ? "bf16" : "f32", want->bf16 ? "bf16" : "f32");
    if (!tr_digest_equal(&f->shapes, &want->shapes))
        return tr_err_set(err, TR_BADARG, "%s: weights of another shape", path);
    tr_digest_text(&f->weights, a);
    tr_digest_text(&want->weights, b);
    if (!tr_digest_equal(&f->weights, &want->weights))
        return tr_err_set(err, TR_BADARG, "%s: holds %.16s..., wanted is %.16s...", path,
                          a, b);
    if (size != want->size || memcmp(f, want, sizeof *f) != 0)
        return tr_err_set(err, TR_BADARG, "%s: %zu bytes, expected %llu as its header",
                          path, size, (unsigned long long)want->size);
    return TR_OK;
}

/* ---- files and mappings ---- */

static enum tr_status refused(const char *path, const char *what, struct tr_err *err)
{
    return tr_err_set(err, TR_IO, "%s: %s: %s", path[0] ? path : "packed weights", what,
                      tr_err_cause(errno));
}

enum tr_status tr_packed_path(const char *dir, const struct tr_digest *digest,
                              char out[TR_PACKED_PATH], struct tr_err *err)
{
    char text[65];
    tr_digest_text(digest, text);
    int n = snprintf(out, TR_PACKED_PATH, "%s/%s.weights", dir, text);
    if (n < 0 || n >= TR_PACKED_PATH)
        return tr_err_set(err, TR_BADARG, "%s: path over %d bytes", dir, TR_PACKED_PATH);
    return TR_OK;
}

static enum tr_status new_packed(const struct tr_params *params,
                                 const struct header *header, struct tr_packed **out,
                                 struct tr_err *err)
{
    struct tr_packed *p = calloc(1, sizeof *p);
    *out = p;
    if (!p) return tr_err_set(err, TR_NOMEM, "packed weights");
    p->params = params;
    p->header = *header;
    p->fd = -1;
    return TR_OK;
}

/* Maps the file and lays weights over it. */
static enum tr_status map(struct tr_packed *p, bool fill, struct tr_err *err)
{
    const struct header *h = &p->header;
    void *at =
        mmap(NULL, h->size, PROT_READ | (fill ? PROT_WRITE : 0), MAP_SHARED, p->fd, 0);
    if (at == MAP_FAILED) return refused(p->path, "cannot map", err);
    madvise(at, h->size, MADV_HUGEPAGE); /* advice: a refusal costs speed only */
    p->at = at;
    struct tr_weights_parts parts = {
        .half = h->half_bytes ? p->at + h->half_at : NULL,
        .f32 = p->at + h->f32_at,
        .half_bytes = h->half_bytes,
        .f32_bytes = h->f32_bytes,
    };
    return tr_weights_lay(p->params, (enum tr_math)h->math, h->bf16, &parts, fill, &p->w,
                          err);
}

static enum tr_status new_file(struct tr_packed *p, const char *dir, struct tr_err *err)
{
    if (dir) {
        int n = snprintf(p->part, sizeof p->part, "%s/part-XXXXXX", dir);
        if (n < 0 || (size_t)n >= sizeof p->part)
            return tr_err_set(err, TR_BADARG, "%s: path over %d bytes", dir,
                              TR_PACKED_PATH);
        p->fd = mkostemp(p->part, O_CLOEXEC); /* for its owner alone */
        if (p->fd < 0) p->part[0] = 0;
    } else {
        p->fd = memfd_create("troupe-weights", MFD_CLOEXEC);
    }
    if (p->fd < 0) return refused(dir ? dir : "", "cannot make a file", err);
    /* Room is taken now: a full disk is an error here and not a signal later. */
    errno = posix_fallocate(p->fd, 0, (off_t)p->header.size);
    return errno == 0 ? TR_OK : refused(p->part, "no room", err);
}

enum tr_status tr_packed_create(const struct tr_params *params, enum tr_math math,
                                bool bf16, const char *dir, struct tr_packed **out,
                                struct tr_err *err)
{
    struct header header;
    struct tr_packed *p = NULL;
    *out = NULL;
    enum tr_status st = make_header(params, math, bf16, &header, err);
    if (st == TR_OK) st = new_packed(params, &header, &p, err);
    if (st == TR_OK) st = new_file(p, dir, err);
    if (st == TR_OK) st = map(p, true, err);
    if (st != TR_OK) {
        tr_packed_close(p);
        return st;
    }
    *out = p;
    return TR_OK;
}

struct tr_weights *tr_packed_fill(struct tr_packed *p)
{
    assert(!p->sealed);
    return p->w;
}

/* Gives the file its name, in the folder where it was made. */
static enum tr_status name_file(struct tr_packed *p, struct tr_err *err)
{
    char dir[TR_PACKED_PATH];
    snprintf(dir, sizeof dir, "%s", p->part);
    *strrchr(dir, '/') = 0;
    enum tr_status st = tr_packed_path(dir, &p->header.weights, p->path, err);
    if (st != TR_OK) return st;
    if (fchmod(p->fd, S_IRUSR) != 0 || rename(p->part, p->path) != 0) {
        st = refused(p->part, "cannot rename", err);
        p->path[0] = 0;
        return st;
    }
    p->part[0] = 0;
    return TR_OK;
}

enum tr_status tr_packed_seal(struct tr_packed *p, const struct tr_digest *chunk,
                              const struct tr_digest *digest, struct tr_err *err)
{
    assert(!p->sealed);
    p->header.weights = *digest;
    memcpy(p->at + HEADER, chunk, p->header.chunks * sizeof *chunk);
    memcpy(p->at, &p->header, HEADER);
    tr_weights_destroy(p->w);
    p->w = NULL;
    munmap(p->at, p->header.size);
    p->at = NULL;
    enum tr_status st = map(p, false, err);
    if (st == TR_OK && p->part[0]) st = name_file(p, err);
    p->sealed = st == TR_OK;
    return st;
}

/* ---- writing what is there ---- */

/* Into the file and not through the mapping: those pages would count as this process's. */
struct copy_job {
    int fd;
    off_t to;
    const unsigned char *from;
    size_t size;
    atomic_int fault; /* errno of one that failed */
};

static void copy_tile(void *ctx, int64_t tile, void *scratch)
{
    struct copy_job *job = ctx;
    size_t at = (size_t)tile * TR_CHUNK_BYTES, end = at + TR_CHUNK_BYTES;
    (void)scratch;
    if (end > job->size) end = job->size;
    while (at < end) {
        ssize_t n = pwrite(job->fd, job->from + at, end - at, job->to + (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            job->fault = n < 0 ? errno : EIO;
            return;
        }
        at += (size_t)n;
    }
}

static enum tr_status copy_part(const struct tr_packed *p, const struct tr_exec *ex,
                                uint64_t to, const void *from, size_t size,
                                struct tr_err *err)
{
    struct copy_job job = {.fd = p->fd, .to = (off_t)to, .from = from, .size = size};
    int64_t tiles = (int64_t)((size + TR_CHUNK_BYTES - 1) / TR_CHUNK_BYTES);
    if (tiles > 0) tr_team_run(ex->team, tiles, copy_tile, &job);
    errno = job.fault;
    return errno == 0 ? TR_OK : refused(p->part, "cannot write", err);
}

enum tr_status tr_packed_write(const struct tr_weights *w, const struct tr_exec *ex,
                               const struct tr_digest *chunk,
                               const struct tr_digest *digest, const char *dir,
                               struct tr_packed **out, struct tr_err *err)
{
    struct tr_packed *p = NULL;
    *out = NULL;
    enum tr_status st = tr_packed_create(tr_weights_params(w), ex->math,
                                         tr_weights_bf16(w), dir, &p, err);
    if (st == TR_OK) {
        const struct header *h = &p->header;
        struct tr_weights_parts from = tr_weights_parts(w);
        st = copy_part(p, ex, h->half_at, from.half, from.half_bytes, err);
        if (st == TR_OK) st = copy_part(p, ex, h->f32_at, from.f32, from.f32_bytes, err);
        if (st == TR_OK) st = tr_packed_seal(p, chunk, digest, err);
    }
    if (st != TR_OK) {
        tr_packed_close(p);
        return st;
    }
    *out = p;
    return TR_OK;
}

/* ---- reading ---- */

/* A regular file of ours that nobody else can write to, and its header. */
static enum tr_status read_header(const char *path, int fd, struct header *out,
                                  size_t *size, struct tr_err *err)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0) return refused(path, "cannot look at it", err);
    if (!S_ISREG(sb.st_mode) || sb.st_uid != geteuid() ||
        (sb.st_mode & (S_IWGRP | S_IWOTH)))
        return tr_err_set(err, TR_BADARG,
                          "%s: expected a file of this user that no other may write to",
                          path);
    *size = (size_t)sb.st_size;
    if (pread(fd, out, sizeof *out, 0) != (ssize_t)sizeof *out)
        return tr_err_set(err, TR_BADARG, "%s: no file of packed weights", path);
    return TR_OK;
}

/* The digests of the chunks make the digest of the weights. */
static enum tr_status check_chunks(const struct tr_packed *p, const char *path,
                                   struct tr_err *err)
{
    struct tr_digest made;
    enum tr_status st = tr_weights_digest_of(p->w, tr_packed_chunks(p), &made, err);
    if (st == TR_OK && !tr_digest_equal(&made, &p->header.weights))
        st = tr_err_set(err, TR_BADARG,
                        "%s: the digests of its chunks do not make its digest", path);
    return st;
}

enum tr_status tr_packed_open(const char *path, const struct tr_params *params,
                              enum tr_math math, bool bf16, const struct tr_digest *want,
                              struct tr_packed **out, struct tr_err *err)
{
    struct header header, found;
    struct tr_packed *p = NULL;
    size_t size = 0;
    *out = NULL;
    enum tr_status st = make_header(params, math, bf16, &header, err);
    header.weights = *want;
    if (st == TR_OK) st = new_packed(params, &header, &p, err);
    if (st != TR_OK) return st;
    snprintf(p->path, sizeof p->path, "%s", path);
    p->sealed = true;
    p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (p->fd < 0) st = tr_err_set(err, TR_BADARG, "%s: %s", path, tr_err_cause(errno));
    if (st == TR_OK) st = read_header(path, p->fd, &found, &size, err);
    if (st == TR_OK) st = check_header(path, &header, &found, size, err);
    if (st == TR_OK) st = map(p, false, err);
    if (st == TR_OK) st = check_chunks(p, path, err);
    if (st != TR_OK) {
        tr_packed_close(p);
        return st;
    }
    *out = p;
    return TR_OK;
}

enum tr_status tr_packed_again(const struct tr_packed *p, const struct tr_params *params,
                               struct tr_packed **out, struct tr_err *err)
{
    struct tr_packed *q = NULL;
    *out = NULL;
    assert(p->sealed && tr_params_total(params) == tr_params_total(p->params));
    enum tr_status st = new_packed(params, &p->header, &q, err);
    if (st != TR_OK) return st;
    snprintf(q->path, sizeof q->path, "%s", p->path);
    q->sealed = true;
    q->fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
    st = q->fd < 0 ? refused(p->path, "cannot open it again", err) : map(q, false, err);
    if (st != TR_OK) {
        tr_packed_close(q);
        return st;
    }
    *out = q;
    return TR_OK;
}

const struct tr_weights *tr_packed_weights(const struct tr_packed *p)
{
    assert(p->sealed);
    return p->w;
}

struct tr_digest tr_packed_digest(const struct tr_packed *p)
{
    return p->header.weights;
}

const struct tr_digest *tr_packed_chunks(const struct tr_packed *p)
{
    return (const struct tr_digest *)(p->at + HEADER);
}

const char *tr_packed_name(const struct tr_packed *p)
{
    return p->path;
}

enum tr_status tr_packed_verify(const struct tr_packed *p, const struct tr_exec *ex,
                                struct tr_err *err)
{
    const struct tr_digest *want = tr_packed_chunks(p);
    int64_t n = (int64_t)p->header.chunks;
    struct tr_digest *found = calloc((size_t)n, sizeof *found);
    if (!found) return tr_err_set(err, TR_NOMEM, "digests of %lld chunks", (long long)n);
    enum tr_status st = tr_weights_chunk_digests(p->w, ex, found, err);
    for (int64_t i = 0; i < n && st == TR_OK; i++)
        if (!tr_digest_equal(&found[i], &want[i]))
            st = tr_err_set(err, TR_BADMSG, "%s: chunk %lld is not what its digest says",
                            p->path, (long long)i);
    free(found);
    return st;
}

void tr_packed_unlink(const struct tr_packed *p)
{
    if (p->path[0]) unlink(p->path);
}

void tr_packed_close(struct tr_packed *p)
{
    if (!p) return;
    tr_weights_destroy(p->w);
    if (p->at) munmap(p->at, p->header.size);
    if (p->part[0]) unlink(p->part);
    if (p->fd >= 0) close(p->fd);
    free(p);
}
