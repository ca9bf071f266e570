/* Curves are drawn three times too large on a canvas of their own, one a panel, which is then
 * shrunk into the picture: that gives smooth lines, and nothing can reach beyond the panel. Texts
 * are written on the picture itself, by FreeType with the font that libgd's own dependencies
 * bring, or with libgd's built-in letters where that font is not found. */
#include "core/watch/plot.h"

#include <gd.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/watch/axis.h"
#include "core/watch/plot_text.h"

enum {
    FINE = 3, /* canvas pixels a picture pixel */
    EDGE = 18,
    ONE_WIDTH = 880,
    ONE_HEIGHT = 460,
    CELL_WIDTH = 560,
    CELL_HEIGHT = 330,
    TITLE_ROW = 28,
    LEGEND_ROW = 20,
    SWATCH = 22,
    FOOT = 44, /* marks and name of the horizontal axis */
    COLOURS = 8,
    WHITE = 0xffffff,
    INK = 0x262626,
    FAINT_INK = 0x6b6b6b,
    GRID = 0xe6e6e6,
    EVENT_INK = 0x8a8a8a,
};

struct box {
    int x, y, w, h;
};

struct frame {
    struct box at; /* of the plot area in the picture */
    struct tr_axis x, y;
};

static int colour_of(const struct tr_plot_curve *c)
{
    static const int palette[COLOURS] = {0x1f77b4, 0xff7f0e, 0x2ca02c, 0xd62728,
                                         0x9467bd, 0x8c564b, 0x17becf, 0x7f7f7f};
    int rgb = palette[(unsigned)c->colour % COLOURS];
    if (!c->pale) return rgb;
    int light = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        int part = rgb >> shift & 255;
        light |= (255 - (255 - part) * 2 / 5) << shift;
    }
    return light;
}

/* ---- ranges ---- */

static bool is_number(double x)
{
    return isfinite(x) && fabs(x) <= 1e300;
}

static void reach(double *lo, double *hi, double x)
{
    if (!is_number(x)) return;
    *lo = fmin(*lo, x);
    *hi = fmax(*hi, x);
}

static struct tr_axis steps_of(const struct tr_plot *p, int most)
{
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    for (int i = 0; i < p->panels; i++)
        for (int c = 0; c < p->panel[i].curves; c++)
            for (int64_t k = 0; k < p->panel[i].curve[c].n; k++)
                reach(&lo, &hi, p->panel[i].curve[c].step[k]);
    for (int e = 0; e < p->events; e++) reach(&lo, &hi, p->event[e].step);
    if (lo > hi) lo = hi = 0;
    return tr_axis_fit(lo, hi, 0.015, most, true);
}

static struct tr_axis values_of(const struct tr_panel *p, int most)
{
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    if (p->lo < p->hi) {
        lo = p->lo;
        hi = p->hi;
    }
    for (int c = 0; c < p->curves; c++)
        for (int64_t k = 0; k < p->curve[c].n; k++) reach(&lo, &hi, p->curve[c].value[k]);
    if (lo > hi) lo = hi = 0;
    return tr_axis_fit(lo, hi, 0.04, most, false);
}

/* Places on the canvas, in canvas pixels. */
static int across(const struct frame *f, double step)
{
    double share = (step - f->x.lo) / (f->x.hi - f->x.lo);
    return (int)lround(share * (f->at.w * FINE - 1));
}

static int down(const struct frame *f, double value)
{
    double share = (f->y.hi - value) / (f->y.hi - f->y.lo);
    return (int)lround(share * (f->at.h * FINE - 1));
}

/* ---- the canvas of a panel ---- */

static void draw_grid(gdImagePtr canvas, const struct frame *f)
{
    int w = f->at.w * FINE, h = f->at.h * FINE;
    gdImageFilledRectangle(canvas, 0, 0, w, h, WHITE);
    gdImageSetThickness(canvas, FINE);
    for (int k = 0; k < f->y.marks; k++) {
        int y = down(f, tr_axis_mark(&f->y, k));
        gdImageLine(canvas, 0, y, w, y, GRID);
    }
    for (int k = 0; k < f->x.marks; k++) {
        int x = across(f, tr_axis_mark(&f->x, k));
        gdImageLine(canvas, x, 0, x, h, GRID);
    }
}

