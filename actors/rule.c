#define PCRE2_CODE_UNIT_WIDTH 8
#include "actors/rule.h"

#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/role.h"
#include "core/base/file.h"
#include "core/text/tokenizer.h"
#include "proto/step2_judge.h"

struct tr_rule {
    struct tr_rule_start set; /* but its texts */
    struct tr_digest digest;
    struct tr_tokenizer *tokenizer; /* owns; regex, as are all below */
    struct tr_buf text;             /* of the answer in hand */
    pcre2_code *code;               /* owns */
    pcre2_match_data *match;        /* owns */
    pcre2_match_context *context;   /* owns */
    unsigned char
        blind[TR_RULE_PATTERN_BYTES + 1]; /* by place in the pattern; see charge() */
};

struct spent { /* of one search */
    const unsigned char *blind;
    int64_t steps;
    size_t last; /* the place in the text at the step before */
};

static const char *const rule_name[TR_RULES] = {"length", "regex"};

const char *tr_rule_name(enum tr_rule_kind kind)
{
    return rule_name[kind];
}

int tr_rule_of(const char *name)
{
    for (int i = 0; i < TR_RULES; i++)
        if (strcmp(rule_name[i], name) == 0) return i;
    return -1;
}

void tr_rule_close(struct tr_rule *r)
{
    if (!r) return;
    tr_tokenizer_close(r->tokenizer);
    tr_buf_fini(&r->text);
    pcre2_code_free(r->code);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    free(r);
}

/* ---- opening ---- */

static enum tr_status check_number(const char *name, double x, double lo, double hi,
                                   struct tr_err *err)
{
    if (x >= lo && x <= hi) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: expected a number in [%g, %g], found %g", name,
                      lo, hi, x);
}

static enum tr_status open_length(struct tr_rule *r, struct tr_buf *canonical,
                                  struct tr_err *err)
{
    enum tr_status st =
        check_number("target", r->set.target, 0, TR_RULE_TARGET_MOST, err);
    if (st == TR_OK)
        st = check_number("scale", r->set.scale, TR_RULE_SCALE_LEAST, TR_RULE_SCALE_MOST,
                          err);
    if (st != TR_OK) return st;
    return tr_buf_printf(canonical, err,
                         "troupe rule length\ntarget %.17g\nscale %.17g\n", r->set.target,
                         r->set.scale);
}

/* An item that can go over much text and then fail, so that nobody sees how far it went: a counted
 * repeat, or a reference back to what was found. */
static bool is_blind(const char *item, size_t n)
{
    if (memchr(item, '{', n)) return true;
    if (n >= 3 && memcmp(item, "(?P", 3) == 0) return true;
    return n >= 2 && item[0] == '\\' &&
           ((item[1] >= '0' && item[1] <= '9') || item[1] == 'g' || item[1] == 'k');
}

static int note_item(pcre2_callout_enumerate_block *b, void *rule)
{
    struct tr_rule *r = rule;
    if (b->pattern_position <= TR_RULE_PATTERN_BYTES)
        r->blind[b->pattern_position] =
            is_blind(r->set.pattern + b->pattern_position, b->next_item_length);
    return 0;
}

/* PCRE2 calls before it tries an item of the pattern. It has a count of its own, but that leaves out
 * what a possessive repeat or a counted one runs over. So a step is an item tried, or RUN bytes of text
 * that were gone over since the one before. */
static int charge(pcre2_callout_block *b, void *spent)
{
    enum { RUN = 16 };
    struct spent *s = spent;
    size_t at = b->current_position, far = at > s->last ? at - s->last : 0;
    if (b->pattern_position <= TR_RULE_PATTERN_BYTES && s->blind[b->pattern_position])
        far += b->subject_length - at;
    s->last = at;
    s->steps += 1 + (int64_t)(far / RUN);
    return s->steps > TR_RULE_STEPS ? PCRE2_ERROR_CALLOUT : 0;
}

static enum tr_status compile(struct tr_rule *r, const char *pattern, struct tr_err *err)
{
    /* Without what PCRE2 does to be quick, which differs from version to version: each item is tried
     * where it stands in the pattern, and counted. */
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                             PCRE2_NO_AUTO_POSSESS | PCRE2_NO_START_OPTIMIZE |
                             PCRE2_AUTO_CALLOUT;
    int code = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR text[120];
    r->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code,
                            &at, NULL);
    if (!r->code) {
        pcre2_get_error_message(code, text, sizeof text);
        return tr_err_set(err, TR_BADARG, "pattern '%.60s' at %zu: %s", pattern, at,
                          (const char *)text);
    }
    r->match = pcre2_match_data_create(1, NULL);
    r->context = pcre2_match_context_create(NULL);
    if (!r->match || !r->context) return tr_err_set(err, TR_NOMEM, "a pattern's match");
    pcre2_callout_enumerate(r->code, note_item, r);
    pcre2_set_match_limit(r->context, TR_RULE_STEPS);
    pcre2_set_heap_limit(r->context, 64 * 1024); /* KiB */
    return TR_OK;
}

static enum tr_status digest_tokenizer(const char *folder, struct tr_digest *out,
                                       struct tr_err *err)
{
    char path[4096];
    struct tr_map map;
    enum tr_status st = tr_path_join(path, sizeof path, folder, "tokenizer.json", err);
    if (st == TR_OK) st = tr_map_open(path, &map, err);
    if (st != TR_OK) return st;
    *out = tr_digest_of(map.at, map.size);
    tr_map_close(&map);
    return TR_OK;
}

