#include "core/watch/plot_text.h"

#include <gdfontl.h>
#include <gdfontmb.h>
#include <gdfonts.h>
#include <stdio.h>
#include <string.h>

struct letters {
    const char *file; /* of FreeType */
    double points;
    gdFontPtr (*built_in)(void);
};

static const struct letters *letters_of(enum tr_text_kind kind)
{
    static const struct letters table[] = {
        {"/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 9, gdFontGetSmall},
        {"/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf", 10, gdFontGetMediumBold},
        {"/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 14, gdFontGetLarge},
    };
    return &table[kind];
}

/* FreeType's box of the text at (0, 0): corners x, y from the lower left on. NULL: it has none. */
static const char *draw(gdImagePtr im, const struct letters *l, int box[8], double angle,
                        int x, int y, const char *text, int ink)
{
    /* libgd takes its texts without const and does not write to them. */
    union {
        const char *in;
        char *gd;
    } file = {.in = l->file}, words = {.in = text};
    return gdImageStringFT(im, box, ink, file.gd, l->points, angle, x, y, words.gd);
}

int tr_plot_text_width(enum tr_text_kind kind, const char *text)
{
    int box[8];
    const struct letters *l = letters_of(kind);
    if (!draw(NULL, l, box, 0, 0, 0, text, 0)) return box[2] - box[0];
    return l->built_in()->w * (int)strlen(text);
}

/* The end of the character before `end`: no half of an UTF-8 character stays. */
static size_t step_back(const char *text, size_t end)
{
    do end--;
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80);
    return end;
}

void tr_plot_text_fit(enum tr_text_kind kind, const char *text, int most, char *out,
                      size_t size)
{
    size_t keep = strlen(text);
    snprintf(out, size, "%s", text);
    if (keep < size && tr_plot_text_width(kind, out) <= most) return;
    if (keep > size - 4) keep = size - 4;
    keep++;
    do {
        keep = step_back(text, keep);
        snprintf(out, size, "%.*s...", (int)keep, text);
    } while (keep > 0 && tr_plot_text_width(kind, out) > most);
}

void tr_plot_text_put(gdImagePtr im, enum tr_text_kind kind, int x, int y, double share,
                      const char *text, int ink)
{
    int box[8];
    const struct letters *l = letters_of(kind);
    x -= (int)(share * tr_plot_text_width(kind, text));
    int base =
        y + (int)(l->points * 0.49); /* half of a capital's height below the middle */
    if (!draw(im, l, box, 0, x, base, text, ink)) return;
    union {
        const char *in;
        unsigned char *gd;
    } words = {.in = text};
    gdImageString(im, l->built_in(), x, y - l->built_in()->h / 2, words.gd, ink);
}

static void put_upright(gdImagePtr im, int x, int y, const char *text, int ink)
{
    const double quarter = 1.5707963267948966;
    int box[8];
    const struct letters *l = letters_of(TR_TEXT_SMALL);
    if (!draw(im, l, box, quarter, x, y, text, ink)) return;
    union {
        const char *in;
        unsigned char *gd;
    } words = {.in = text};
    gdImageStringUp(im, l->built_in(), x - l->built_in()->h + 2, y, words.gd, ink);
}

void tr_plot_text_upright(gdImagePtr im, int x, int y, const char *text, int ink)
{
    for (int dx = -1; dx <= 1; dx++)
        for (int dy = -1; dy <= 1; dy++) put_upright(im, x + dx, y + dy, text, 0xffffff);
    put_upright(im, x, y, text, ink);
}
