#include "proto/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "core/base/file.h"

enum {
    PATH = 4096,
    KEY_FILE_BYTES = 256, /* more than a key file ever has */
    LINE_BYTES = 160,     /* more than a line of `admitted` ever has */
    LIST_BYTES = TR_ADMITTED_MAX * LINE_BYTES,
};

static const char *const kind_word[] = {"public", "secret"};

const char *tr_keys_who(int who)
{
    if (who == TR_KEY_SERVER) return "server";
    return who == TR_KEY_ADMIN ? "admin" : tr_role_name((enum tr_role)who);
}

int tr_keys_who_of(const char *name)
{
    for (int who = 0; who <= TR_KEY_SERVER; who++)
        if (strcmp(tr_keys_who(who), name) == 0) return who;
    return -1;
}

/* ---- a key as text ---- */

void tr_curve_text(const struct tr_curve *key, char out[TR_CURVE_TEXT])
{
    zmq_z85_encode(out, key->byte, sizeof key->byte);
}

/* Read back and compared: five characters can stand for more than four bytes hold. */
bool tr_curve_parse(const char *text, size_t size, struct tr_curve *out)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    char exact[TR_CURVE_TEXT], again[TR_CURVE_TEXT];
    if (size != TR_CURVE_TEXT - 1) return false;
    memcpy(exact, text, size);
    exact[size] = 0;
    if (strspn(exact, alphabet) != size) return false;
    if (!zmq_z85_decode(out->byte, exact)) return false;
    tr_curve_text(out, again);
    return strcmp(exact, again) == 0;
}

/* ---- one key in a file ---- */

/* DIR/NAME.KIND */
static enum tr_status path_of(char out[PATH], const char *dir, const char *name,
                              bool secret, struct tr_err *err)
{
    int n = snprintf(out, PATH, "%s/%s.%s", dir, name, kind_word[secret]);
    if (n >= 0 && n < PATH) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%.64s...: a name of more than %d bytes", dir,
                      PATH - 32);
}

/* Whoever could read it may have: such a secret is none. */
static enum tr_status check_private(const char *path, struct tr_err *err)
{
    struct stat sb;
    if (stat(path, &sb) != 0)
        return tr_err_set(err, errno == ENOENT ? TR_BADARG : TR_IO, "%s: %s", path,
                          tr_err_cause(errno));
    if ((sb.st_mode & 077) == 0) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "%s: others may read this secret (mode %04o): chmod 600, and make "
                      "new keys if others could",
                      path, (unsigned)(sb.st_mode & 07777));
}

static enum tr_status read_key(const char *dir, int who, bool secret,
                               struct tr_curve *out, struct tr_err *err)
{
    char path[PATH], head[64];
    struct tr_buf text;
    enum tr_status st = path_of(path, dir, tr_keys_who(who), secret, err);
    if (st == TR_OK && secret) st = check_private(path, err);
    if (st == TR_OK) st = tr_file_read(path, KEY_FILE_BYTES, &text, err);
    if (st != TR_OK) return st;
    int n = snprintf(head, sizeof head, "troupe %s %s\n", kind_word[secret],
                     tr_keys_who(who));
    size_t size = (size_t)n + TR_CURVE_TEXT;
    if (text.size != size || memcmp(text.at, head, (size_t)n) != 0 ||
        text.at[size - 1] != '\n' || !tr_curve_parse(text.at + n, TR_CURVE_TEXT - 1, out))
        st = tr_err_set(err, TR_BADARG,
                        "%s: expected the line \"troupe %s %s\" and a key of 40 "
                        "characters",
                        path, kind_word[secret], tr_keys_who(who));
    if (text.at) explicit_bzero(text.at, text.size);
    tr_buf_fini(&text);
    return st;
}

/* A new file, never an old one. */
static enum tr_status write_new(const char *path, mode_t mode, const char *text,
                                struct tr_err *err)
{
    size_t size = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return tr_err_set(err, errno == EEXIST ? TR_BADARG : TR_IO, "%s: %s", path,
                          errno == EEXIST ? "is there already, and keys are never "
                                            "overwritten"
                                          : tr_err_cause(errno));
    bool good = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    int cause = errno;
    if (close(fd) != 0) good = false;
    if (good) return TR_OK;
    unlink(path);
    return tr_err_set(err, TR_IO, "%s: cannot write: %s", path, tr_err_cause(cause));
}

/* ---- making ---- */

/* Writes both halves of a new pair as NAME.public and NAME.secret; text [TR_CURVE_TEXT] receives the
 * public one. Files of NAME say that they are for `who`. */
