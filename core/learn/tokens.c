#include "core/learn/tokens.h"

int64_t tr_token_rows(const struct tr_sequences *seq, int64_t s0, int64_t s1,
                      int64_t *row, int32_t *target)
{
    int64_t n = 0;
    int64_t base = seq->start[s0];
    for (int64_t s = s0; s < s1; s++) {
        for (int64_t i = seq->start[s] + 1; i < seq->start[s + 1]; i++) {
            if (seq->label[i] == TR_UNLABELLED) continue;
            row[n] = i - 1 - base;
            target[n++] = seq->label[i];
        }
    }
    return n;
}

int64_t tr_token_labels(const struct tr_sequences *seq)
{
    int64_t n = 0;
    for (int64_t i = 0; i < seq->T; i++) n += seq->label[i] != TR_UNLABELLED;
    return n;
}
