/* weights.c - how long it takes until others have new weights.
 *
 *   bench_weights [--threads 2] [--bf16] [--repeats 5] [--dir /dev/shm]
 *
 * Random weights of SmolLM2-135M's shape.
 *     digest    the chunks' digests and the digest they make: the whole team
 *     publish   the packed file in --dir
 *     map       what a reader on the same host does; verify: with every chunk hashed
 *     read      the same weights out of a file of the page cache, as a model folder's would be (memcpy)
 *     fetch     all chunks from a source thread of this process, verified, into a file without a
 *               name: over ipc and over loopback, and with keys
 *     decode    steps of one sequence with the learner's weights and with mapped ones: what the
 *               memory's pages cost
 * Median, best and worst of `repeats` after one to warm up. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors/loader.h"
#include "actors/source.h"
#include "core/base/clock.h"
#include "core/base/file.h"
#include "core/model/decode.h"
#include "tests/bench/must.h"
#include "tests/bench/smollm2.h"

enum { MAX_REPEATS = 32, STEPS = 32 };

struct bench {
    struct tr_exec ex;
    struct tr_model model; /* drawn */
    struct tr_model_shape shape;
    struct tr_digest *chunk; /* [chunks] */
    struct tr_model packed;  /* published last */
    int threads, repeats;
    bool bf16;
    const char *dir;
    struct tr_keys giver, taker;
};

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x;
    double c = *(const double *)y;
    return (a > c) - (a < c);
}

/* Times `what` repeats + 1 times. */
static void run(struct bench *b, const char *name, void (*what)(struct bench *))
{
    double seconds[MAX_REPEATS];
    what(b);
    for (int i = 0; i < b->repeats; i++) {
        double begin = tr_clock_seconds();
        what(b);
        seconds[i] = tr_clock_seconds() - begin;
    }
    qsort(seconds, (size_t)b->repeats, sizeof *seconds, ascending);
    printf("%-28s %8.4f s  (best %.4f, worst %.4f)\n", name, seconds[b->repeats / 2],
           seconds[0], seconds[b->repeats - 1]);
}

static void digest(struct bench *b)
{
    struct tr_err err = {0};
    must(tr_weights_chunk_digests(b->model.weights, &b->ex, b->chunk, &err), &err);
    must(tr_weights_digest_of(b->model.weights, b->chunk, &b->model.digest, &err), &err);
}

static void publish(struct bench *b)
{
    struct tr_err err = {0};
    if (b->packed.packed) tr_packed_unlink(b->packed.packed);
    tr_model_close(&b->packed);
    must(tr_model_pack(b->model.weights, &b->ex, b->chunk, &b->model.digest, b->dir,
                       &b->packed, &err),
         &err);
}

static struct tr_model mapped(const struct bench *b)
{
    struct tr_err err = {0};
    struct tr_model m;
    must(tr_model_map(&b->shape, TR_MATH_EXACT, tr_packed_name(b->packed.packed),
                      &b->model.digest, &m, &err),
         &err);
    return m;
}

static void map(struct bench *b)
{
    struct tr_model m = mapped(b);
    tr_model_close(&m);
}

static void verify(struct bench *b)
{
    struct tr_err err = {0};
    struct tr_model m = mapped(b);
    must(tr_packed_verify(m.packed, &b->ex, &err), &err);
    tr_model_close(&m);
}

static void read_copy(struct bench *b)
{
    struct tr_weights_parts p = tr_weights_parts(b->packed.weights);
    char *copy = malloc(p.half_bytes + p.f32_bytes);
    if (!copy) exit(1);
    if (p.half_bytes) memcpy(copy, p.half, p.half_bytes);
    memcpy(copy + p.half_bytes, p.f32, p.f32_bytes);
    if (copy[p.f32_bytes / 2] == 77) putchar('\r'); /* it is used */
    free(copy);
}

static void fetch_from(struct bench *b, const char *address, bool keys)
{
    const atomic_bool never = false;
    struct tr_err err = {0};
    struct tr_source *source = NULL;
    struct tr_fetcher *fetcher = NULL;
    struct tr_model m;
    struct tr_load load = {.digest = b->model.digest};
    struct tr_fetch_set set = tr_fetch_defaults(keys ? &b->taker : NULL);
    must(tr_source_open(address, keys ? &b->giver : NULL, &source, &err), &err);
    must(tr_source_add(source, &b->packed, &err), &err);
    must(tr_fetcher_create(&set, &fetcher, &err), &err);
    snprintf(load.source, sizeof load.source, "%s", tr_source_address(source));
    const struct tr_load_set how = {
        .shape = &b->shape, .ex = &b->ex, .fetcher = fetcher, .stop = &never};
    must(tr_load_model(&how, &load, &m, &err), &err);
    tr_model_close(&m);
    tr_fetcher_destroy(fetcher);
    tr_source_close(source);
}

