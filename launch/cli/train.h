/* train.h - `troupe train run.yaml [key=value ...]`: a whole run from a configuration. */
#ifndef TR_LAUNCH_CLI_TRAIN_H
#define TR_LAUNCH_CLI_TRAIN_H

/* argv[0] is "train". Exit code: 0; 1 when the run failed; 2 when the user asked for what cannot
 * be; 130 when it was stopped and saved. */
int tr_cli_train(int argc, char **argv);

/* `troupe coordinator run.yaml [key=value ...]`: the same run of stage ppo, but no process is started:
 * all roles join from elsewhere. argv[0] is "coordinator". */
int tr_cli_coordinate(int argc, char **argv);

#endif
