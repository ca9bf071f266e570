/* conversation.h - a record in its canonical form: messages that lead up, and answers.
 *
 * What it is for. alpaca and sharegpt records say the same in two ways; stages see one:
 * `prompt` (an odd number of messages, the last from the user) and answers: one (plain), two
 * (chosen and rejected; or desirable and undesirable, one of them empty), or none (a text).
 *
 * Invariants.
 *   1. Texts are borrowed from the record and from `joined`: valid until the next read.
 *   2. A record that breaks the format's rules of order is not an error: `fault` says why, and
 *      prompt and answer are empty. A field of the wrong type is an error. */
#ifndef TR_TEXT_CONVERSATION_H
#define TR_TEXT_CONVERSATION_H

#include "core/text/dataset.h"
#include "core/text/template.h"

struct tr_conversation {
    struct tr_message *message; /* owns, [room]: the prompt, then the answers */
    int room;
    int prompts, answers;
    const char *system;   /* "" or NULL: none */
    const char *fault;    /* why there is nothing here, or NULL */
    struct tr_buf joined; /* owns: a prompt and a query in one text */
};

void tr_conversation_init(struct tr_conversation *c);
/* TR_BADARG says field, expected and found; the caller adds dataset, file and record. */
enum tr_status tr_conversation_read(struct tr_conversation *c, const struct tr_dataset *d,
                                    const json_t *record, struct tr_err *err);
void tr_conversation_fini(struct tr_conversation *c);

#endif
