/* scene.h - the coordinator's core among workers that are nothing but a few lines in a test: a planner that
 * asks for scores, and what was sent to whom. Everything asserts. */
#ifndef TR_TEST_SCENE_H
#define TR_TEST_SCENE_H

#include "actors/coordinator/core.h"

struct asked { /* the planner: it asks for `wanted` scores at once */
    struct tr_planner planner;
    int wanted, same; /* units; the first `same` of them ask the very same thing */
    int answers[16];
    int total;
    bool refuse; /* every answer is no good */
    int more;    /* how often a question has to be asked again */
    int asks;
    char what[32], argument[256]; /* of the last question */
};

struct scene {
    struct tr_memo *memo; /* set before open_scene, or NULL, as is the next */
    const char *math;     /* of the run */
    struct asked asked;
    struct tr_core *core;
    int64_t post;
    double now;
    struct tr_digest in_hand[8][16]; /* units, by peer */
    int hands[8];
    bool welcome[8], idle[8], told_bye[8], told_who[8], told_here[8];
    struct tr_load load[8]; /* the last that it was told */
    int loads[8], drops[8];
    int told[8]; /* answers to questions */
    bool told_ok[8];
    char reason[8][200];
    char said[16][320]; /* lines for people about a wait */
    int sayings, lines; /* lines: all of them */
    struct tr_err err;
    enum tr_status st;
};

struct tr_digest named(const char *text);

/* So many scores are wanted, so many rewards waited for. s->memo and s->math are set before, or NULL. */
void open_scene(struct scene *s, int wanted, int rewards);
void close_scene(struct scene *s);

/* Takes note of all that the core wants done. */
void look(struct scene *s);
/* The peer says m, which is freed; then look. So do hello and done. */
void tell(struct scene *s, int peer, struct tr_message *m);
void hello(struct scene *s, int peer, enum tr_role role, const char *weights);
/* The peer answers unit id, which was scored by `weights`. */
void done(struct scene *s, int peer, struct tr_digest id, float score,
          const char *weights);
/* The unit that a peer got last, which it has in hand no more. */
struct tr_digest take(struct scene *s, int peer);
/* All that a peer has, and gets meanwhile, is answered. */
void answer_all(struct scene *s, int peer);

#endif
