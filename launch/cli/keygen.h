/* keygen.h - `troupe keygen DIR`: the keys of a run. */
#ifndef TR_LAUNCH_CLI_KEYGEN_H
#define TR_LAUNCH_CLI_KEYGEN_H

/* argv[0] is "keygen". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_keygen(int argc, char **argv);

#endif
