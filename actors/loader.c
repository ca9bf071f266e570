#include "actors/loader.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { WAITING_MAX = 16 };

struct tr_loader {
    struct tr_model_shape shape;
    char place[TR_PACKED_PATH]; /* "" if there is none */
    struct tr_exec ex;          /* owns; the thread's */
    struct tr_fetcher *fetcher; /* owns; the thread's */
    struct tr_desk *desk;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t more;
    struct tr_load load[WAITING_MAX]; /* [n]; the first is being loaded while `busy` */
    int64_t n;
    bool busy, stop;
    atomic_bool cancel; /* the one that is being loaded is not wanted any more */
};

/* ---- one load ---- */

/* Over the wire into a file of our own. */
static enum tr_status fetch(const struct tr_load_set *set, const struct tr_load *load,
                            struct tr_model *out, struct tr_err *err)
{
    struct tr_digest *chunk = NULL;
    enum tr_status st = tr_model_blank(set->shape, set->ex->math, set->place, out, err);
    if (st != TR_OK) return st;
    struct tr_weights *into = tr_packed_fill(out->packed);
    chunk = calloc((size_t)tr_weights_chunks(into), sizeof *chunk);
    if (!chunk) st = tr_err_set(err, TR_NOMEM, "digests of chunks");
    if (st == TR_OK)
        st = tr_fetch(set->fetcher, load->source, &load->digest, set->stop, into, chunk,
                      err);
    if (st == TR_OK) st = tr_packed_seal(out->packed, chunk, &load->digest, err);
    free(chunk);
    if (st != TR_OK) {
        tr_model_close(out);
        return st;
    }
    tr_model_settle(out);
    out->fetched = true;
    return TR_OK;
}

