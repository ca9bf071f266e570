/* made_folder.h - small model folders, made from random bits (NaN payloads and all). */
#ifndef TR_TEST_MADE_FOLDER_H
#define TR_TEST_MADE_FOLDER_H

#include "core/model/params.h"
#include "core/model/safetensors.h"

/* One model folder to be made. Sizes are odd on purpose: no multiple of a panel's 16. */
struct made {
    const char *name;
    const char *family;
    bool tied, biases;
    enum tr_st_dtype dtype, norms; /* of the norms when other than the rest */
    int files;                     /* 1: model.safetensors; more: shards and an index */
    bool lm_head_too;              /* although tied */
    bool extra;                    /* a rotary table that the model does not use */
    bool head;                     /* value_head.safetensors */
    int V;                         /* 0: 50 */
};

extern const struct made mades[];
extern const int made_count;

void made_folder(const char *dir, const struct made *m); /* all of it, into dir */
void made_config(const char *dir, const struct made *m); /* config.json alone */
void made_head(const char *dir, int64_t width);          /* value_head.safetensors */

/* A file of tensors whose bits depend on the tensors' names only. */
void made_file(const char *dir, const char *name, const struct tr_st_tensor *t,
               int64_t count);
struct tr_st_tensor made_tensor(const char *name, enum tr_st_dtype dtype, int64_t N,
                                int64_t K);

struct tr_params *made_params(const char *dir, bool lm_head, bool value_head);

#endif
