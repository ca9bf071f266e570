/* home.h - the folder of a run, as its coordinator has it: what it keeps there, where it is reached.
 *
 * What it is for. Every stage is run by a coordinator that keeps a journal and listens. Here is
 * what they have in common on the disk, so that whoever asks, stops or goes on with a run need not
 * know which stage it is of.
 *
 *   output_dir/  run.db              the journal (docs/journal.md)
 *                coordinator.json    address, process and run id of who coordinates
 *                logs/ snapshot/     of the processes; to go on from
 *
 * Invariants.
 *   1. One process coordinates a run: a second one is told which.
 *   2. A coordinator that comes back takes the address of before where it can be had, so that
 *      workers which outlived it find it. */
#ifndef TR_LAUNCH_HOME_H
#define TR_LAUNCH_HOME_H

#include "actors/coordinator/journal.h"
#include "core/base/log.h"
#include "launch/options.h"
#include "launch/roles.h"
#include "proto/wire.h"

/* Of all settings in force but those that change no bit, and so may differ between a stop and a
 * resume. */
enum tr_status tr_home_config(const struct tr_options *o, struct tr_digest *out,
                              struct tr_err *err);

/* Removes journal, snapshots and logs: the run begins anew. */
enum tr_status tr_home_clear(const char *dir, struct tr_err *err);

/* Removes what was left half-written in its snapshots and checkpoints: by who was killed, or when the
 * disk was full. While no process of the run lives. */
enum tr_status tr_home_sweep(const char *dir, struct tr_err *err);

/* Opens or makes the journal of dir; a new one gets a run id of its own. TR_BADARG also when it is
 * of another stage. The caller owns *out. */
enum tr_status tr_home_journal(const struct tr_options *o, const char *stage,
                               struct tr_journal **out, struct tr_err *err);

/* Listens where the roles block says and tells it in coordinator.json. bound [TR_ADDRESS_BYTES] is
 * where others join. The caller owns *wire. */
enum tr_status tr_home_listen(const char *dir, const struct tr_roles *roles,
                              const char *run, const struct tr_log *log, char *bound,
                              struct tr_wire **wire, struct tr_err *err);

#endif
