#include "proto/protocol.h"

#include "proto/step1_generate.h"
#include "proto/step2_judge.h"
#include "proto/step3_learn.h"
#include "proto/step4_weights.h"

/* ---- records ---- */

/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): names of members and lists cannot stand in them */
#define NEED false
#define MAY  true
#define ROW(kind_, name_, need_, at_, lo_, hi_, words_, unit_, meaning_)                           \
    {.name = #name_, .kind = TR_FIELD_##kind_, .optional = (need_), .at = offsetof(SELF, at_),     \
     .lo = (lo_), .hi = (hi_), .words = (words_), .unit = (unit_), .meaning = (meaning_)},

#define BOOL(name, need, meaning)               ROW(BOOL, name, need, name, 0, 0, NULL, "", meaning)
#define DIGEST(name, need, meaning)             ROW(DIGEST, name, need, name, 0, 0, NULL, "", meaning)
#define DIGESTS(name, need, meaning)            ROW(DIGESTS, name, need, name, 0, 0, NULL, "", meaning)
#define WORD(name, need, list, meaning)         ROW(WORD, name, need, name, 0, 0, tr_##list, "", meaning)
#define TEXT(name, need, most, meaning)         ROW(TEXT, name, need, name, 0, most, NULL, "", meaning)
#define INT(name, need, lo, hi, unit, meaning)  ROW(INT, name, need, name, lo, hi, NULL, unit, meaning)
#define REAL(name, need, lo, hi, unit, meaning) ROW(REAL, name, need, name, lo, hi, NULL, unit, meaning)
// NOLINTBEGIN(bugprone-macro-parentheses): parts of initialisers
#define REAL_IN(in, name, need, lo, hi, unit, meaning) \
    ROW(REAL, name, need, in.name, lo, hi, NULL, unit, meaning)
#define I32(name, need, lo, hi, unit, meaning)  ROW(I32, name, need, name, lo, hi, NULL, unit, meaning)
#define I64(name, need, lo, hi, unit, meaning)  ROW(I64, name, need, name, lo, hi, NULL, unit, meaning)
#define F32(name, need, lo, hi, unit, meaning)  ROW(F32, name, need, name, lo, hi, NULL, unit, meaning)
#define F64(name, need, lo, hi, unit, meaning)  ROW(F64, name, need, name, lo, hi, NULL, unit, meaning)
#define U8(name, need, lo, hi, unit, meaning)   ROW(U8, name, need, name, lo, hi, NULL, unit, meaning)

#define WORDS(list, ...) const char *const tr_##list[] = {__VA_ARGS__, NULL};
#define RECORD(name, kind_, meaning_)                                                              \
    static const char name##_kind[] = kind_, name##_meaning[] = meaning_;                          \
    static const struct tr_field name##_field[] = {
// NOLINTEND(bugprone-macro-parentheses)
#define END(name)                                                                                  \
    };                                                                                             \
    MADE_OF(name, name##_kind, name, name##_meaning)
#define SAME(name, kind_, other, meaning_) MADE_OF(name, kind_, other, meaning_)
#define MADE_OF(name, kind_, other, meaning_)                                                      \
    const struct tr_record tr_##name##_record = {                                                  \
        .kind = (kind_), .size = sizeof(SELF), .n = sizeof other##_field / sizeof *other##_field,  \
        .field = other##_field, .meaning = (meaning_)};

#include "proto/protocol.def"

/* ---- the list of them ---- */

#undef BOOL
#undef DIGEST
#undef DIGESTS
#undef WORD
#undef TEXT
#undef INT
#undef REAL
#undef REAL_IN
#undef I32
#undef I64
#undef F32
#undef F64
#undef U8
#undef WORDS
#undef RECORD
#undef END
#undef SAME
#define BOOL(...)
#define DIGEST(...)
#define DIGESTS(...)
#define WORD(...)
#define TEXT(...)
#define INT(...)
#define REAL(...)
#define REAL_IN(...)
#define I32(...)
#define I64(...)
#define F32(...)
#define F64(...)
#define U8(...)
#define WORDS(...)
#define RECORD(name, ...) {#name, &tr_##name##_record},
#define END(...)
#define SAME(name, ...) {#name, &tr_##name##_record},

const struct tr_named_record tr_protocol[] = {
#include "proto/protocol.def"
    {NULL, NULL}};
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

const struct tr_record *tr_say_record(enum tr_say say)
{
    static const struct tr_record *const by_say[] = {
        [TR_SAY_HELLO] = &tr_say_hello_record,
        [TR_SAY_WELCOME] = &tr_say_welcome_record,
        [TR_SAY_UNIT] = &tr_say_unit_record,
        [TR_SAY_PROGRESS] = &tr_say_progress_record,
        [TR_SAY_DONE] = &tr_say_done_record,
        [TR_SAY_FAIL] = &tr_say_fail_record,
        [TR_SAY_DRAIN] = &tr_say_drain_record,
        [TR_SAY_BYE] = &tr_say_bye_record,
        [TR_SAY_LOAD] = &tr_say_load_record,
        [TR_SAY_LOADED] = &tr_say_loaded_record,
        [TR_SAY_OFFER] = &tr_say_offer_record,
        [TR_SAY_DROP] = &tr_say_drop_record,
        [TR_SAY_GET] = &tr_say_get_record,
        [TR_SAY_CHUNK] = &tr_say_chunk_record,
        [TR_SAY_ASK] = &tr_say_ask_record,
        [TR_SAY_TELL] = &tr_say_tell_record,
        [TR_SAY_WHO] = &tr_say_who_record,
        [TR_SAY_HERE] = &tr_say_here_record,
    };
    return by_say[say];
}