static enum tr_status make_pair(const char *dir, const char *name, int who, char *text,
                                struct tr_err *err)
{
    char path[2][PATH], line[KEY_FILE_BYTES], secret[TR_CURVE_TEXT];
    enum tr_status st = path_of(path[0], dir, name, false, err);
    if (st == TR_OK) st = path_of(path[1], dir, name, true, err);
    if (st != TR_OK) return st;
    if (zmq_curve_keypair(text, secret) != 0)
        return tr_err_set(err, TR_IO, "no keys: %s", zmq_strerror(zmq_errno()));
    snprintf(line, sizeof line, "troupe secret %s\n%s\n", tr_keys_who(who), secret);
    st = write_new(path[1], 0600, line, err);
    explicit_bzero(line, sizeof line);
    explicit_bzero(secret, sizeof secret);
    if (st != TR_OK) return st;
    snprintf(line, sizeof line, "troupe public %s\n%s\n", tr_keys_who(who), text);
    st = write_new(path[0], 0644, line, err);
    if (st != TR_OK) unlink(path[1]);
    return st;
}

static void remove_pair(const char *dir, const char *name)
{
    char path[PATH];
    for (int secret = 0; secret < 2; secret++)
        if (path_of(path, dir, name, secret, NULL) == TR_OK) unlink(path);
}

static enum tr_status make_all(const char *dir, const char *list_path, struct tr_err *err)
{
    char list[KEY_FILE_BYTES + TR_KEY_ROLES * LINE_BYTES];
    int made = 0, used = snprintf(list, sizeof list, "# role, public key, name\n");
    enum tr_status st = TR_OK;
    for (; made <= TR_KEY_SERVER && st == TR_OK; made++) {
        char text[TR_CURVE_TEXT];
        st = make_pair(dir, tr_keys_who(made), made, text, err);
        if (st != TR_OK) break;
        if (made != TR_KEY_SERVER)
            used += snprintf(list + used, sizeof list - (size_t)used, "%s %s\n",
                             tr_keys_who(made), text);
    }
    if (st == TR_OK) st = write_new(list_path, 0644, list, err);
    if (st == TR_OK) return tr_dir_sync(dir, err);
    for (int who = 0; who < made; who++) remove_pair(dir, tr_keys_who(who));
    return st;
}

enum tr_status tr_keys_make(const char *dir, struct tr_err *err)
{
    char path[PATH];
    enum tr_status st = tr_path_join(path, sizeof path, dir, "admitted", err);
    if (st != TR_OK) return st;
    if (tr_path_exists(path))
        return tr_err_set(err, TR_BADARG,
                          "%s: is there already, and keys are never overwritten", path);
    st = tr_dir_make(dir, err);
    return st == TR_OK ? make_all(dir, path, err) : st;
}

/* Letters, digits, dot, dash and underscore: it is part of a file's name. */
static bool is_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(name);
    return size > 0 && size < TR_KEY_NAME && strspn(name, allowed) == size;
}

static enum tr_status append(const char *path, const char *line, struct tr_err *err)
{
    size_t size = strlen(line);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return tr_err_set(err, errno == ENOENT ? TR_BADARG : TR_IO, "%s: %s", path,
                          tr_err_cause(errno));
    bool good = write(fd, line, size) == (ssize_t)size && fsync(fd) == 0;
    int cause = errno;
    close(fd);
    if (good) return TR_OK;
    return tr_err_set(err, TR_IO, "%s: cannot write: %s", path, tr_err_cause(cause));
}

enum tr_status tr_keys_add(const char *dir, int role, const char *name,
                           struct tr_err *err)
{
    char path[PATH], file[2 * TR_KEY_NAME], text[TR_CURVE_TEXT], line[LINE_BYTES];
    if (!is_name(name))
        return tr_err_set(err, TR_BADARG,
                          "%.64s: expected a name of letters, digits, '.', '-' and '_'",
                          name);
    snprintf(file, sizeof file, "%s-%s", tr_keys_who(role), name);
    enum tr_status st = tr_path_join(path, sizeof path, dir, "admitted", err);
    if (st != TR_OK) return st;
    if (!tr_path_exists(path))
        return tr_err_set(err, TR_BADARG, "%s: is not there: first make the others",
                          path);
    st = make_pair(dir, file, role, text, err);
    if (st != TR_OK) return st;
    snprintf(line, sizeof line, "%s %s %s\n", tr_keys_who(role), text, name);
    st = append(path, line, err);
    if (st != TR_OK) remove_pair(dir, file);
    return st;
}

/* ---- the list of those admitted ---- */

/* The next word of a line, and its length; 0 at the end. */
static size_t next_word(const char **at, const char **word)
{
    *at += strspn(*at, " \t");
    *word = *at;
    size_t size = strcspn(*at, " \t");
    *at += size;
    return size;
}

/* "ROLE KEY [NAME]"; false when it is not that. */
static bool read_line(const char *line, struct tr_admitted *out)
{
    const char *word;
    char role[16];
    size_t size = next_word(&line, &word);
    if (size == 0 || size >= sizeof role) return false;
    memcpy(role, word, size);
    role[size] = 0;
    out->role = tr_keys_who_of(role);
    if (out->role < 0 || out->role == TR_KEY_SERVER) return false;
    size = next_word(&line, &word);
    if (!tr_curve_parse(word, size, &out->key)) return false;
    size = next_word(&line, &word);
    if (size >= sizeof out->name) return false;
    memcpy(out->name, word, size);
    out->name[size] = 0;
    return (size == 0 || is_name(out->name)) && next_word(&line, &word) == 0;
}

