/* err.h - what went wrong, for the program and for the person.
 *
 * What it is for. A failure has two readers: the program needs its next move (one of the
 * statuses below), the person needs one line that names the file, tensor, shape, key or peer.
 *
 * The data. `enum tr_status` is the move; `struct tr_err` carries move and line.
 *
 * Invariants.
 *   1. Every call that can fail returns enum tr_status and takes struct tr_err *err last.
 *   2. err may be NULL. The text is set where the fault is found; a caller may wrap it once.
 *   3. The text is one line without a newline, outermost context first, always terminated. */
#ifndef TR_BASE_ERR_H
#define TR_BASE_ERR_H

enum tr_status {
    TR_OK = 0,
    TR_AGAIN = 1,  /* nothing is wrong and nothing is here yet: poll, then call again */
    TR_GONE = 2,   /* the peer is lost: hand its work to another */
    TR_STALE = 3,  /* well formed but for an older policy: drop it and count it */
    TR_BADMSG = 4, /* the peer broke the protocol: refuse it, keep serving the others */
    TR_BADARG = 5, /* the user asked for what cannot be: print the text, exit 2 */
    TR_NOTNUM = 6, /* a NaN or an Inf crossed a boundary: skip this update */
    TR_NOMEM = 7,  /* the budget is spent: shrink the batch or stop */
    TR_IO = 8,     /* a file or a device refused: keep the old checkpoint, stop */
};

struct tr_err {
    enum tr_status code;
    char text[256]; /* one line, no newline, outermost context first */
};

/* Fills err (if not NULL) and returns code, so that a fault is one statement. */
enum tr_status tr_err_set(struct tr_err *err, enum tr_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before err's text and returns code unchanged. */
enum tr_status tr_err_wrap(struct tr_err *err, enum tr_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* What an errno means, in words; never NULL. (strerror may share a buffer between threads.) */
const char *tr_err_cause(int number);

/* The status as a word, for logs and `fail` messages: "ok", "again", ... Never NULL. */
const char *tr_status_name(enum tr_status code);

#ifdef __clang_analyzer__
/* The analyzer does not look into another file: that code comes back is told to it here. */
/* It stands for the function, so it has its name. NOLINTNEXTLINE(readability-identifier-naming) */
#    define tr_err_set(err, code, ...)                                                   \
        ((void)(tr_err_set)((err), (code), __VA_ARGS__), (code))
#endif

#endif
