/* rule.h - rewards that need no model: a few words of arithmetic about an answer.
 *
 * What it is for. A rule beside a reward model keeps answers short, or asks for a form. It is a
 * reward like others: a process with a digest that answers `score`. Tokens travel, never text: a
 * rule that looks at text has the tokenizer with it.
 *
 * The rules.
 *   length  -|n - target| / scale, for an answer of n tokens, the one that ended it included
 *   regex   `hit` when the pattern (PCRE2, UTF-8) is found in the decoded answer, else `miss`. Special
 *           tokens, such as the one that ends an answer, are no part of the text.
 *
 * Invariants.
 *   1. A rule's digest is the SHA-256 of its canonical text: its name and every parameter, and of a
 *      regex the digest of tokenizer.json. Other parameters, another digest.
 *   2. A score depends on the digest and the answer's tokens only: the search is PCRE2's
 *      interpreter, bounded by counts and not by time. A search that exceeds them is a miss.
 *   3. Neither a pattern nor a text can make it hang: a search ends after TR_RULE_STEPS steps, which take
 *      less than a second. A step is an item of the pattern that is tried somewhere, or 16 bytes of
 *      text that one goes over. */
#ifndef TR_ACTORS_RULE_H
#define TR_ACTORS_RULE_H

#include "core/base/digest.h"
#include "proto/unit.h"

struct tr_rule;

enum tr_rule_kind { TR_RULE_LENGTH, TR_RULE_REGEX, TR_RULES };

enum {
    TR_RULE_PATTERN_BYTES = 4096,
    TR_RULE_TEXT_BYTES = 1 << 24, /* of a decoded answer */
    TR_RULE_STEPS = 5000000,
    TR_RULE_TARGET_MOST = 1 << 24,
};
#define TR_RULE_SCALE_LEAST 1e-6
#define TR_RULE_SCALE_MOST  1e9

struct tr_rule_start {
    enum tr_rule_kind kind;
    double target, scale;  /* length; 0 to TARGET_MOST, SCALE_LEAST to SCALE_MOST */
    double hit, miss;      /* regex */
    const char *pattern;   /* regex */
    const char *tokenizer; /* regex: the folder of tokenizer.json */
};

const char *tr_rule_name(enum tr_rule_kind kind);
int tr_rule_of(const char *name); /* or -1 */

/* The caller owns *out; nothing of *start is borrowed. TR_BADARG says what is wrong with which
 * parameter. */
enum tr_status tr_rule_open(const struct tr_rule_start *start, struct tr_rule **out,
                            struct tr_err *err);
struct tr_digest tr_rule_digest(const struct tr_rule *r);

/* The score of one answer of n tokens (at least one). */
enum tr_status tr_rule_score(struct tr_rule *r, const int32_t *answer, int64_t n,
                             float *score, struct tr_err *err);

/* One `score` unit that needs this rule, checked and answered. The caller owns *out. */
enum tr_status tr_rule_answer(struct tr_rule *r, const struct tr_unit *unit,
                              struct tr_content *out, struct tr_err *err);
void tr_rule_close(struct tr_rule *r);

#endif
