/* status.h - `troupe status RUN`: how a run is doing, or where it stopped. */
#ifndef TR_LAUNCH_CLI_STATUS_H
#define TR_LAUNCH_CLI_STATUS_H

/* argv[0] is "status". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_status(int argc, char **argv);

#endif
