/* train.h - `troupe train run.yaml [key=value ...]`: a whole run from a configuration. */
#ifndef TR_LAUNCH_CLI_TRAIN_H
#define TR_LAUNCH_CLI_TRAIN_H

#include "launch/staff.h"

/* argv[0] is "train". Exit code: 0; 1 when the run failed; 2 when the user asked for what cannot
 * be; 130 when it was stopped and saved. */
int tr_cli_train(int argc, char **argv);

/* The same run for `troupe coordinator`: no process is started, all roles join from
 * elsewhere. Texts may be NULL; listen and keys win over the roles block. */
struct tr_coordinate {
    const char *run; /* the run.yaml */
    char *const *assignment;
    int assignments;
    const char *listen, *keys;
    struct tr_joining joining;
};
int tr_cli_coordinate(const struct tr_coordinate *c);

#endif