static void draw_events(gdImagePtr canvas, const struct frame *f, const struct tr_plot *p)
{
    enum { DASH = 6 * FINE, GAP = 4 * FINE };
    int h = f->at.h * FINE;
    gdImageSetThickness(canvas, FINE);
    for (int e = 0; e < p->events; e++) {
        if (!is_number(p->event[e].step)) continue;
        int x = across(f, p->event[e].step);
        for (int y = 0; y < h; y += DASH + GAP)
            gdImageLine(canvas, x, y, x, y + DASH, EVENT_INK);
    }
}

static bool is_point(const struct tr_plot_curve *c, int64_t k)
{
    return k >= 0 && k < c->n && is_number(c->step[k]) && is_number(c->value[k]);
}

static void draw_curve(gdImagePtr canvas, const struct frame *f,
                       const struct tr_plot_curve *c)
{
    int ink = colour_of(c), thick = c->pale ? FINE : FINE + 3;
    gdImageSetThickness(canvas, thick);
    for (int64_t k = 0; k < c->n; k++) {
        if (!is_point(c, k)) continue;
        bool alone = !is_point(c, k - 1) && !is_point(c, k + 1);
        int x = across(f, c->step[k]), y = down(f, c->value[k]);
        int dot = alone ? 3 * thick : thick; /* else: the joint of two strokes */
        gdImageFilledEllipse(canvas, x, y, dot, dot, ink);
        if (is_point(c, k - 1))
            gdImageLine(canvas, across(f, c->step[k - 1]), down(f, c->value[k - 1]), x, y,
                        ink);
    }
}

static enum tr_status draw_canvas(gdImagePtr picture, const struct frame *f,
                                  const struct tr_plot *p, const struct tr_panel *panel,
                                  struct tr_err *err)
{
    int w = f->at.w * FINE, h = f->at.h * FINE;
    gdImagePtr canvas = gdImageCreateTrueColor(w, h);
    if (!canvas) return tr_err_set(err, TR_NOMEM, "a picture of %d x %d", w, h);
    draw_grid(canvas, f);
    draw_events(canvas, f, p);
    for (int pale = 1; pale >= 0; pale--)
        for (int c = 0; c < panel->curves; c++)
            if (panel->curve[c].pale == pale) draw_curve(canvas, f, &panel->curve[c]);
    gdImageCopyResampled(picture, canvas, f->at.x, f->at.y, 0, 0, f->at.w, f->at.h, w, h);
    gdImageDestroy(canvas);
    return TR_OK;
}

/* ---- what is written around it ---- */

static void draw_axes(gdImagePtr picture, const struct frame *f, const char *steps)
{
    char text[32];
    int left = f->at.x, bottom = f->at.y + f->at.h;
    gdImageLine(picture, left, f->at.y, left, bottom, FAINT_INK);
    gdImageLine(picture, left, bottom, left + f->at.w, bottom, FAINT_INK);
    for (int k = 0; k < f->y.marks; k++) {
        double at = tr_axis_mark(&f->y, k);
        int y = f->at.y + down(f, at) / FINE;
        tr_axis_text(&f->y, at, text, sizeof text);
        gdImageLine(picture, left - 4, y, left, y, FAINT_INK);
        tr_plot_text_put(picture, TR_TEXT_SMALL, left - 8, y, 1.0, text, INK);
    }
    for (int k = 0; k < f->x.marks; k++) {
        double at = tr_axis_mark(&f->x, k);
        int x = left + across(f, at) / FINE;
        tr_axis_text(&f->x, at, text, sizeof text);
        gdImageLine(picture, x, bottom, x, bottom + 4, FAINT_INK);
        tr_plot_text_put(picture, TR_TEXT_SMALL, x, bottom + 13, 0.5, text, INK);
    }
    tr_plot_text_put(picture, TR_TEXT_SMALL, left + f->at.w / 2, bottom + 32, 0.5,
                     steps ? steps : "step", FAINT_INK);
}

