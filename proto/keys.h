/* keys.h - the CURVE keys that tell friend from foe on a wire, and the files they are kept in.
 *
 * What it is for. Processes on other hosts prove by keys who they are. A listening end has a pair of
 * its own and a list of the public keys that it admits, each for one role; a joining end has a
 * pair of its own and knows the listener's public key. What they then say is also encrypted.
 *
 * The data. A folder (RUN/keys) of small text files; keys are in Z85, 40 characters for 32 bytes:
 *     server.public   rollout.public ...   "troupe public WHO", a new line, the key, a new line
 *     server.secret   rollout.secret ...   "troupe secret WHO", the same; mode 0600
 *     admitted        a line each: ROLE, the public key and, if one likes, a name for the logs;
 *                     empty lines and lines that begin with "# " are for people
 * WHO is server, or a role: policy, rollout, reference, reward, critic, admin (who asks and swaps).
 *
 *     who                          needs of it
 *     the coordinator              server.secret, admitted
 *     a worker, a person who asks  ROLE.secret, server.public
 *     a worker that gives weights  ROLE.secret, server.public, admitted
 *
 * Invariants.
 *   1. What is there is never overwritten, and a key that was made halfway is removed again.
 *   2. A secret file that others may read is refused, in words.
 *   3. A file is read to the byte: sizes, words, alphabet and length are checked, and no key
 *      stands in `admitted` twice.
 *   4. The public key is worked out from the secret one, so a pair cannot be a mixed one. */
#ifndef TR_PROTO_KEYS_H
#define TR_PROTO_KEYS_H

#include "proto/message.h"

enum {
    TR_KEY_ADMIN =
        TR_ROLES, /* after enum tr_role: the other things that a key may be for */
    TR_KEY_ROLES, /* how many of them a key is admitted for */
    TR_KEY_SERVER = TR_KEY_ROLES,
    TR_CURVE_TEXT = 41, /* Z85 and a zero byte */
    TR_KEY_NAME = 64,   /* a name in `admitted`, with its zero byte */
    TR_ADMITTED_MAX = 4096,
};

struct tr_curve {
    unsigned char byte[32];
};

struct tr_admitted { /* one line of the list */
    struct tr_curve key;
    int role; /* enum tr_role or TR_KEY_ADMIN */
    char name[TR_KEY_NAME];
};

struct tr_keys {
    struct tr_curve public_key, secret_key; /* of this end */
    struct tr_curve server;                 /* whom a joining end wants to meet */
    bool knows_server;                      /* an address may say it instead: address.h */
    struct tr_admitted *admitted;           /* owns; [n], by key */
    int64_t n;
};

/* "policy" ... "critic", "admin", "server" and back; -1 for none of them. */
const char *tr_keys_who(int who);
int tr_keys_who_of(const char *name);

/* Makes the folder, if need be, with a pair for the server and one for each role. TR_BADARG
 * when one of its files is there already. */
enum tr_status tr_keys_make(const char *dir, struct tr_err *err);
/* One more pair for a role, in ROLE-NAME.public and ROLE-NAME.secret, and a line in `admitted`. */
enum tr_status tr_keys_add(const char *dir, int role, const char *name,
                           struct tr_err *err);

/* What `who` needs to listen or to join. For the server `admitted` must be there, for others it
 * may be. On TR_OK the caller owns *out. */
enum tr_status tr_keys_open(const char *dir, int who, struct tr_keys *out,
                            struct tr_err *err);
void tr_keys_close(struct tr_keys *k); /* wipes the secret */

/* The line of a public key, or -1. */
int64_t tr_keys_find(const struct tr_keys *k, const struct tr_curve *key);

void tr_curve_text(const struct tr_curve *key, char out[TR_CURVE_TEXT]);
/* Exactly 40 characters that stand for 32 bytes; false otherwise. */
bool tr_curve_parse(const char *text, size_t size, struct tr_curve *out);

#endif
