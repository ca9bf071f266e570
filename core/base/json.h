/* json.h - JSON files and fields, checked where they are read.
 *
 * What it is for. jansson parses; these calls add what a user needs to see when a field is
 * missing or of the wrong type: the file, the key, what was expected and what was found.
 *
 * Invariants.
 *   1. `where` (a path, or a path and a key) opens every error text.
 *   2. A getter with a default (`_or`) accepts a missing key or null, never a wrong type.
 *   3. Duplicate keys in an object are refused (JSON_REJECT_DUPLICATES). */
#ifndef TR_BASE_JSON_H
#define TR_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

/* Parses a file of at most `limit` bytes. The caller owns *out (json_decref). */
enum tr_status tr_json_load(const char *path, size_t limit, json_t **out,
                            struct tr_err *err);

/* Parses bytes; `where` names them in errors. The caller owns *out. */
enum tr_status tr_json_parse(const char *bytes, size_t size, const char *where,
                             json_t **out, struct tr_err *err);

/* The text of value with the fewest digits (15 to 17) at which every number reads back as
 * itself; indent 0 is one line. The caller owns it (free); NULL when memory is out. */
char *tr_json_text(const json_t *value, int indent);

/* Writes value (sorted as inserted, indented by `indent`) durably. */
enum tr_status tr_json_save(const char *path, const json_t *value, int indent,
                            struct tr_err *err);

/* Fields of an object. Strings are borrowed from the object. */
enum tr_status tr_json_string(const json_t *obj, const char *key, const char *where,
                              const char **out, struct tr_err *err);
enum tr_status tr_json_string_or(const json_t *obj, const char *key, const char *where,
                                 const char *otherwise, const char **out,
                                 struct tr_err *err);
/* An integer within [min, max]; a real with an integral value is accepted. */
enum tr_status tr_json_int(const json_t *obj, const char *key, const char *where,
                           int64_t min, int64_t max, int64_t *out, struct tr_err *err);
enum tr_status tr_json_int_or(const json_t *obj, const char *key, const char *where,
                              int64_t min, int64_t max, int64_t otherwise, int64_t *out,
                              struct tr_err *err);
/* A finite number (integer or real). */
enum tr_status tr_json_real(const json_t *obj, const char *key, const char *where,
                            double *out, struct tr_err *err);
enum tr_status tr_json_real_or(const json_t *obj, const char *key, const char *where,
                               double otherwise, double *out, struct tr_err *err);
enum tr_status tr_json_bool_or(const json_t *obj, const char *key, const char *where,
                               bool otherwise, bool *out, struct tr_err *err);

/* "object", "array", "string", "integer", "real", "boolean", "null" or "nothing" (NULL). */
const char *tr_json_kind(const json_t *value);

#endif
