/* dataset.h - one entry of dataset_info.json: where records are and what their fields mean.
 *
 * What it is for. A name in `dataset` stands for files and a mapping from the columns found in
 * them to the fields that stages know.
 *
 * Invariants.
 *   1. When `columns` is given, a column that it does not name does not exist: defaults are not
 *      kept. The same for `tags`. (Data written for the peer relies on it.)
 *   2. What would need the network, or a format that is not read yet, is refused in words. */
#ifndef TR_TEXT_DATASET_H
#define TR_TEXT_DATASET_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"

enum tr_formatting { TR_ALPACA, TR_SHAREGPT };

enum tr_column {
    TR_COL_PROMPT,
    TR_COL_QUERY,
    TR_COL_RESPONSE,
    TR_COL_HISTORY,
    TR_COL_MESSAGES,
    TR_COL_SYSTEM,
    TR_COL_TOOLS,
    TR_COL_CHOSEN,
    TR_COL_REJECTED,
    TR_COL_KTO_TAG,
    TR_COL_IMAGES,
    TR_COL_VIDEOS,
    TR_COL_AUDIOS,
    TR_COLUMNS,
};

enum tr_tag {
    TR_TAG_ROLE,
    TR_TAG_CONTENT,
    TR_TAG_USER,
    TR_TAG_ASSISTANT,
    TR_TAG_OBSERVATION,
    TR_TAG_FUNCTION,
    TR_TAG_SYSTEM,
    TR_TAGS,
};

struct tr_dataset {
    const char *name; /* borrows, like all strings here, until fini */
    enum tr_formatting formatting;
    bool ranking;                   /* preference pairs */
    const char *column[TR_COLUMNS]; /* the name in the file, or NULL */
    const char *tag[TR_TAGS];
    const char *file_name;
    json_t *root; /* owns: dataset_info.json */
};

/* The entry `name` of dir/dataset_info.json. The caller owns *out (fini). */
enum tr_status tr_dataset_open(const char *dir, const char *name, struct tr_dataset *out,
                               struct tr_err *err);
void tr_dataset_fini(struct tr_dataset *d);

#endif