/* The pattern comes last: whatever is in it, no other rule has this text. */
static enum tr_status open_regex(struct tr_rule *r, struct tr_buf *canonical,
                                 struct tr_err *err)
{
    struct tr_digest file;
    char hex[65];
    const char *pattern = r->set.pattern;
    if (!pattern || !r->set.tokenizer)
        return tr_err_set(err, TR_BADARG, "%s is missing",
                          pattern ? "the tokenizer's folder" : "the pattern");
    if (strlen(pattern) > TR_RULE_PATTERN_BYTES)
        return tr_err_set(err, TR_BADARG, "pattern of %zu bytes, at most %d",
                          strlen(pattern), TR_RULE_PATTERN_BYTES);
    enum tr_status st = check_number("hit", r->set.hit, -1e9, 1e9, err);
    if (st == TR_OK) st = check_number("miss", r->set.miss, -1e9, 1e9, err);
    if (st == TR_OK) st = compile(r, pattern, err);
    if (st == TR_OK) st = digest_tokenizer(r->set.tokenizer, &file, err);
    if (st == TR_OK) st = tr_tokenizer_open(r->set.tokenizer, &r->tokenizer, err);
    if (st != TR_OK) return st;
    tr_digest_text(&file, hex);
    return tr_buf_printf(
        canonical, err,
        "troupe rule regex\nhit %.17g\nmiss %.17g\ntokenizer %s\npattern %s\n",
        r->set.hit, r->set.miss, hex, pattern);
}

enum tr_status tr_rule_open(const struct tr_rule_start *start, struct tr_rule **out,
                            struct tr_err *err)
{
    struct tr_buf canonical;
    struct tr_rule *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return tr_err_set(err, TR_NOMEM, "a rule");
    r->set = *start;
    tr_buf_init(&r->text, TR_RULE_TEXT_BYTES);
    tr_buf_init(&canonical, (size_t)2 * TR_RULE_PATTERN_BYTES);
    enum tr_status st = start->kind == TR_RULE_LENGTH ? open_length(r, &canonical, err)
                                                      : open_regex(r, &canonical, err);
    r->set.pattern = NULL;
    r->set.tokenizer = NULL;
    if (st == TR_OK) {
        r->digest = tr_digest_of(canonical.at, canonical.size);
        *out = r;
        r = NULL;
    } else {
        tr_err_wrap(err, st, "rule %s", rule_name[start->kind]);
    }
    tr_rule_close(r);
    tr_buf_fini(&canonical);
    return st;
}

struct tr_digest tr_rule_digest(const struct tr_rule *r)
{
    return r->digest;
}

/* ---- scoring ---- */

static enum tr_status find(struct tr_rule *r, const int32_t *answer, int64_t n,
                           bool *found, struct tr_err *err)
{
    tr_buf_clear(&r->text);
    enum tr_status st = tr_tokenizer_decode(r->tokenizer, answer, n, true, &r->text, err);
    if (st != TR_OK) return st;
    struct spent spent = {.blind = r->blind};
    pcre2_set_callout(r->context, charge, &spent);
    int got = pcre2_match(r->code, (PCRE2_SPTR)tr_buf_text(&r->text), r->text.size, 0,
                          PCRE2_NO_JIT, r->match, r->context);
    if (got == PCRE2_ERROR_NOMEMORY) return tr_err_set(err, TR_NOMEM, "a search");
    *found = got >= 0;
    return TR_OK;
}

enum tr_status tr_rule_score(struct tr_rule *r, const int32_t *answer, int64_t n,
                             float *score, struct tr_err *err)
{
    bool found = false;
    if (r->set.kind == TR_RULE_LENGTH) {
        *score = (float)(-fabs((double)n - r->set.target) / r->set.scale);
        return TR_OK;
    }
    enum tr_status st = find(r, answer, n, &found, err);
    if (st == TR_OK) *score = (float)(found ? r->set.hit : r->set.miss);
    return st;
}

static enum tr_status score_all(struct tr_rule *r, const struct tr_ask_judge *ask,
                                float *number, struct tr_err *err)
{
    const int64_t *start = ask->start.at, *from = ask->from.at;
    const int32_t *token = ask->token.at;
    enum tr_status st = TR_OK;
    for (int64_t s = 0; s < ask->from.count && st == TR_OK; s++) {
        int64_t begin = start[s] + from[s];
        st = tr_rule_score(r, token + begin, start[s + 1] - begin, &number[s], err);
    }
    return st;
}

enum tr_status tr_rule_answer(struct tr_rule *r, const struct tr_unit *unit,
                              struct tr_content *out, struct tr_err *err)
{
    struct tr_ask_judge ask;
    struct tr_answer_judge answer = {{0}};
    int64_t unknown = 0;
    struct tr_digests holds = tr_digests_one(&r->digest);
    float *number = NULL;
    enum tr_status st = tr_role_check(unit, &holds, err);
    if (st == TR_OK)
        st = tr_content_decode(&unit->content, &tr_ask_score_record, &ask, &unknown, err);
    if (st == TR_OK) st = tr_ask_judge_check(&ask, 0, err);
    if (st != TR_OK) return st;
    answer.number.count = ask.from.count;
    number = calloc((size_t)ask.from.count, sizeof *number);
    if (!number)
        return tr_err_set(err, TR_NOMEM, "%lld scores", (long long)ask.from.count);
    answer.number.at = number;
    st = score_all(r, &ask, number, err);
    if (st == TR_OK)
        st = tr_content_encode(&tr_answer_score_record, &unit->needs, &answer, out, err);
    free(number);
    return st;
}
