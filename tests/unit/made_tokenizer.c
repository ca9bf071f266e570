#include "tests/unit/made_tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/file.h"

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

char *made_json(const struct made_tokenizer *m)
{
    struct tr_buf b;
    int next = 256;
    tr_buf_init(&b, 1 << 24);
    tr_buf_printf(&b, NULL,
                  "{\"version\":\"1.0\",\"added_tokens\":[%s],\"normalizer\":%s,",
                  or_empty(m->added), m->normalizer ? m->normalizer : "null");
    tr_buf_printf(&b, NULL,
                  "\"pre_tokenizer\":%s,\"decoder\":{\"type\":\"ByteLevel\"},%s",
                  m->pre ? m->pre : MADE_BYTE_LEVEL, or_empty(m->root));
    tr_buf_puts(&b, "\"model\":{\"type\":\"BPE\",\"vocab\":{", NULL);
    for (int i = 0; i < 256; i++) {
        int self = (i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i != 0xAD);
        int point = self ? i : next++;
        if (i == m->without && i) continue;
        tr_buf_printf(&b, NULL, "%s\"\\u%04x\":%d", i ? ",\n" : "", (unsigned)point, i);
    }
    tr_buf_printf(&b, NULL, "%s},\"merges\":[%s]%s}}", or_empty(m->words),
                  or_empty(m->merges), or_empty(m->model));
    assert_non_null(b.at);
    return b.at;
}

struct tr_tokenizer *made_open(const struct made_tokenizer *m)
{
    struct tr_err err = {0};
    struct tr_tokenizer *t = NULL;
    char *json = made_json(m);
    if (tr_tokenizer_parse(json, strlen(json), "made", &t, &err) != TR_OK)
        fail_msg("made tokenizer: %s", err.text);
    free(json);
    return t;
}

void made_folder(char dir[64])
{
    snprintf(dir, 64, "/tmp/troupe_text_XXXXXX");
    assert_non_null(mkdtemp(dir));
}

void made_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

void made_folder_remove(const char *dir)
{
    assert_int_equal(tr_dir_remove(dir, NULL), TR_OK);
}
