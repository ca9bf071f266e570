/* records.h - the records of a dataset's files, one after the other.
 *
 * What it is for. A dataset is a file or a folder of files: .json (an array of objects), .jsonl
 * (an object a line) or .txt (a text a line, in the field `text`). A .json file that opens with
 * { is read line by line too, as the peer does.
 *
 * Invariants.
 *   1. A record is a JSON object, borrowed until the next call.
 *   2. An error names the file and the record's number, counted from 1 in its file. */
#ifndef TR_TEXT_RECORDS_H
#define TR_TEXT_RECORDS_H

#include <jansson.h>
#include <stdint.h>

#include "core/base/err.h"

struct tr_records;

/* path: a file, or a folder whose files (in the order of their names) have one type. */
enum tr_status tr_records_open(const char *path, struct tr_records **out,
                               struct tr_err *err);
/* The next record, or NULL in *out at the end. */
enum tr_status tr_records_next(struct tr_records *r, const json_t **out,
                               struct tr_err *err);
/* Where the last record stands: "FILE: record N". Borrowed until the next call. */
const char *tr_records_where(struct tr_records *r);
void tr_records_close(struct tr_records *r);

#endif
