/* coordinator.h - `troupe coordinator --skeleton`: the process that keeps a run. */
#ifndef TR_LAUNCH_CLI_COORDINATOR_H
#define TR_LAUNCH_CLI_COORDINATOR_H

/* argv[0] is "coordinator". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_coordinator(int argc, char **argv);

#endif
