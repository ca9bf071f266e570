/* scratch.h - folders that a test makes and removes. Everything asserts. */
#ifndef TR_TEST_SCRATCH_H
#define TR_TEST_SCRATCH_H

#include "core/base/json.h"

enum { SCRATCH_ROOM = 256 };

void scratch_make(char dir[SCRATCH_ROOM]); /* a new folder in /tmp */
void scratch_remove(const char *dir);

/* dir/name into out. */
void scratch_path(char out[SCRATCH_ROOM], const char *dir, const char *name);
void scratch_text(const char *dir, const char *name,
                  const char *text);                     /* writes a file */
json_t *scratch_json(const char *dir, const char *name); /* reads one */

#endif
