#include "actors/loader.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"

enum { WAITING_MAX = 16 };

struct tr_loader {
    struct tr_model_shape shape;
    struct tr_exec ex; /* owns; the thread's */
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

static bool is_zero(const struct tr_digest *d)
{
    const struct tr_digest zero = {{0}};
    return tr_digest_equal(d, &zero);
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
    if (st != TR_OK || is_zero(&load->digest) ||
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

enum tr_status tr_load_model(const struct tr_model_shape *shape, const struct tr_exec *ex,
                             const struct tr_load *load, const atomic_bool *stop,
                             struct tr_model *out, struct tr_err *err)
{
    struct tr_err all = {0}, one = {0};
    enum tr_status st = TR_GONE;
    if (load->file[0]) {
        st = tr_model_map(shape, ex->math, load->file, &load->digest, out, &one);
        if (st != TR_OK) add_reason(&all, "file", load->file, &one);
    }
    if (st != TR_OK && load->folder[0] && !atomic_load(stop)) {
        st = from_folder(shape, ex, load, out, &one);
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
    struct tr_loaded said = {.digest = load->digest};
    struct tr_err why = {0};
    double begin = tr_clock_seconds();
    enum tr_status st = tr_load_model(&l->shape, &l->ex, load, &l->cancel, &model, &why);
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
    if (tr_exec_init(&l->ex, set->isa, 1, set->math) != 0) {
        free(l);
        return tr_err_set(err, TR_NOMEM, "a loader's arithmetic");
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->more, NULL);
    if (pthread_create(&l->thread, NULL, run, l) == 0) {
        *out = l;
        return TR_OK;
    }
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
        struct tr_loaded said = {.digest = *digest,
                                 .text = "dropped before it was loaded"};
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
    tr_exec_fini(&l->ex);
    free(l);
}
