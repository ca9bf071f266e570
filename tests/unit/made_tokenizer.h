/* made_tokenizer.h - tokenizer.json files made for a test: 256 bytes and what the test adds.
 *
 * A byte's id is its value, so ids of plain text can be read; more words begin at 256. */
#ifndef TR_TESTS_MADE_TOKENIZER_H
#define TR_TESTS_MADE_TOKENIZER_H

#include "core/text/tokenizer.h"

struct made_tokenizer {
    const char *words;      /* more of "vocab": ", \"ab\": 256" */
    const char *merges;     /* inside "merges": "\"a b\"" */
    const char *model;      /* more of "model" */
    const char *added;      /* inside "added_tokens" */
    const char *normalizer; /* NULL: null */
    const char *pre;        /* "pre_tokenizer"; NULL: ByteLevel without its expression */
    const char *decoder;    /* NULL: ByteLevel */
    const char *root;       /* more of the root */
    int without;            /* this byte has no word (0: all have) */
};

#define MADE_BYTE_LEVEL                                                                  \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"

/* The file's text (malloc). */
char *made_json(const struct made_tokenizer *m);
/* The tokenizer itself; fails the test when it does not load. */
struct tr_tokenizer *made_open(const struct made_tokenizer *m);

/* Writes a file into a new folder under /tmp; `dir` gets the folder's name. */
void made_folder(char dir[64]);
void made_file(const char *dir, const char *name, const char *text);
void made_folder_remove(const char *dir);

#endif