static void fetch_ipc(struct bench *b)
{
    char address[64];
    snprintf(address, sizeof address, "ipc:///tmp/bench-weights-%ld", (long)getpid());
    fetch_from(b, address, false);
    unlink(address + strlen("ipc://"));
}

static void fetch_tcp(struct bench *b)
{
    fetch_from(b, "tcp://127.0.0.1:0", false);
}

static void fetch_keys(struct bench *b)
{
    fetch_from(b, "tcp://127.0.0.1:0", true);
}

/* Those of a policy, which gives, and of a rollout, which takes. */
static void make_keys(struct bench *b)
{
    char made[] = "/tmp/troupe-bench-XXXXXX", dir[64];
    struct tr_err err = {0};
    if (!mkdtemp(made)) exit(1);
    must(tr_path_join(dir, sizeof dir, made, "keys", &err), &err);
    must(tr_keys_make(dir, &err), &err);
    must(tr_keys_open(dir, TR_ROLE_POLICY, &b->giver, &err), &err);
    must(tr_keys_open(dir, TR_ROLE_ROLLOUT, &b->taker, &err), &err);
    must(tr_dir_remove(made, &err), &err);
}

static void decode(struct bench *b, const struct tr_weights *w)
{
    const struct tr_decode_size size = {.max_sequences = 1, .max_tokens = 1, .pages = 1};
    const int32_t token = 7;
    struct tr_err err = {0};
    struct tr_decode *d = NULL;
    float *logits = NULL;
    int64_t slot = 0;
    must(tr_decode_create(&b->shape.arch, &size, &d, &err), &err);
    must(tr_decode_enter(d, &slot, &err), &err);
    for (int i = 0; i < STEPS; i++) {
        const struct tr_decode_input in = {slot, 1, &token};
        must(tr_decode_step(d, &b->ex, w, &in, 1, &logits, &err), &err);
    }
    tr_decode_destroy(d);
}

static void decode_own(struct bench *b)
{
    decode(b, b->model.weights);
}

static void decode_mapped(struct bench *b)
{
    decode(b, b->packed.weights);
}

static void bench_open(struct bench *b)
{
    struct tr_err err = {0};
    struct tr_model_start s = {
        .arch = &smollm2, .seed = 1, .lm_head = true, .bf16 = b->bf16};
    if (tr_exec_init(&b->ex, NULL, b->threads, TR_MATH_EXACT) != 0) exit(1);
    must(tr_model_load(&b->ex, &s, &b->model, &err), &err);
    b->shape = tr_model_shape_of(b->model.weights);
    b->chunk = calloc((size_t)tr_weights_chunks(b->model.weights), sizeof *b->chunk);
    if (!b->chunk) exit(1);
}

static bool parse(struct bench *b, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc, known = true;
        if (strcmp(argv[i], "--bf16") == 0)
            b->bf16 = true;
        else if (more && strcmp(argv[i], "--threads") == 0)
            b->threads = (int)strtol(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--repeats") == 0)
            b->repeats = (int)strtol(argv[++i], NULL, 10);
        else if (more && strcmp(argv[i], "--dir") == 0)
            b->dir = argv[++i];
        else
            known = false;
        if (!known || b->threads < 1 || b->repeats < 1 || b->repeats > MAX_REPEATS)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct bench b = {.threads = 2, .repeats = 5, .dir = "/dev/shm"};
    if (!parse(&b, argc, argv)) {
        fprintf(stderr, "usage: bench_weights [--threads N] [--bf16] [--repeats N] "
                        "[--dir DIR]\n");
        return 2;
    }
    bench_open(&b);
    make_keys(&b);
    printf("%s, %d threads, %s, %.0f MiB\n", tr_exec_isa(&b.ex), b.threads,
           b.bf16 ? "bf16" : "f32",
           (double)tr_packed_bytes(b.model.params, b.bf16) / 1048576.0);
    run(&b, "digest", digest);
    run(&b, "publish", publish);
    run(&b, "map", map);
    run(&b, "map and verify", verify);
    run(&b, "read (a copy)", read_copy);
    run(&b, "fetch, ipc", fetch_ipc);
    run(&b, "fetch, loopback", fetch_tcp);
    run(&b, "fetch, loopback, keys", fetch_keys);
    run(&b, "32 steps, own weights", decode_own);
    run(&b, "32 steps, mapped weights", decode_mapped);
    tr_packed_unlink(b.packed.packed);
    tr_model_close(&b.packed);
    tr_model_close(&b.model);
    free(b.chunk);
    tr_keys_close(&b.giver);
    tr_keys_close(&b.taker);
    tr_exec_fini(&b.ex);
    return 0;
}
