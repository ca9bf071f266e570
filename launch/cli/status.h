/* status.h - `troupe status`, `troupe rollouts`, `troupe snapshot-db`: what a run tells of itself. */
#ifndef TR_LAUNCH_CLI_STATUS_H
#define TR_LAUNCH_CLI_STATUS_H

int tr_cli_status(int argc, char **argv);
int tr_cli_rollouts(int argc, char **argv);
int tr_cli_snapshot_db(int argc, char **argv);

#endif
