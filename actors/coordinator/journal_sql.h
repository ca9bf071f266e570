/* journal_sql.h - the journal's schema and every statement that it runs.
 *
 * What it is for. All SQL stands in one place, so that a change of the schema is seen whole.
 * Statements are prepared when first used. Question marks are numbered by their order. */
#ifndef TR_ACTORS_COORDINATOR_JOURNAL_SQL_H
#define TR_ACTORS_COORDINATOR_JOURNAL_SQL_H

enum journal_sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_KEEP,
    SQL_KEEP_LEARN,
    SQL_FIND,
    SQL_FIND_LEARN,
    SQL_NEXT_LEARN,
    SQL_FORGET,
    SQL_NEWEST,
    SQL_STEP,
    SQL_STEP_LAST,
    SQL_STEP_AFTER,
    SQL_BACK_STEPS,
    SQL_BACK_EVALUATIONS,
    SQL_BACK_ROLLOUTS,
    SQL_BACK_SCORES,
    SQL_BACK_SNAPSHOTS,
    SQL_BACK_LEARN,
    SQL_ROLLOUT,
    SQL_SCORE,
    SQL_EVALUATION,
    SQL_EVAL_ROLLOUTS,
    SQL_EVAL_SCORES,
    SQL_SWAP,
    SQL_SWAP_APPLY,
    SQL_SWAP_DROP,
    SQL_SWAP_AFTER,
    SQL_SWAP_AT,
    SQL_SNAPSHOT,
    SQL_SNAPSHOT_BACK,
    SQL_SNAPSHOT_DROP,
    SQL_PRUNE_LEARN,
    SQL_REPLAY_COST,
    SQL_EVENT,
    SQL_EVENT_PRUNE,
    SQL_WORKER,
    SQL_WORKER_PRUNE,
    SQL_COUNTER,
    SQL_COUNTER_READ,
    SQL_META,
    SQL_META_READ,
    SQL_SEE_PACE,
    SQL_SEE_TOKENS,
    SQL_SEE_KEPT,
    SQL_SEE_WORKERS,
    SQL_SEE_COUNTERS,
    SQL_SEE_SNAPSHOTS,
    SQL_SEE_SWAPS,
    SQL_SEE_EVENTS,
    SQL_SEE_STEPS,
    SQL_SEE_EVALUATIONS,
    SQL_SEE_LAST_ROLLOUT,
    SQL_SEE_ROLLOUT_COUNT,
    SQL_SEE_ROLLOUTS,
    SQL_SEE_SCORES,
    SQL_STATEMENTS
};

extern const char *const tr_journal_sql[SQL_STATEMENTS];
extern const char tr_journal_schema[];

#endif