/* Pixels of a box of the picture that have colour or are dark: curves and words, not the grid. */
static int ink_in(gdImagePtr picture, const struct box *b)
{
    int n = 0;
    for (int y = b->y; y < b->y + b->h; y++)
        for (int x = b->x; x < b->x + b->w; x++) {
            int c = gdImageGetTrueColorPixel(picture, x, y);
            int red = c >> 16 & 255, blue = c & 255;
            n += red < 0xd0 || blue < 0xd0 || red - blue > 16 || blue - red > 16;
        }
    return n;
}

/* A word stands upright beside its line: at its right or left, at the top, the bottom or between,
 * wherever the least is drawn already, the first of equals. */
static void name_event(gdImagePtr picture, const struct frame *f, int x, const char *text)
{
    enum { PLACES = 9, LETTER = 13, GAP = 3 };
    char word[64];
    tr_plot_text_fit(TR_TEXT_SMALL, text, f->at.h - 8, word, sizeof word);
    int length = tr_plot_text_width(TR_TEXT_SMALL, word), least = INT_MAX;
    struct box best = {0};
    for (int side = 0; side < 2; side++)
        for (int k = 0; k < PLACES; k++) {
            struct box b = {side ? x - GAP - LETTER : x + GAP,
                            f->at.y + 4 + (f->at.h - 8 - length) * k / (PLACES - 1),
                            LETTER, length};
            if (b.x < f->at.x || b.x + b.w > f->at.x + f->at.w) continue;
            int ink = ink_in(picture, &b);
            if (ink >= least) continue;
            least = ink;
            best = b;
        }
    if (least < INT_MAX)
        tr_plot_text_upright(picture, best.x + LETTER - GAP, best.y + length, word,
                             FAINT_INK);
}

static void name_events(gdImagePtr picture, const struct frame *f,
                        const struct tr_plot *p)
{
    for (int e = 0; e < p->events; e++)
        if (is_number(p->event[e].step) && p->event[e].word)
            name_event(picture, f, f->at.x + across(f, p->event[e].step) / FINE,
                       p->event[e].word);
}

/* Draws the legend from (x, y) on, or only counts its rows when picture is NULL. */
static int put_legend(gdImagePtr picture, const struct tr_panel *p, const struct box *row)
{
    int x = row->x, rows = 0;
    for (int c = 0; c < p->curves; c++) {
        char name[64];
        if (!p->curve[c].name) continue;
        tr_plot_text_fit(TR_TEXT_SMALL, p->curve[c].name, row->w - SWATCH - 8, name,
                         sizeof name);
        int w = SWATCH + 6 + tr_plot_text_width(TR_TEXT_SMALL, name);
        if (rows == 0 || x + w > row->x + row->w) {
            x = row->x;
            rows++;
        }
        int y = row->y + (rows - 1) * LEGEND_ROW + LEGEND_ROW / 2;
        if (picture) {
            gdImageFilledRectangle(picture, x, y - 1, x + SWATCH - 1, y + 1,
                                   colour_of(&p->curve[c]));
            tr_plot_text_put(picture, TR_TEXT_SMALL, x + SWATCH + 6, y, 0.0, name, INK);
        }
        x += w + 18;
    }
    return rows;
}

static int widest_mark(const struct tr_axis *a)
{
    char text[32];
    int widest = 0;
    for (int k = 0; k < a->marks; k++) {
        tr_axis_text(a, tr_axis_mark(a, k), text, sizeof text);
        int w = tr_plot_text_width(TR_TEXT_SMALL, text);
        widest = w > widest ? w : widest;
    }
    return widest;
}

