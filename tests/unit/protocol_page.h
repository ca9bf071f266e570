/* protocol_page.h - what docs/protocol.md and troupe-protocol(7) say, made from the tables and the encoder.
 *
 * A page has blocks between a line with `begin: NAME` and a line with `end: NAME`, both comments of the
 * page's language. What stands between them is made here:
 *   table NAME     the fields of a record of protocol.def
 *   list NAME      names and meanings of messages, or of payloads
 *   bytes NAME     one message as the encoder makes it, frame by frame */
#ifndef TR_TESTS_PROTOCOL_PAGE_H
#define TR_TESTS_PROTOCOL_PAGE_H

#include "proto/message.h"

/* The score unit, its answer and others that the page shows; fails the test for an unknown name. The
 * caller owns it. */
struct tr_message page_message(const char *name);

/* Reads path and fails the test where a block is not what it should be, naming it; with `write` the
 * file is written anew instead. Returns how many blocks there are. */
int page_check(const char *path, bool write);

#endif
