/* import.h - `troupe import MODEL.gguf DIR`: a Hugging Face folder out of a GGUF file. */
#ifndef TR_LAUNCH_CLI_IMPORT_H
#define TR_LAUNCH_CLI_IMPORT_H

/* argv[0] is "import". Exit code: 0, 2 when the user asked for what cannot be, 1 otherwise. */
int tr_cli_import(int argc, char **argv);

#endif
