/* generate.h - `troupe generate MODEL --prompt TEXT`: answers to several prompts at once. */
#ifndef TR_LAUNCH_CLI_GENERATE_H
#define TR_LAUNCH_CLI_GENERATE_H

/* argv[0] is "generate". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_generate(int argc, char **argv);

#endif
