/* template.h - a conversation as token ids, in the layout that a model was trained on.
 *
 * What it is for. Each family of models has its own marks around who says what. A template is
 * a row of slots for each role; a slot is a text with {{content}} in it, or BOS, or EOS.
 *
 * The data. A conversation is messages, oldest first: user (or observation) at even places,
 * assistant at odd ones. Rendering gives one list of ids for each message; message 0 carries
 * the prefix and the system text.
 *
 * Invariants.
 *   1. Each text slot is tokenised by itself, without special tokens around it.
 *   2. {{content}} is replaced once: braces inside a user's text stay as they are.
 *   3. BOS and EOS slots vanish when the tokenizer has none; no BOS comes from elsewhere. */
#ifndef TR_TEXT_TEMPLATE_H
#define TR_TEXT_TEMPLATE_H

#include "core/text/tokenizer.h"

enum tr_role { TR_USER, TR_ASSISTANT, TR_OBSERVATION, TR_FUNCTION, TR_ROLES };

struct tr_message {
    enum tr_role role;
    const char *text; /* borrows, [size] */
    size_t size;
};

enum { TR_SLOTS = 3, TR_STOPS = 2 };

enum tr_slot_kind { TR_SLOT_END, TR_SLOT_TEXT, TR_SLOT_BOS, TR_SLOT_EOS };

struct tr_slot {
    enum tr_slot_kind kind;
    const char *text;
};

struct tr_template {
    const char *name;
    struct tr_slot prefix[TR_SLOTS], system[TR_SLOTS], user[TR_SLOTS],
        assistant[TR_SLOTS],
        observation[TR_SLOTS];  /* each ends at TR_SLOT_END or when full */
    const char *default_system; /* used when a record has no system text; "" is none */
    const char *stop[TR_STOPS]; /* words that end an answer */
    bool replace_eos;           /* EOS becomes stop[0] */
    const char
        *pretraining_eos; /* pt joins texts with this; NULL: the EOS token's text */
    char *derived_system; /* owns: default_system read from a chat template, or NULL */
};

/* The template of that name. name NULL: the tokenizer's chat template if its layout is plainly
 * chatml, `empty` if it has none, else TR_BADARG: set `template`. The caller owns *out (fini). */
enum tr_status tr_template_choose(const char *name, const struct tr_tokenizer *t,
                                  struct tr_template *out, struct tr_err *err);
void tr_template_fini(struct tr_template *tp);

/* Template repair (ALGORITHMS.md 3.3): EOS, PAD and stop words of t. A word that had to be
 * added to the vocabulary is noted. */
enum tr_status tr_template_repair(const struct tr_template *tp, struct tr_tokenizer *t,
                                  struct tr_buf *notes, struct tr_err *err);

/* Renders `count` messages; message i's ids are appended to out[i]. system: NULL or "" is the
 * template's default. */
enum tr_status tr_template_encode(const struct tr_template *tp,
                                  const struct tr_tokenizer *t, const char *system,
                                  const struct tr_message *message, int count,
                                  struct tr_ids *out, struct tr_err *err);

/* The same with all ids in one list: a prompt for generating the next answer. */
enum tr_status tr_template_prompt(const struct tr_template *tp,
                                  const struct tr_tokenizer *t, const char *system,
                                  const struct tr_message *message, int count,
                                  struct tr_ids *out, struct tr_err *err);

/* Is a Jinja text plainly chatml? *system gets its default system text (malloc; NULL when it
 * has none). For tr_template_choose and its tests. */
bool tr_template_is_chatml(const char *jinja, char **system);

#endif
