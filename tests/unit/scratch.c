#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/file.h"

void scratch_make(char dir[SCRATCH_ROOM])
{
    snprintf(dir, SCRATCH_ROOM, "/tmp/troupe-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
}

void scratch_remove(const char *dir)
{
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}

void scratch_path(char out[SCRATCH_ROOM], const char *dir, const char *name)
{
    assert_int_equal(tr_path_join(out, SCRATCH_ROOM, dir, name, NULL), TR_OK);
}

void scratch_text(const char *dir, const char *name, const char *text)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, name);
    assert_int_equal(tr_file_write(path, text, strlen(text), NULL), TR_OK);
}

json_t *scratch_json(const char *dir, const char *name)
{
    char path[SCRATCH_ROOM];
    json_t *value = NULL;
    struct tr_err err = {0};
    scratch_path(path, dir, name);
    if (tr_json_load(path, 1 << 20, &value, &err) != TR_OK) fail_msg("%s", err.text);
    return value;
}