static enum tr_status draw_panel(gdImagePtr picture, const struct box *cell,
                                 const struct tr_plot *p, const struct tr_panel *panel,
                                 struct tr_err *err)
{
    char title[160];
    struct frame f = {.y = values_of(panel, cell->h > 400 ? 9 : 7)};
    struct box row = {cell->x, cell->y + TITLE_ROW, cell->w, LEGEND_ROW};
    int left = widest_mark(&f.y) + 14;
    int top = TITLE_ROW + put_legend(NULL, panel, &row) * LEGEND_ROW + 6;
    f.at = (struct box){cell->x + left, cell->y + top, cell->w - left - 6,
                        cell->h - top - FOOT};
    f.x = steps_of(p, f.at.w / 48);
    tr_plot_text_fit(TR_TEXT_BOLD, panel->title, cell->w, title, sizeof title);
    tr_plot_text_put(picture, TR_TEXT_BOLD, cell->x, cell->y + TITLE_ROW / 2, 0.0, title,
                     INK);
    put_legend(picture, panel, &row);
    enum tr_status st = draw_canvas(picture, &f, p, panel, err);
    if (st != TR_OK) return st;
    draw_axes(picture, &f, p->steps);
    name_events(picture, &f, p);
    return TR_OK;
}

/* ---- the picture ---- */

static enum tr_status check(const struct tr_plot *p, struct tr_err *err)
{
    if (p->panels < 1 || p->panels > TR_PLOT_PANELS)
        return tr_err_set(err, TR_BADARG, "a picture of %d panels, expected 1 to %d",
                          p->panels, TR_PLOT_PANELS);
    for (int i = 0; i < p->panels; i++)
        if (p->panel[i].curves < 0 || p->panel[i].curves > TR_PLOT_CURVES)
            return tr_err_set(err, TR_BADARG, "%s: %d curves, expected at most %d",
                              p->panel[i].title, p->panel[i].curves, TR_PLOT_CURVES);
    return TR_OK;
}

static enum tr_status save(gdImagePtr picture, const char *path, struct tr_err *err)
{
    int size = 0;
    void *bytes = gdImagePngPtr(picture, &size);
    if (!bytes) return tr_err_set(err, TR_NOMEM, "%s: no memory for a PNG", path);
    enum tr_status st = tr_file_write(path, bytes, (size_t)size, err);
    gdFree(bytes);
    return st;
}

enum tr_status tr_plot_write(const char *path, const struct tr_plot *p,
                             struct tr_err *err)
{
    char heading[200];
    enum tr_status st = check(p, err);
    if (st != TR_OK) return st;
    int columns = p->panels > 1 ? 2 : 1, rows = (p->panels + columns - 1) / columns;
    struct box cell = {.w = columns > 1 ? CELL_WIDTH : ONE_WIDTH,
                       .h = columns > 1 ? CELL_HEIGHT : ONE_HEIGHT};
    int top = p->heading ? 34 : 0, w = columns * (cell.w + EDGE) + EDGE;
    int h = top + rows * (cell.h + EDGE) + EDGE;
    gdImagePtr picture = gdImageCreateTrueColor(w, h);
    if (!picture) return tr_err_set(err, TR_NOMEM, "a picture of %d x %d", w, h);
    gdImageFilledRectangle(picture, 0, 0, w, h, WHITE);
    if (p->heading) {
        tr_plot_text_fit(TR_TEXT_LARGE, p->heading, w - 2 * EDGE, heading,
                         sizeof heading);
        tr_plot_text_put(picture, TR_TEXT_LARGE, EDGE, EDGE + 8, 0.0, heading, INK);
    }
    for (int i = 0; i < p->panels && st == TR_OK; i++) {
        cell.x = EDGE + i % columns * (cell.w + EDGE);
        cell.y = top + EDGE + i / columns * (cell.h + EDGE);
        st = draw_panel(picture, &cell, p, &p->panel[i], err);
    }
    if (st == TR_OK) st = save(picture, path, err);
    gdImageDestroy(picture);
    gdFontCacheShutdown();
    return st;
}
