#include "actors/skeleton.h"

#include <stdlib.h>

enum { PROMPTS = 24, SHORTEST = 3, LENGTHS = 9 };

struct tr_skeleton {
    uint64_t seed;
    struct tr_arch arch;
    int64_t start[PROMPTS + 1];
    int32_t token[PROMPTS * (SHORTEST + LENGTHS)];
};

/* Byte-sized vocabulary, grouped heads, a head width that is no multiple of 16. */
static const struct tr_arch tiny = {
    .family = TR_LLAMA,
    .V = 259,
    .d = 48,
    .L = 2,
    .H = 4,
    .Kv = 2,
    .D = 12,
    .F = 80,
    .eps = 1e-5F,
    .rope = {.kind = TR_ROPE_PLAIN, .theta = 10000},
    .max_positions = 512,
    .tied = true,
    .bos = 256,
    .eos = {257},
    .n_eos = 1,
    .pad = 258,
};

enum tr_status tr_skeleton_create(uint64_t seed, struct tr_skeleton **out,
                                  struct tr_err *err)
{
    struct tr_skeleton *s = calloc(1, sizeof *s);
    *out = s;
    if (!s) return tr_err_set(err, TR_NOMEM, "a skeleton");
    s->seed = seed;
    s->arch = tiny;
    for (int64_t p = 0; p < PROMPTS; p++) {
        int64_t n = SHORTEST + p * 5 % LENGTHS;
        s->start[p + 1] = s->start[p] + n;
        for (int64_t i = 0; i < n; i++)
            s->token[s->start[p] + i] = (int32_t)((17 * p + 29 * i + 7) % 256);
    }
    return TR_OK;
}

void tr_skeleton_destroy(struct tr_skeleton *s)
{
    free(s);
}

struct tr_role_start tr_skeleton_role(const struct tr_skeleton *s, enum tr_role role,
                                      const struct tr_exec *ex)
{
    uint64_t offset = 0;
    if (role == TR_ROLE_REWARD) offset = 1;
    if (role == TR_ROLE_CRITIC) offset = 2;
    return (struct tr_role_start){
        .ex = ex,
        .arch = &s->arch,
        .seed = s->seed + offset,
        .max_tokens = 96,
        .max_sequences = 6,
        .pages = 12,
    };
}

struct tr_prompts tr_skeleton_prompts(const struct tr_skeleton *s)
{
    return (struct tr_prompts){.count = PROMPTS, .token = s->token, .start = s->start};
}

struct tr_ppo_settings tr_skeleton_settings(const struct tr_skeleton *s)
{
    struct tr_update update = {.lr = 1e-3,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .weight_decay = 0.01,
                               .max_grad_norm = 1};
    struct tr_ppo_rules rules = tr_ppo_defaults;
    rules.epochs = 2;
    return (struct tr_ppo_settings){
        .seed = s->seed,
        .vocab = s->arch.V,
        .samples = 16,
        .steps = 1,
        .sampling = {.temperature = 0.95F,
                     .top_k = 50,
                     .top_p = 0.9F,
                     .repetition_penalty = 1},
        .max_new_tokens = 24,
        .stop = {s->arch.eos[0]},
        .stops = 1,
        .rules = rules,
        .policy = update,
        .critic = update,
        .policy_lr = {.kind = TR_CONSTANT, .total = 1, .lr = update.lr},
        .critic_lr = {.kind = TR_CONSTANT, .total = 1, .lr = update.lr},
        .rewards = {.n = 1, .slot = {{.weight = 1, .replicas = 1}}},
    };
}
