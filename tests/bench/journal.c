/* journal.c - how many answers a second the journal keeps, and whether its memory stays flat.
 *
 *     journal [--rows N] [--folder DIR]
 *
 * How. Answers of 512 tokens (ids and log-probs, 4 KiB) are kept with a flush after each, after
 * every 8 and every 64; each 1024 of them are a step whose commit forgets them. Then whole samples:
 * four answers each (generate, logprob, value, score) with a flush every 16 samples, and a commit
 * with all rollouts every 1024. Printed are rows and samples a second, the processor's share of it,
 * the largest and the last resident size, and the sizes of the files. The yardstick is a plain
 * write() of as many bytes to a file in the same folder. */
#include "actors/coordinator/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/file.h"
#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "tests/bench/must.h"
#include "tests/bench/usage.h"

enum { TOKENS = 512, STEP = 1024 };

struct made { /* a unit whose id is changed from row to row, and its answer */
    struct tr_unit unit;
    struct tr_content answer;
};

static struct made make(enum tr_unit_kind kind)
{
    static int32_t token[TOKENS], stopped;
    static float number[TOKENS];
    static const int64_t start[2] = {0, TOKENS};
    struct made m = {.unit = {.kind = kind}};
    struct tr_digests used = {0};
    struct tr_err err = {0};
    for (int i = 0; i < TOKENS; i++) {
        token[i] = i * 37 % 49152;
        number[i] = -(float)(i % 61) / 7.0F;
    }
    struct tr_answer_generate generated = {
        {token, TOKENS}, {start, 2}, {number, TOKENS}, {&stopped, 1}};
    struct tr_answer_judge judged = {{number, kind == TR_UNIT_SCORE ? 1 : TOKENS}};
    const struct tr_record *r = kind == TR_UNIT_GENERATE ? &tr_answer_generate_record
                                                         : tr_answer_judge_record(kind);
    const void *from = kind == TR_UNIT_GENERATE ? (const void *)&generated : &judged;
    must(tr_content_encode(r, &used, from, &m.answer, &err), &err);
    return m;
}

static void keep(const struct tr_memo *memo, struct made *m, int64_t number, int64_t step)
{
    struct tr_err err = {0};
    struct tr_memo_entry e = {.unit = &m->unit,
                              .role = TR_ROLE_ROLLOUT,
                              .slot = "",
                              .step = step,
                              .answer = &m->answer,
                              .worker = "rollout-1"};
    uint64_t key[2] = {(uint64_t)number, (uint64_t)m->unit.kind};
    m->unit.id = tr_digest_of(key, sizeof key);
    must(memo->keep(memo->self, &e, &err), &err);
}

static void commit(struct tr_journal *j, int64_t step, int64_t rollouts)
{
    static int32_t token[TOKENS];
    static float number[3][TOKENS];
    static struct tr_journal_rollout r[STEP];
    struct tr_journal_score score = {.slot = "main", .score = 0.5, .weight = 1};
    struct tr_journal_step s = {
        .step = step, .state = "{\"kl_coef\": 0.1}", .metrics = "{}"};
    struct tr_err err = {0};
    score.digest = tr_digest_of("main", 4);
    for (int64_t i = 0; i < rollouts; i++)
        r[i] = (struct tr_journal_rollout){.sample = i,
                                           .prompt = i,
                                           .prompt_token = token,
                                           .prompt_tokens = 64,
                                           .answer_token = token,
                                           .answer_tokens = TOKENS,
                                           .logprob = number[0],
                                           .ref_logprob = number[1],
                                           .value = number[2],
                                           .slot = &score,
                                           .slots = 1};
    must(tr_journal_commit(j, &s, r, rollouts, &err), &err);
}

/* flush_every counts rows, or samples of four rows when whole. */
static void measure(const char *folder, bool whole, int64_t flush_every, int64_t n)
{
    static const enum tr_unit_kind kind[] = {TR_UNIT_GENERATE, TR_UNIT_LOGPROB,
                                             TR_UNIT_VALUE, TR_UNIT_SCORE};
    char path[4096], log[4104];
    struct tr_err err = {0};
    struct tr_journal_meta meta = {.run = "bench", .version = "0"};
    struct tr_journal *j = NULL;
    struct made m[4];
    double most = 0, early = 0;
    for (int k = 0; k < 4; k++) m[k] = make(kind[k]);
    snprintf(path, sizeof path, "%s/run.db", folder);
    snprintf(log, sizeof log, "%s-wal", path);
    unlink(path);
    must(tr_journal_open(path, NULL, &meta, &j, &err), &err);
    struct tr_memo memo = tr_journal_memo(j);
    double begin = tr_clock_seconds(), busy = processor_seconds(RUSAGE_SELF);
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < (whole ? 4 : 1); k++) keep(&memo, &m[k], i, i / STEP);
        if ((i + 1) % flush_every == 0) must(memo.flush(memo.self, &err), &err);
        if ((i + 1) % STEP != 0) continue;
        commit(j, i / STEP, whole ? STEP : 0);
        double now = resident_mib();
        most = now > most ? now : most;
        if (i < n / 4) early = now;
    }
    double seconds = tr_clock_seconds() - begin;
    busy = processor_seconds(RUSAGE_SELF) - busy;
    printf("%-8s flush every %3lld: %8.0f /s, processor %3.0f %%, resident %.1f MiB at a"
           " quarter, %.1f at the end, %.1f at most; run.db %.0f MiB, log %.0f MiB\n",
           whole ? "samples" : "answers", (long long)flush_every, (double)n / seconds,
           100 * busy / seconds, early, resident_mib(), most, file_mib(path),
           file_mib(log));
    tr_journal_close(j);
    unlink(path);
    for (int k = 0; k < 4; k++) tr_content_fini(&m[k].answer);
}

/* Bytes of n answers by plain write() and one fsync. */
static void measure_plain(const char *folder, int64_t n)
{
    static char block[64 << 10];
    char path[4096];
    snprintf(path, sizeof path, "%s/plain", folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
    double begin = tr_clock_seconds();
    int64_t total = n * TOKENS * 8, done = 0;
    while (done < total && write(fd, block, sizeof block) == (ssize_t)sizeof block)
        done += (int64_t)sizeof block;
    double written = tr_clock_seconds() - begin;
    fsync(fd);
    double seconds = tr_clock_seconds() - begin;
    printf("plain    %.0f MiB by write: %.0f MiB/s, with fsync %.0f MiB/s\n",
           (double)done / (1 << 20), (double)done / (1 << 20) / written,
           (double)done / (1 << 20) / seconds);
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    char made[] = "/tmp/troupe-bench-XXXXXX";
    const char *folder = NULL;
    int64_t rows = 100000;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--rows")) rows = strtoll(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--folder")) folder = argv[i + 1];
    }
    if (!folder) folder = mkdtemp(made);
    if (!folder || rows < STEP) return 2;
    measure_plain(folder, rows);
    measure(folder, false, 1, rows);
    measure(folder, false, 8, rows);
    measure(folder, false, 64, rows);
    measure(folder, true, 1, rows / 4);
    measure(folder, true, 16, rows / 2);
    tr_dir_remove(made, NULL);
    return 0;
}
