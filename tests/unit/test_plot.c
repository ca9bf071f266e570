/* Axes as a table; the running mean against numbers of an independent script; pictures read back. */
#include <float.h>
#include <gd.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/base/file.h"
#include "core/watch/axis.h"
#include "core/watch/history_plot.h"
#include "core/watch/plot.h"
#include "tests/unit/scratch.h"

/* ---- axes ---- */

static void marks_are_round_and_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double lo, hi;
        int most;
        bool whole;
        double first, step;
        int marks;
        const char *text; /* of the first mark */
    } rows[] = {
        {"plain", 0, 10, 6, false, 0, 2, 6, "0"},
        {"thirds", 0, 1, 4, false, 0, 0.5, 3, "0.0"},
        {"below one", 0.011, 0.049, 5, false, 0.02, 0.01, 3, "0.02"},
        {"around zero", -1, 1, 5, false, -1, 0.5, 5, "-1.0"},
        {"few whole steps", 1, 3, 12, true, 1, 1, 3, "1"},
        {"one step", 7, 7, 9, true, 6, 1, 3, "6"},
        {"equal", 5, 5, 5, false, 4.6, 0.2, 5, "4.6"},
        {"zeros", 0, 0, 5, false, -1, 0.5, 5, "-1.0"},
        {"large", 0, 4e6, 5, false, 0, 1e6, 5, "0"},
        {"large and near", 1e9, 1e9 + 3, 7, false, 1e9, 0.5, 7, "1000000000.0"},
        {"small", 1e-5, 3e-5, 5, false, 1e-5, 5e-6, 5, "1.0e-5"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[32];
        struct tr_axis a =
            tr_axis_fit(rows[i].lo, rows[i].hi, 0, rows[i].most, rows[i].whole);
        tr_axis_text(&a, tr_axis_mark(&a, 0), text, sizeof text);
        if (fabs(a.first - rows[i].first) > a.step * 1e-6 ||
            fabs(a.step / rows[i].step - 1) > 1e-9 || a.marks != rows[i].marks ||
            strcmp(text, rows[i].text) != 0)
            fail_msg("%s: first %g step %g marks %d \"%s\"", rows[i].name, a.first,
                     a.step, a.marks, text);
    }
}

/* Invariants 2 and 3 of axis.h. */
static void any_two_numbers_make_an_axis(void **state)
{
    (void)state;
    static const double at[] = {0,     1,    -1,      1e-300, 5e-324,  1e300,
                                1e-12, 1e15, DBL_MAX, -1e6,   123.456, -DBL_MAX};
    enum { N = sizeof at / sizeof *at };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            char last[32] = "";
            double lo = fmin(at[i], at[j]), hi = fmax(at[i], at[j]);
            struct tr_axis a = tr_axis_fit(lo, hi, 0.04, 7, false);
            assert_true(a.hi > a.lo && a.step > 0 && isfinite(a.hi) && isfinite(a.lo));
            assert_in_range(a.marks, 1, TR_AXIS_MARKS);
            for (int k = 0; k < a.marks; k++) {
                char text[32];
                tr_axis_text(&a, tr_axis_mark(&a, k), text, sizeof text);
                if (strcmp(text, last) == 0) fail_msg("%g, %g: %s twice", lo, hi, text);
                memcpy(last, text, sizeof last);
            }
        }
}

/* ---- the running mean ---- */

static void the_mean_is_the_peer_s(void **state)
{
    (void)state;
    static const double value[5] = {3, 2.5, 2.75, 1, 1.5};
    static const double want[5] = {3, 2.5559588508, 2.7282833606, 1.1934255014,
                                   1.4656888868};
    double got[5];
    tr_history_smooth(value, 5, got);
    for (int i = 0; i < 5; i++) assert_true(fabs(got[i] - want[i]) < 1e-9);
    const double gap[4] = {(double)NAN, 2, (double)INFINITY, 2};
    tr_history_smooth(gap, 4, got);
    assert_true(isnan(got[0]) && got[1] == 2 && isnan(got[2]) && got[3] == 2);
}

