/* protocol.h - the tables of protocol.def, for this folder and for who prints them.
 *
 * What it is for. protocol.def is made into records (field.h) in one place, protocol.c. The steps declare
 * the records of their payloads; those of messages and of the outermost maps are here, and a
 * list of all, which docs/protocol.md is compared with.
 *
 * Invariants.
 *   1. The records of messages lie in the order of enum tr_say. */
#ifndef TR_PROTO_PROTOCOL_H
#define TR_PROTO_PROTOCOL_H

#include "proto/field.h"
#include "proto/message.h"

struct tr_opening { /* what is read of an envelope before its body */
    int64_t v;
    int say; /* enum tr_say */
};

struct tr_content_top { /* what is read of a content before its payload */
    char kind[32];
    struct tr_digests digests;
};

struct tr_array_top { /* one entry of arrays, but its shape */
    char name[32], dtype[8];
};

extern const char *const tr_say_word[], *const tr_role_word[]; /* end with NULL */
extern const struct tr_record tr_opening_record, tr_content_top_record,
    tr_array_top_record;

/* The body of a message. */
const struct tr_record *tr_say_record(enum tr_say say);

struct tr_named_record {
    const char *name; /* as in protocol.def */
    const struct tr_record *record;
};
extern const struct tr_named_record tr_protocol[]; /* ends with a NULL name */

#endif
