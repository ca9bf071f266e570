/* snapshot_db.h - `troupe snapshot-db RUN --to FILE`: a copy of a run's journal. */
#ifndef TR_LAUNCH_CLI_SNAPSHOT_DB_H
#define TR_LAUNCH_CLI_SNAPSHOT_DB_H

/* argv[0] is "snapshot-db". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_snapshot_db(int argc, char **argv);

#endif
