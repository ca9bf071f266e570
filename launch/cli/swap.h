/* swap.h - `troupe swap` and `troupe rollback`: other rewards for a run that goes on. */
#ifndef TR_LAUNCH_CLI_SWAP_H
#define TR_LAUNCH_CLI_SWAP_H

int tr_cli_swap(int argc, char **argv);
int tr_cli_rollback(int argc, char **argv);

#endif
