/* The command `troupe`: one row a subcommand, each in a file of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launch/cli/coordinator.h"
#include "launch/cli/generate.h"
#include "launch/cli/import.h"
#include "launch/cli/keygen.h"
#include "launch/cli/role.h"
#include "launch/cli/rollouts.h"
#include "launch/cli/snapshot_db.h"
#include "launch/cli/status.h"
#include "launch/cli/swap.h"
#include "launch/cli/topology.h"
#include "launch/cli/train.h"
#include "launch/version.h"

enum { EXIT_MISTAKE = 2 };

struct command {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name */
    const char *brief;
    const char *help;
};

static const struct command commands[] = {
    {"train", tr_cli_train, "run a stage (pt, sft, rm, kto, ppo) from a run.yaml",
     "troupe train RUN.YAML [KEY=VALUE ...]\n"
     "\n"
     "Trains as LLaMA-Factory's configuration says; keys on the command line win.\n"
     "What a key does not change here is noted, what it would change is refused.\n"
     "Own keys: threads, math (exact|openblas), compat (llamafactory-0.9.3), roles,\n"
     "snapshot_seconds and PPO's; the man page has them all.\n"
     "\n"
     "Ctrl-C finishes the step, saves a checkpoint and exits with 130; a second one ends\n"
     "at once. Go on with resume_from_checkpoint=true. `troupe status` says how it goes.\n"
     "Exit codes: 1 failed, 2 a mistake in what was asked.\n"},
    {"import", tr_cli_import, "make a model folder out of a GGUF file",
     "troupe import MODEL.gguf DIR [--dtype f32|bf16|f16]\n"
     "\n"
     "Writes config.json, model.safetensors, tokenizer.json and the chat template into\n"
     "DIR, which is new or empty. A Llama or Qwen2 of F32, F16, BF16, Q4_0, Q4_1 and\n"
     "Q8_0 tensors is read; weights are stored as --dtype, f32 unless said.\n"},
    {"generate", tr_cli_generate, "answer prompts with a model folder",
     "troupe generate MODEL --prompt TEXT [--prompt TEXT ...]\n"
     "                [--template NAME | --raw] [--system TEXT] [--max-new-tokens N]\n"
     "                [--greedy] [--temperature X] [--top-k N] [--top-p X]\n"
     "                [--repetition-penalty X] [--seed N] [--samples N] [--batch N]\n"
     "                [--bf16] [--stream] [--threads N] [--isa scalar|avx2|avx512]\n"
     "\n"
     "Answers all prompts together, N samples of each; a prompt joins as soon as one of\n"
     "the --batch places (32) is free. An answer depends on its own prompt, sample and\n"
     "seed only. Stops at the model's EOS and the template's stop words. Seconds and\n"
     "tokens/s go to standard error.\n"},
    {"keygen", tr_cli_keygen, "make the keys of a run",
     "troupe keygen DIR\n"
     "troupe keygen DIR --for ROLE --name NAME\n"
     "\n"
     "Makes DIR with a key pair for the coordinator, one for each role and one for people\n"
     "who ask (admin), and the list `admitted` of the keys that may join. The second form\n"
     "adds one more pair for a role. Nothing is overwritten. Secrets are for their owner\n"
     "alone. Which host needs which file: docs/operations.md, Keys.\n"},
    {"status", tr_cli_status, "how a run is doing",
     "troupe status RUN [--json] [--keys DIR] [--seconds X]\n"
     "\n"
     "Asks the run's coordinator, of any stage: step, seconds a step, tokens a second, time\n"
     "left, who is there and busy, what waits.\n"
     "Without a coordinator the journal RUN/run.db answers: where it stopped, who worked.\n"},
    {"rollouts", tr_cli_rollouts, "prompts, answers and scores of a step",
     "troupe rollouts RUN [--step N] [--held-out] [--first N] [--count N] [--model DIR]\n"
     "                [--json] [--numbers] [--keys DIR] [--seconds X]\n"
     "\n"
     "The last step's unless said. --held-out: of prompts that nobody learns from. DIR has\n"
     "the tokenizer, if it is not the run's model. --json --numbers: log-probs and values.\n"},
    {"swap", tr_cli_swap, "change a run's rewards while it goes on",
     "troupe swap reward --run RUN [--name NAME] [--at STEP] [--weight X]\n"
     "             [--model DIR | --rule length [--target N] [--scale X] |\n"
     "              --rule regex --pattern P | --external | --remove]\n"
     "             [--replicas N] [--threads N] [--keys DIR] [--seconds X]\n"
     "\n"
     "NAME (main) gets the weights of DIR, which load while the old ones serve; a new NAME\n"
     "is one more reward. From STEP on, or from the next step for which all is loaded.\n"
     "Without model, rule or external only the weight changes. Nothing waits, nothing is\n"
     "lost, and the journal says who scored what.\n"},
    {"rollback", tr_cli_rollback, "back to the rewards before the last swap",
     "troupe rollback --run RUN [--at STEP] [--keys DIR] [--seconds X]\n"
     "\n"
     "From STEP on, or from the next step for which all is loaded, the rewards of before the\n"
     "last swap count again.\n"},
    {"snapshot-db", tr_cli_snapshot_db, "a copy of a run's journal, for sqlite3",
     "troupe snapshot-db RUN --to FILE [--keys DIR] [--seconds X]\n"
     "\n"
     "The coordinator makes the copy between other work; without one this command does. A\n"
     "GiB takes half a minute: give it --seconds (60). Given again, it waits for the same copy.\n"},
    {"coordinator", tr_cli_coordinator, "keep a run that other processes work for",
     "troupe coordinator RUN.YAML [KEY=VALUE ...] [--listen ADDRESS] [--keys DIR]\n"
     "                   [--address-file FILE] [--roles-file FILE] [--join-seconds X]\n"
     "troupe coordinator --skeleton [--listen ADDRESS] [--keys DIR] [--address-file FILE]\n"
     "                   [--rollout N] [--reference N] [--reward N] [--alone]\n"
     "                   [--steps N] [--staleness 0|1]\n"
     "                   [--seed N] [--threads N] [--isa scalar|avx2|avx512]\n"
     "                   [--join-seconds X] [--silence-seconds X]\n"
     "\n"
     "Keeps the run that `troupe train` would, and starts no process: others do, with the\n"
     "words that stand in the roles file, a line a post (tabs between words; what is added\n"
     "behind wins).\n"
     "\n"
     "The second form does N PPO steps (1) of a random tiny model. It waits for N processes of\n"
     "each role (1 unless said) and prints the digests. ADDRESS is tcp://127.0.0.1:PORT\n"
     "(port 0: any) or ipc://PATH, with keys also tcp://HOST:PORT or tcp://*:PORT; the real\n"
     "one is written to FILE. With --alone all roles live in this process, and the digests\n"
     "are the same.\n"},
    {"role", tr_cli_role, "serve one role of a run",
     "troupe role ROLE --join ADDRESS (--model DIR | --skeleton | --rule RULE) [--keys DIR]\n"
     "            [--name NAME] [--threads N] [--isa scalar|avx2|avx512] [--math exact|openblas]\n"
     "            [--bf16] [--max-tokens N] [--max-sequences N] [--pages N]\n"
     "            [--join-seconds X] [--seed N] [--cpus LIST] [--weights DIR] [--keep N] [--empty]\n"
     "            [--source ADDRESS] [--host NAME]\n"
     "            rewards: [--slot NAME] [--swap] [--rule length [--target N] [--scale X] |\n"
     "                      --rule regex --pattern P [--hit X] [--miss X]] [--tokenizer DIR]\n"
     "            learners: [--checkpoint DIR] [--from-scratch] [--recompute]\n"
     "                      [--value-head] [--no-lm-head]\n"
     "\n"
     "ROLE is policy, rollout, reference, reward or critic. Joins the coordinator at\n"
     "ADDRESS, answers what it is asked, and leaves when the run is over. LIST (0-3,8)\n"
     "binds it to those PUs and the memory near them; `troupe topology` proposes some.\n"},
    {"topology", tr_cli_topology, "show this host and who would get which cores",
     "troupe topology [RUN.YAML] [--policy N] [--rollout N] [--reference N] [--reward N]\n"
     "                [--critic N] [--threads N] [--staleness 0|1] [--pretend WORDS]\n"
     "\n"
     "Prints packages, memory, caches, the limits of control groups and affinity, and which\n"
     "PUs each process of RUN.YAML's roles (or of the numbers given) would be bound to.\n"
     "Processes are bound when each can have cores of its own and does not wait for the\n"
     "others' turns; otherwise they share. WORDS are hwloc's for another host, as\n"
     "\"pack:2 [numa] l3:1 core:8 pu:2\".\n"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static int usage(FILE *to, int code)
{
    fprintf(to, "usage: troupe COMMAND [ARGUMENTS]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].brief);
    fprintf(to, "  %-12s %s\n  %-12s %s\n", "help COMMAND", "say more", "version",
            "print the version");
    fprintf(to,
            "\nInstruction set: TROUPE_ISA=scalar|avx2|avx512 (the best by default).\n");
    return code;
}

static int unknown(const char *name)
{
    fprintf(stderr, "troupe: %s: no such command; `troupe help` lists them\n", name);
    return EXIT_MISTAKE;
}

static int help(const char *name)
{
    const struct command *c = find(name);
    if (!c) return unknown(name);
    fputs(c->help, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) return usage(stderr, EXIT_MISTAKE);
    const char *name = argv[1];
    if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
        return argc > 2 ? help(argv[2]) : usage(stdout, 0);
    if (!strcmp(name, "version") || !strcmp(name, "--version")) {
        printf("troupe %s\n", TR_VERSION);
        return 0;
    }
    const struct command *c = find(name);
    if (!c) return unknown(name);
    if (argc > 2 && (!strcmp(argv[2], "--help") || !strcmp(argv[2], "-h")))
        return help(name);
    /* For processes that this one starts: OpenBLAS has begun here before main, with threads that spin. */
    // NOLINTNEXTLINE(concurrency-mt-unsafe): there are no threads of ours yet
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 0);
    return c->run(argc - 1, argv + 1);
}
