/* chatml.c - is a model's Jinja chat template plain chatml?
 *
 * Running Jinja is not what we do; but most small chat models carry one of a few texts that
 * differ only in white space, quotes and the default system text. The text is squeezed (white
 * space outside quotes goes, quotes become ', newlines inside quotes become \n) and compared
 * with the squeezed known ones; `@` in those stands for the default system text. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/text/template.h"

#define LOOP "{%formessageinmessages%}"
#define TURN                                                                             \
    "{{'<|im_start|>'+message['role']+'\\n'+message['content']+'<|im_end|>'+'\\n'}}{%endfor%}"
#define ANSWER "{%ifadd_generation_prompt%}{{'<|im_start|>assistant\\n'}}{%endif%}"
#define SYSTEM                                                                                  \
    "{%ifloop.firstandmessages[0]['role']!='system'%}{{'<|im_start|>system\\n@<|im_end|>\\n'}}" \
    "{%endif%}"
#define GUARD                                                                            \
    "{%ifnotadd_generation_promptisdefined%}{%setadd_generation_prompt=false%}{%endif%}"

static const char *const known[] = {
    LOOP TURN ANSWER,
    GUARD LOOP TURN ANSWER,
    LOOP SYSTEM TURN ANSWER,
    GUARD LOOP SYSTEM TURN ANSWER,
};

/* Writes the squeezed text into out, which is twice as large as jinja. */
static void squeeze(const char *jinja, char *out)
{
    char quote = 0;
    for (const char *s = jinja; *s; s++) {
        bool dash =
            *s == '-' && !quote &&
            (s[1] == '%' || s[1] == '}' || (s > jinja && (s[-1] == '%' || s[-1] == '{')));
        if (!quote && (isspace((unsigned char)*s) || dash)) continue;
        if (quote && *s == '\n') {
            *out++ = '\\';
            *out++ = 'n';
        } else if (*s == (quote ? quote : '"') || (!quote && *s == '\'')) {
            quote = quote ? 0 : *s;
            *out++ = '\'';
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
}

/* Undoes \n and the other escapes of a quoted text, in place. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (*s == '\\' && s[1]) {
            s++;
            *out++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
}

/* Does text match pattern? *system gets what stands at @. */
static bool matches(const char *text, const char *pattern, char **system)
{
    const char *at = strchr(pattern, '@');
    if (!at) return strcmp(text, pattern) == 0;
    size_t head = (size_t)(at - pattern), tail = strlen(at + 1), size = strlen(text);
    if (size < head + tail || strncmp(text, pattern, head) != 0) return false;
    if (strcmp(text + size - tail, at + 1) != 0) return false;
    char *middle = strndup(text + head, size - head - tail);
    if (!middle || strchr(middle, '\'') || strstr(middle, "<|")) {
        free(middle);
        return false;
    }
    unescape(middle);
    *system = middle;
    return true;
}

bool tr_template_is_chatml(const char *jinja, char **system)
{
    bool found = false;
    *system = NULL;
    char *text = malloc(2 * strlen(jinja) + 1);
    if (!text) return false;
    squeeze(jinja, text);
    for (size_t i = 0; i < sizeof known / sizeof *known && !found; i++)
        found = matches(text, known[i], system);
    free(text);
    return found;
}