/* Whoever has this lock fetches for its host; -1: somebody else has it. Given back by its end. */
static int lock_fetch(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* Waits while another process of this host fetches the same, then maps its file. The wait ends, for
 * its fetch does; should it not, we fetch too. */
static enum tr_status fetch_for_host(const struct tr_load_set *set,
                                     const struct tr_load *load, struct tr_model *out,
                                     struct tr_err *err)
{
    static const double patience_seconds = 600;
    char path[TR_PACKED_PATH], text[65], lock_path[TR_PACKED_PATH];
    double end = tr_clock_seconds() + patience_seconds;
    int lock = -1;
    tr_digest_text(&load->digest, text);
    enum tr_status st = tr_packed_path(set->place, &load->digest, path, err);
    if (st != TR_OK) return st;
    /* It fits: it is shorter than the path of the file. */
    snprintf(lock_path, sizeof lock_path, "%s/fetch-%s", set->place, text);
    st = TR_GONE;
    while (tr_clock_seconds() < end && !atomic_load(set->stop)) {
        lock = lock_fetch(lock_path);
        st = tr_model_map(set->shape, set->ex->math, path, &load->digest, out, NULL);
        if (st == TR_OK || lock >= 0) break;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    if (st != TR_OK) st = fetch(set, load, out, err);
    if (lock >= 0) unlink(lock_path);
    if (lock >= 0) close(lock);
    return st;
}

static enum tr_status from_source(const struct tr_load_set *set,
                                  const struct tr_load *load, struct tr_model *out,
                                  struct tr_err *err)
{
    if (tr_digest_is_zero(&load->digest))
        return tr_err_set(err, TR_BADARG, "which weights was not said");
    return set->place ? fetch_for_host(set, load, out, err) : fetch(set, load, out, err);
}

static enum tr_status from_folder(const struct tr_model_shape *shape,
                                  const struct tr_exec *ex, const struct tr_load *load,
                                  struct tr_model *out, struct tr_err *err)
{
    char found[65], wanted[65];
    struct tr_model_start start = {.folder = load->folder,
                                   .lm_head = shape->lm_head,
                                   .value_head = shape->value_head,
                                   .bf16 = shape->bf16};
    enum tr_status st = tr_model_open(ex, &start, out, err);
    if (st != TR_OK || tr_digest_is_zero(&load->digest) ||
        tr_digest_equal(&load->digest, &out->digest))
        return st;
    tr_digest_text(&out->digest, found);
    tr_digest_text(&load->digest, wanted);
    tr_model_close(out);
    return tr_err_set(err, TR_BADARG, "%s: holds %.16s..., wanted is %.16s...",
                      load->folder, found, wanted);
}

/* Adds a reason to those before it; paths are long, and whoever sent the load knows them. */
static void add_reason(struct tr_err *all, const char *kind, const char *place,
                       const struct tr_err *one)
{
    size_t used = strlen(all->text), n = strlen(place);
    const char *why = one->text;
    if (strncmp(why, place, n) == 0 && strncmp(why + n, ": ", 2) == 0) why += n + 2;
    snprintf(all->text + used, sizeof all->text - used, "%s%s: %.110s", used ? "; " : "",
             kind, why);
}

enum tr_status tr_load_model(const struct tr_load_set *set, const struct tr_load *load,
                             struct tr_model *out, struct tr_err *err)
{
    struct tr_err all = {0}, one = {0};
    enum tr_status st = TR_GONE;
    if (load->file[0]) {
        st =
            tr_model_map(set->shape, set->ex->math, load->file, &load->digest, out, &one);
        if (st != TR_OK) add_reason(&all, "file", load->file, &one);
    }
    if (st != TR_OK && load->source[0] && set->fetcher && !atomic_load(set->stop)) {
        st = from_source(set, load, out, &one);
        if (st != TR_OK) add_reason(&all, "source", "", &one);
    }
    if (st != TR_OK && load->folder[0] && !atomic_load(set->stop)) {
        st = from_folder(set->shape, set->ex, load, out, &one);
        if (st != TR_OK) add_reason(&all, "folder", load->folder, &one);
    }
    if (st == TR_OK) return st;
    return tr_err_set(err, TR_GONE, "%s",
                      all.text[0] ? all.text : "no place to load from was named");
}

/* ---- the thread ---- */

static void load_one(struct tr_loader *l, const struct tr_load *load)
{
    struct tr_model model = {.weights = NULL};
    struct tr_loaded said = tr_loaded_for(load);
    struct tr_err why = {0};
    double begin = tr_clock_seconds();
    const struct tr_load_set set = {.shape = &l->shape,
                                    .ex = &l->ex,
                                    .place = l->place[0] ? l->place : NULL,
                                    .fetcher = l->fetcher,
                                    .stop = &l->cancel};
    enum tr_status st = tr_load_model(&set, load, &model, &why);
    /* Under the lock: a drop comes to the desk after this or is seen here. */
    pthread_mutex_lock(&l->lock);
    if (atomic_load(&l->cancel)) {
        if (st == TR_OK) tr_model_close(&model);
        st = tr_err_set(&why, TR_GONE, "dropped while it was loaded");
    }
    said.ok = st == TR_OK;
    said.seconds = tr_clock_seconds() - begin;
    if (said.ok)
        said.digest = model.digest;
    else
        snprintf(said.text, sizeof said.text, "%s", why.text);
    tr_desk_adopt(l->desk, &said, &model);
    pthread_mutex_unlock(&l->lock);
}

static void *run(void *loader)
{
    struct tr_loader *l = loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->n == 0) {
            pthread_cond_wait(&l->more, &l->lock);
            continue;
        }
        struct tr_load load = l->load[0];
        l->busy = true;
        pthread_mutex_unlock(&l->lock);
        load_one(l, &load);
        pthread_mutex_lock(&l->lock);
        l->busy = false;
        l->n--;
        memmove(l->load, l->load + 1, (size_t)l->n * sizeof *l->load);
        if (!l->stop) atomic_store(&l->cancel, false);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- for the owner ---- */

enum tr_status tr_loader_open(const struct tr_loader_set *set, struct tr_desk *desk,
                              struct tr_loader **out, struct tr_err *err)
{
    struct tr_loader *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) return tr_err_set(err, TR_NOMEM, "a loader");
    l->shape = set->shape;
    l->desk = desk;
    snprintf(l->place, sizeof l->place, "%s", set->place ? set->place : "");
    if (tr_exec_init(&l->ex, set->isa, 1, set->math) != 0) {
        free(l);
        return tr_err_set(err, TR_NOMEM, "a loader's arithmetic");
    }
    struct tr_fetch_set fetch_set = tr_fetch_defaults(set->keys);
    enum tr_status st = tr_fetcher_create(&fetch_set, &l->fetcher, err);
    if (st != TR_OK) {
        tr_exec_fini(&l->ex);
        free(l);
        return st;
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    if (pthread_create(&l->thread, NULL, run, l) == 0) {
        *out = l;
        return TR_OK;
    }
    tr_fetcher_destroy(l->fetcher);
    tr_exec_fini(&l->ex);
    free(l);
    return tr_err_set(err, TR_NOMEM, "a thread to load in");
}

enum tr_status tr_loader_ask(struct tr_loader *l, const struct tr_load *load,
                             struct tr_err *err)
{
    enum tr_status st = TR_OK;
    pthread_mutex_lock(&l->lock);
    if (l->n < WAITING_MAX)
        l->load[l->n++] = *load;
    else
        st = tr_err_set(err, TR_NOMEM, "%d loads are waiting", WAITING_MAX);
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    return st;
}

void tr_loader_forget(struct tr_loader *l, const struct tr_digest *digest)
{
    int64_t kept = 0;
    pthread_mutex_lock(&l->lock);
    for (int64_t i = 0; i < l->n; i++) {
        bool hit = tr_digest_equal(&l->load[i].digest, digest);
        if (hit && i == 0 && l->busy) {
            atomic_store(&l->cancel, true);
            hit = false; /* the thread takes it out */
        }
        if (!hit) {
            l->load[kept++] = l->load[i];
            continue;
        }
        struct tr_loaded said = tr_loaded_for(&l->load[i]);
        snprintf(said.text, sizeof said.text, "dropped before it was loaded");
        struct tr_model none = {.weights = NULL};
        tr_desk_adopt(l->desk, &said, &none);
    }
    l->n = kept;
    pthread_mutex_unlock(&l->lock);
}

void tr_loader_close(struct tr_loader *l)
{
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    atomic_store(&l->cancel, true);
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->lock);
    tr_fetcher_destroy(l->fetcher);
    tr_exec_fini(&l->ex);
    free(l);
}
