#include "core/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = ' ';
}

enum tr_status(tr_err_set)(struct tr_err *err, enum tr_status code, const char *fmt, ...)
{
    if (!err) return code;
    va_list ap;
    va_start(ap, fmt);
    /* The analyzer misses the va_start above. */
    vsnprintf(err->text, sizeof err->text, fmt, ap); // NOLINT(clang-analyzer-valist.*)
    va_end(ap);
    one_line(err->text);
    err->code = code;
    return code;
}

enum tr_status tr_err_wrap(struct tr_err *err, enum tr_status code, const char *fmt, ...)
{
    if (!err) return code;
    char inner[sizeof err->text];
    memcpy(inner, err->text, sizeof inner);
    inner[sizeof inner - 1] = 0;
    char outer[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(outer, sizeof outer, fmt, ap); // NOLINT(clang-analyzer-valist.*)
    va_end(ap);
    size_t used = strlen(outer);
    snprintf(err->text, sizeof err->text, "%s", outer);
    if (inner[0] && used + 3 < sizeof err->text)
        snprintf(err->text + used, sizeof err->text - used, ": %s", inner);
    one_line(err->text);
    err->code = code;
    return code;
}

const char *tr_err_cause(int number)
{
    const char *text = strerrordesc_np(number);
    return text ? text : "unknown error";
}

const char *tr_status_name(enum tr_status code)
{
    switch (code) {
    case TR_OK:
        return "ok";
    case TR_AGAIN:
        return "again";
    case TR_GONE:
        return "gone";
    case TR_STALE:
        return "stale";
    case TR_BADMSG:
        return "badmsg";
    case TR_BADARG:
        return "badarg";
    case TR_NOTNUM:
        return "notnum";
    case TR_NOMEM:
        return "nomem";
    case TR_IO:
        return "io";
    }
    return "unknown";
}
