/* rollouts.h - `troupe rollouts RUN`: prompts, answers and what they scored. */
#ifndef TR_LAUNCH_CLI_ROLLOUTS_H
#define TR_LAUNCH_CLI_ROLLOUTS_H

/* argv[0] is "rollouts". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_rollouts(int argc, char **argv);

#endif
