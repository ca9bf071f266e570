/* topology.h - `troupe topology`: this host, and which process would get which cores. */
#ifndef TR_LAUNCH_CLI_TOPOLOGY_H
#define TR_LAUNCH_CLI_TOPOLOGY_H

/* argv[0] is "topology". */
int tr_cli_topology(int argc, char **argv);

#endif
