/* f2.c - family F2, tokenizers: strings to ids and back, exactly.
 *
 * A part holds strings.json and an ids.NAME.json for each tokenizer; the tokenizer is the
 * folder tokenizers/NAME beside the part. A case is one list of ids.NAME.json; its error is
 * the number of strings for which we differ. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/json.h"
#include "core/text/tokenizer.h"
#include "tests/golden/golden.h"

enum { PATH = 4096, LIMIT = 1 << 30 };

struct f2 {
    struct tr_golden *g;
    const char *name; /* opens case names: "F2/given/ids.smollm2" */
    const struct tr_tokenizer *t;
    const json_t *strings;
    json_t *want;
    struct tr_ids *ids; /* [strings], what we make of each */
    size_t n;
};

/* The list with special tokens covers the first strings, and may hold their first ids only.
 * Do our ids start with (or, if exact, equal) the wanted ones? */
static bool ids_match(const struct tr_ids *got, const json_t *want, bool exact)
{
    size_t n = json_array_size(want);
    if (!json_is_array(want) ||
        (exact ? got->count != (int64_t)n : got->count < (int64_t)n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (got->at[i] != json_integer_value(json_array_get(want, i))) return false;
    return true;
}

static void tell(struct f2 *f, const char *list, int64_t wrong, int64_t first)
{
    char name[512];
    snprintf(name, sizeof name, "%s %s", f->name, list);
    if (first >= 0) {
        const char *s = json_string_value(json_array_get(f->strings, (size_t)first));
        fprintf(stderr, "%s: string %lld differs first: %.60s\n", name, (long long)first,
                s);
    }
    tr_golden_case(f->g, name, (double)wrong, 0);
}

static void check_ids(struct f2 *f, const char *list, bool exact)
{
    const json_t *want = json_object_get(f->want, list);
    int64_t wrong = 0, first = -1;
    struct tr_special s = tr_tokenizer_special(f->t);
    for (size_t i = 0; i < json_array_size(want); i++) {
        struct tr_ids got = {0};
        enum tr_status st = TR_OK;
        if (!exact && s.add_bos && s.bos >= 0) st = tr_ids_put(&got, &s.bos, 1, NULL);
        if (st == TR_OK) st = tr_ids_put(&got, f->ids[i].at, f->ids[i].count, NULL);
        if (st != TR_OK || !ids_match(&got, json_array_get(want, i), exact)) {
            if (wrong++ == 0) first = (int64_t)i;
        }
        tr_ids_fini(&got);
    }
    tell(f, list, wrong, first);
}

static void check_text(struct f2 *f, const char *list, bool skip_special)
{
    const json_t *want = json_object_get(f->want, list);
    int64_t wrong = 0, first = -1;
    for (size_t i = 0; i < f->n; i++) {
        struct tr_buf text;
        tr_buf_init(&text, LIMIT);
        const json_t *w = json_array_get(want, i);
        enum tr_status st = tr_tokenizer_decode(f->t, f->ids[i].at, f->ids[i].count,
                                                skip_special, &text, NULL);
        if (st != TR_OK || !json_is_string(w) || json_string_length(w) != text.size ||
            memcmp(json_string_value(w), tr_buf_text(&text), text.size) != 0) {
            if (wrong++ == 0) first = (int64_t)i;
        }
        tr_buf_fini(&text);
    }
    tell(f, list, wrong, first);
}

static void check_lists(struct f2 *f)
{
    const char *key;
    json_t *list;
    json_object_foreach(f->want, key, list)
    {
        bool some = strcmp(key, "first_ids_with_special") == 0;
        size_t n = json_array_size(list);
        if (n == 0 || n > f->n || (n < f->n && !some))
            tr_golden_fail(f->g, f->name, "%s: %zu entries for %zu strings", key, n,
                           f->n);
        else if (strcmp(key, "ids") == 0)
            check_ids(f, key, true);
        else if (some)
            check_ids(f, key, false);
        else if (strcmp(key, "decoded") == 0)
            check_text(f, key, false);
        else if (strcmp(key, "decoded_skip_special") == 0)
            check_text(f, key, true);
        else
            tr_golden_fail(f->g, f->name, "%s is not understood", key);
    }
}

static enum tr_status encode_all(struct f2 *f, struct tr_err *err)
{
    enum tr_status st = TR_OK;
    f->ids = calloc(f->n + 1, sizeof *f->ids);
    if (!f->ids) return tr_err_set(err, TR_NOMEM, "%zu strings", f->n);
    for (size_t i = 0; i < f->n && st == TR_OK; i++) {
        const json_t *s = json_array_get(f->strings, i);
        st = tr_tokenizer_encode(f->t, json_string_value(s), json_string_length(s),
                                 &f->ids[i], err);
    }
    return st;
}

/* One ids.NAME.json. */
static void run_file(struct f2 *f, const char *part, const char *file)
{
    char path[PATH], dir[PATH];
    struct tr_err err = {0};
    json_t *want = NULL;
    struct tr_tokenizer *t = NULL;
    int size = (int)strlen(file) - (int)strlen("ids..json");
    snprintf(dir, sizeof dir, "%s/../tokenizers/%.*s", part, size, file + 4);
    enum tr_status st = tr_path_join(path, sizeof path, part, file, &err);
    if (st == TR_OK) st = tr_json_load(path, LIMIT, &want, &err);
    if (st == TR_OK) st = tr_tokenizer_open(dir, &t, &err);
    f->t = t;
    f->want = want;
    f->ids = NULL;
    if (st == TR_OK) st = encode_all(f, &err);
    if (st == TR_OK)
        check_lists(f);
    else
        tr_golden_fail(f->g, f->name, "%s", err.text);
    for (size_t i = 0; f->ids && i < f->n; i++) tr_ids_fini(&f->ids[i]);
    free(f->ids);
    json_decref(want);
    tr_tokenizer_close(t);
}

void tr_golden_f2(struct tr_golden *g, const char *part, const char *name)
{
    char path[PATH], case_name[512];
    struct tr_err err = {0};
    struct dirent **file = NULL;
    json_t *strings = NULL;
    enum tr_status st = tr_path_join(path, sizeof path, part, "strings.json", &err);
    if (st == TR_OK) st = tr_json_load(path, LIMIT, &strings, &err);
    if (st != TR_OK) {
        tr_golden_fail(g, name, "%s", err.text);
        return;
    }
    struct f2 f = {.g = g, .strings = strings, .n = json_array_size(strings)};
    int files = scandir(part, &file, NULL, alphasort);
    for (int i = 0; i < files; i++) {
        const char *s = file[i]->d_name;
        size_t size = strlen(s);
        snprintf(case_name, sizeof case_name, "%s/%s", name, s);
        f.name = case_name;
        if (size > 9 && strncmp(s, "ids.", 4) == 0 && strcmp(s + size - 5, ".json") == 0)
            run_file(&f, part, s);
        else if (s[0] != '.' && strcmp(s, "strings.json") != 0)
            tr_golden_fail(g, case_name, "not understood");
        free(file[i]);
    }
    free(file);
    json_decref(strings);
}