static int compare(const void *a, const void *b)
{
    const struct tr_admitted *x = a, *y = b;
    return memcmp(x->key.byte, y->key.byte, sizeof x->key.byte);
}

/* Lines of text, which is cut up, into list [TR_ADMITTED_MAX]. */
static enum tr_status read_lines(const char *path, char *text, struct tr_admitted *list,
                                 int64_t *n, struct tr_err *err)
{
    *n = 0;
    for (int64_t number = 1; *text; number++) {
        size_t size = strcspn(text, "\n");
        char *next = text + size + (text[size] == '\n');
        text[size] = 0;
        bool remark = strspn(text, " \t") == size || strcmp(text, "#") == 0 ||
                      strncmp(text, "# ", 2) == 0;
        if (!remark && *n == TR_ADMITTED_MAX)
            return tr_err_set(err, TR_BADARG, "%s: more than %d keys", path,
                              TR_ADMITTED_MAX);
        if (!remark && !read_line(text, &list[(*n)++]))
            return tr_err_set(err, TR_BADARG,
                              "%s, line %lld: expected ROLE, a public key of 40 "
                              "characters and perhaps a name",
                              path, (long long)number);
        text = next;
    }
    return TR_OK;
}

static enum tr_status check_once(const char *path, const struct tr_keys *k,
                                 struct tr_err *err)
{
    char text[TR_CURVE_TEXT];
    for (int64_t i = 1; i < k->n; i++) {
        if (compare(&k->admitted[i - 1], &k->admitted[i]) != 0) continue;
        tr_curve_text(&k->admitted[i].key, text);
        return tr_err_set(err, TR_BADARG, "%s: the key %s stands there twice", path,
                          text);
    }
    return TR_OK;
}

static enum tr_status read_admitted(const char *path, struct tr_keys *k,
                                    struct tr_err *err)
{
    struct tr_buf text;
    enum tr_status st = tr_file_read(path, LIST_BYTES, &text, err);
    if (st != TR_OK) return st;
    k->admitted = calloc(TR_ADMITTED_MAX, sizeof *k->admitted);
    if (!k->admitted)
        st = tr_err_set(err, TR_NOMEM, "%s: %d keys", path, TR_ADMITTED_MAX);
    else if (text.at && strlen(text.at) != text.size)
        st = tr_err_set(err, TR_BADARG, "%s: a zero byte in a text", path);
    else if (text.at)
        st = read_lines(path, text.at, k->admitted, &k->n, err);
    tr_buf_fini(&text);
    if (st != TR_OK) return st;
    qsort(k->admitted, (size_t)k->n, sizeof *k->admitted, compare);
    return check_once(path, k, err);
}

int64_t tr_keys_find(const struct tr_keys *k, const struct tr_curve *key)
{
    struct tr_admitted want = {.key = *key};
    if (k->n == 0) return -1;
    const struct tr_admitted *at =
        bsearch(&want, k->admitted, (size_t)k->n, sizeof want, compare);
    return at ? at - k->admitted : -1;
}

/* ---- opening ---- */

static enum tr_status work_out_public(struct tr_keys *k, struct tr_err *err)
{
    char secret[TR_CURVE_TEXT], text[TR_CURVE_TEXT];
    tr_curve_text(&k->secret_key, secret);
    int rc = zmq_curve_public(text, secret);
    explicit_bzero(secret, sizeof secret);
    if (rc == 0 && tr_curve_parse(text, strlen(text), &k->public_key)) return TR_OK;
    return tr_err_set(err, TR_IO, "no public key: %s", zmq_strerror(zmq_errno()));
}

enum tr_status tr_keys_open(const char *dir, int who, struct tr_keys *out,
                            struct tr_err *err)
{
    char list[PATH], server[PATH];
    bool serves = who == TR_KEY_SERVER;
    *out = (struct tr_keys){0};
    enum tr_status st = tr_path_join(list, sizeof list, dir, "admitted", err);
    if (st == TR_OK) st = path_of(server, dir, tr_keys_who(TR_KEY_SERVER), false, err);
    if (st == TR_OK) st = read_key(dir, who, true, &out->secret_key, err);
    if (st == TR_OK) st = work_out_public(out, err);
    if (st == TR_OK && !serves && tr_path_exists(server)) {
        st = read_key(dir, TR_KEY_SERVER, false, &out->server, err);
        out->knows_server = true;
    }
    if (st == TR_OK && (serves || tr_path_exists(list)))
        st = read_admitted(list, out, err);
    if (st != TR_OK) tr_keys_close(out);
    return st;
}

void tr_keys_close(struct tr_keys *k)
{
    free(k->admitted);
    explicit_bzero(k, sizeof *k);
}
