/* role.h - `troupe role ROLE --join tcp://...`: one role in a process of its own. */
#ifndef TR_LAUNCH_CLI_ROLE_H
#define TR_LAUNCH_CLI_ROLE_H

/* argv[0] is "role". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_role(int argc, char **argv);

#endif
