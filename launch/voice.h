/* voice.h - a model folder opened to answer: weights, tokenizer, template, when to stop.
 *
 * What it is for. What generating needs besides an engine, for people who type text.
 *
 * The data. Stop ids are gathered from config.json, generation_config.json, the tokenizer's EOS
 * and the stop words of the template; each is kept once.
 *
 * Invariants.
 *   1. A prompt's ids are those that training on the same template has before an answer. */
#ifndef TR_LAUNCH_VOICE_H
#define TR_LAUNCH_VOICE_H

#include "actors/generator.h"
#include "actors/model.h"
#include "core/text/template.h"

struct tr_voice_start {
    const char *folder;
    const char *template_name; /* NULL: the tokenizer's own, if it is one we know */
    bool raw;                  /* no template: prompts as they are */
    bool bf16;
};

struct tr_voice {
    struct tr_model model;
    struct tr_tokenizer *tokenizer; /* owns */
    struct tr_template layout;
    bool raw;
    int32_t stop[TR_STOP_MAX];
    int64_t stops;
};

/* Notes for the user are appended to notes, a line each. ex is borrowed during the call. */
enum tr_status tr_voice_open(const struct tr_exec *ex, const struct tr_voice_start *s,
                             struct tr_voice *out, struct tr_buf *notes,
                             struct tr_err *err);
void tr_voice_close(struct tr_voice *v);

/* Appends the ids that ask for an answer to this text. system: NULL or "" is the template's own. */
enum tr_status tr_voice_prompt(const struct tr_voice *v, const char *system,
                               const char *text, struct tr_ids *out, struct tr_err *err);

#endif
