/* yaml.h - a YAML file as a JSON value.
 *
 * What it is for. Users write run.yaml; the program reads JSON values. libyaml gives the
 * events, this turns one document into a json_t.
 *
 * Scalars follow YAML 1.1 as PyYAML's safe loader reads them, with one kindness: 1e-4 (no dot)
 * is a number, as users mean it. Plain null, ~ and the empty scalar are null; true/false,
 * yes/no, on/off are booleans; quoted scalars are always strings.
 *
 * Invariants.
 *   1. Errors name the file, line and column.
 *   2. Refused: several documents, aliases and anchors, tags, a key that is not a scalar,
 *      the same key twice, nesting over 32, files over 1 MiB. */
#ifndef TR_BASE_YAML_H
#define TR_BASE_YAML_H

#include <jansson.h>

#include "core/base/err.h"

/* The caller owns *out. An empty file is an empty object. */
enum tr_status tr_yaml_load(const char *path, json_t **out, struct tr_err *err);

/* The same for text in memory; `where` names it. */
enum tr_status tr_yaml_parse(const char *text, size_t size, const char *where,
                             json_t **out, struct tr_err *err);

/* One plain scalar as a value ("8" -> 8, "true" -> true, "abc" -> "abc"), for key=value on a
 * command line. The caller owns the result; NULL when memory is out. */
json_t *tr_yaml_scalar(const char *text);

#endif