/* ---- pictures ---- */

static gdImagePtr read_back(const char *dir, const char *name)
{
    char path[SCRATCH_ROOM];
    scratch_path(path, dir, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    gdImagePtr im = gdImageCreateFromPng(f);
    assert_non_null(im);
    assert_int_equal(fclose(f), 0);
    return im;
}

/* Pixels of columns [from, to) that have much more blue than red: the first curve's. */
static int blue_between(gdImagePtr im, int from, int to)
{
    int n = 0;
    for (int x = from; x < to; x++)
        for (int y = 80; y < gdImageSY(im) - 60; y++) {
            int c = gdImageGetTrueColorPixel(im, x, y);
            n += (c & 255) - (c >> 16 & 255) > 60;
        }
    return n;
}

static void write_curve(const char *dir, const char *name, const double *value, int n,
                        const char *title)
{
    enum { MOST = 200 };
    double step[MOST];
    char path[SCRATCH_ROOM];
    struct tr_err err = {0};
    for (int i = 0; i < n && i < MOST; i++) step[i] = i + 1;
    const struct tr_plot_curve curve = {
        .name = title, .n = n, .step = step, .value = value};
    const struct tr_panel panel = {.title = title, .curve = &curve, .curves = 1};
    const struct tr_plot_event event[] = {{50, title}, {51, "swap"}};
    const struct tr_plot plot = {
        .heading = title, .panel = &panel, .panels = 1, .event = event, .events = 2};
    scratch_path(path, dir, name);
    if (tr_plot_write(path, &plot, &err) != TR_OK) fail_msg("%s", err.text);
}

/* Invariant 1 of plot.h. */
static void what_is_not_finite_is_a_gap(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    double value[100];
    scratch_make(dir);
    for (int i = 0; i < 100; i++) value[i] = sin(i * 0.1);
    write_curve(dir, "whole.png", value, 100, "curve");
    for (int i = 25; i < 75; i++) value[i] = i % 2 ? (double)NAN : -(double)INFINITY;
    write_curve(dir, "gap.png", value, 100, "curve");
    value[60] = 0.5;
    write_curve(dir, "dot.png", value, 100, "curve");
    gdImagePtr whole = read_back(dir, "whole.png"), gap = read_back(dir, "gap.png"),
               dot = read_back(dir, "dot.png");
    int w = gdImageSX(whole);
    assert_true(blue_between(whole, w * 2 / 5, w * 3 / 5) > 100);
    assert_int_equal(blue_between(gap, w * 2 / 5, w * 3 / 5), 0);
    assert_true(blue_between(gap, 0, w / 5) > 50);
    assert_in_range(blue_between(dot, w * 2 / 5, w * 7 / 10), 4, 60);
    gdImageDestroy(whole);
    gdImageDestroy(gap);
    gdImageDestroy(dot);
    scratch_remove(dir);
}

/* The words of events go where no curve is, as long as there is such a place. */
static void words_hide_no_curve(void **state)
{
    (void)state;
    static const char *const words[2][2] = {{NULL, NULL}, {"swap", "rollout-1 killed"}};
    char dir[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    double step[100], value[100];
    int blue[2];
    scratch_make(dir);
    scratch_path(path, dir, "words.png");
    for (int shape = 0; shape < 3; shape++) {
        for (int i = 0; i < 100; i++) {
            step[i] = i;
            value[i] = shape == 0 ? (i % 2) * 0.1 + (i > 50) : shape == 1 ? i : -i;
        }
        for (int k = 0; k < 2; k++) {
            const struct tr_plot_curve curve = {.n = 100, .step = step, .value = value};
            const struct tr_panel panel = {.title = "p", .curve = &curve, .curves = 1};
            const struct tr_plot_event event[] = {{50, words[k][0]}, {51, words[k][1]}};
            const struct tr_plot plot = {
                .panel = &panel, .panels = 1, .event = event, .events = 2};
            assert_int_equal(tr_plot_write(path, &plot, NULL), TR_OK);
            gdImagePtr im = read_back(dir, "words.png");
            blue[k] = blue_between(im, 0, gdImageSX(im));
            gdImageDestroy(im);
        }
        assert_true(blue[0] > 100);
        assert_int_equal(blue[0], blue[1]);
    }
    scratch_remove(dir);
}

/* Invariant 2 of plot.h. */
static void long_texts_are_cut_at_the_edge(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char title[400];
    double value[2] = {-DBL_MAX, DBL_MAX};
    scratch_make(dir);
    for (size_t i = 0; i + 2 < sizeof title; i += 2) memcpy(title + i, "\xC3\xA4", 3);
    write_curve(dir, "long.png", value, 2, title);
    gdImagePtr im = read_back(dir, "long.png");
    int w = gdImageSX(im), h = gdImageSY(im), ink = 0;
    for (int y = 0; y < h; y++)
        for (int x = w - 10; x < w; x++)
            ink += gdImageGetTrueColorPixel(im, x, y) != 0xffffff;
    for (int x = 0; x < w; x++) ink += gdImageGetTrueColorPixel(im, x, h - 1) != 0xffffff;
    assert_int_equal(ink, 0);
    gdImageDestroy(im);
    scratch_remove(dir);
}

static json_t *a_history(int n, const char *key)
{
    json_t *h = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(h,
                              json_pack("{s:i, s:f}", "step", i + 1, key, 1.0 / (i + 1)));
    return h;
}

static void a_history_becomes_the_peer_s_file(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    struct tr_err err = {0};
    scratch_make(dir);
    json_t *h = a_history(9, "rewards/chosen");
    assert_int_equal(tr_history_plot(dir, h, "rewards/chosen", &err), TR_OK);
    gdImageDestroy(read_back(dir, "training_rewards_chosen.png"));
    assert_int_equal(tr_history_plot(dir, h, "loss", &err), TR_BADARG);
    assert_non_null(strstr(err.text, "no log entry has loss"));
    json_decref(h);
    scratch_remove(dir);
}

static void a_folder_that_refuses_is_said(void **state)
{
    (void)state;
    char dir[SCRATCH_ROOM];
    char path[SCRATCH_ROOM];
    struct tr_err err = {0};
    scratch_make(dir);
    json_t *h = a_history(3, "loss");
    scratch_path(path, dir, "training_loss.png.part");
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(tr_history_plot(dir, h, "loss", &err), TR_BADARG);
    assert_non_null(strstr(err.text, "training_loss.png"));
    scratch_path(path, dir, "missing");
    assert_int_equal(tr_history_plot(path, h, "loss", &err), TR_BADARG);
    json_decref(h);
    scratch_remove(dir);
}

static void too_many_are_refused(void **state)
{
    (void)state;
    struct tr_panel panel = {.title = "p", .curves = TR_PLOT_CURVES + 1};
    struct tr_plot plot = {.panel = &panel, .panels = 1};
    assert_int_equal(tr_plot_write("/tmp/never.png", &plot, NULL), TR_BADARG);
    plot.panels = TR_PLOT_PANELS + 1;
    assert_int_equal(tr_plot_write("/tmp/never.png", &plot, NULL), TR_BADARG);
    plot.panels = 0;
    assert_int_equal(tr_plot_write("/tmp/never.png", &plot, NULL), TR_BADARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_round_and_told_apart),
        cmocka_unit_test(any_two_numbers_make_an_axis),
        cmocka_unit_test(the_mean_is_the_peer_s),
        cmocka_unit_test(what_is_not_finite_is_a_gap),
        cmocka_unit_test(words_hide_no_curve),
        cmocka_unit_test(long_texts_are_cut_at_the_edge),
        cmocka_unit_test(a_history_becomes_the_peer_s_file),
        cmocka_unit_test(a_folder_that_refuses_is_said),
        cmocka_unit_test(too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
