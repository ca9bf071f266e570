/* unicode16.h - letters and numbers that Unicode 15, 15.1 and 16 added.
 *
 * What it is for. The peer's regular expressions know Unicode 16; PCRE2 10.42 knows 14 and
 * utf8proc 2.8 knows 15. A text with one of these 9,392 code points (most are rare ideographs)
 * would be cut elsewhere. A newer PCRE2 knows them itself; then these ranges say nothing new. */
#ifndef TR_TEXT_UNICODE16_H
#define TR_TEXT_UNICODE16_H

#include <stddef.h>
#include <stdint.h>

struct tr_points {
    int32_t first, last;
};

struct tr_points_list {
    const struct tr_points *at;
    size_t count;
};

struct tr_points_list tr_unicode16_letters(void);
struct tr_points_list tr_unicode16_numbers(void);

#endif
