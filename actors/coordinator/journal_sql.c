#include "actors/coordinator/journal_sql.h"

const char tr_journal_schema[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE steps ("
    " step INTEGER PRIMARY KEY, at REAL NOT NULL, rollouts INTEGER NOT NULL,"
    " state TEXT NOT NULL, metrics TEXT NOT NULL,"
    " policy_lineage BLOB, policy_weights BLOB, critic_lineage BLOB, critic_weights BLOB,"
    " seal BLOB NOT NULL) STRICT;"

    "CREATE TABLE evaluations ("
    " step INTEGER PRIMARY KEY, at REAL NOT NULL, rollouts INTEGER NOT NULL,"
    " metrics TEXT NOT NULL, seal BLOB NOT NULL) STRICT;"

    "CREATE TABLE rollouts ("
    " id INTEGER PRIMARY KEY, step INTEGER NOT NULL, eval INTEGER NOT NULL,"
    " sample INTEGER NOT NULL, prompt INTEGER NOT NULL, score REAL NOT NULL, kl REAL NOT NULL,"
    " stopped INTEGER NOT NULL, policy BLOB, seal BLOB NOT NULL,"
    " prompt_ids BLOB NOT NULL, answer_ids BLOB NOT NULL, logprobs BLOB NOT NULL,"
    " ref_logprobs BLOB, vals BLOB, UNIQUE (step, eval, sample)) STRICT;"

    "CREATE TABLE scores ("
    " step INTEGER NOT NULL, eval INTEGER NOT NULL, sample INTEGER NOT NULL,"
    " place INTEGER NOT NULL, slot TEXT NOT NULL, score REAL NOT NULL, weight REAL NOT NULL, digest BLOB,"
    " PRIMARY KEY (step, eval, sample, place)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE answers ("
    " seq INTEGER PRIMARY KEY, unit BLOB NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " role TEXT NOT NULL, slot TEXT NOT NULL, step INTEGER, worker TEXT NOT NULL,"
    " queue_seconds REAL NOT NULL, compute_seconds REAL NOT NULL, at REAL NOT NULL,"
    " seal BLOB NOT NULL, answer BLOB NOT NULL) STRICT;"
    "CREATE INDEX answers_step ON answers (step) WHERE step IS NOT NULL;"

    "CREATE TABLE learn ("
    " seq INTEGER PRIMARY KEY, unit BLOB NOT NULL UNIQUE, role TEXT NOT NULL,"
    " lineage BLOB NOT NULL, step INTEGER, worker TEXT NOT NULL,"
    " queue_seconds REAL NOT NULL, compute_seconds REAL NOT NULL, at REAL NOT NULL,"
    " answer_digest BLOB NOT NULL, answer BLOB NOT NULL, content BLOB NOT NULL) STRICT;"
    "CREATE INDEX learn_lineage ON learn (lineage, role);"

    "CREATE TABLE swaps ("
    " id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at_step INTEGER, slots TEXT NOT NULL,"
    " asked REAL NOT NULL, applied_step INTEGER, applied REAL) STRICT;"

    "CREATE TABLE snapshots ("
    " id INTEGER PRIMARY KEY, role TEXT NOT NULL, step INTEGER NOT NULL,"
    " lineage BLOB NOT NULL, weights BLOB, folder TEXT NOT NULL, at REAL NOT NULL,"
    " UNIQUE (role, lineage)) STRICT;"

    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY, at REAL NOT NULL, role TEXT NOT NULL,"
    " instance TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL) STRICT;"

    "CREATE TABLE workers ("
    " instance TEXT NOT NULL, role TEXT NOT NULL, slot TEXT NOT NULL,"
    " host TEXT NOT NULL, isa TEXT NOT NULL, threads INTEGER NOT NULL,"
    " state TEXT NOT NULL, joined REAL NOT NULL, answered INTEGER NOT NULL,"
    " busy_seconds REAL NOT NULL, at REAL NOT NULL,"
    " PRIMARY KEY (role, slot, instance)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;";

#define STEP_COLUMNS                                                                     \
    "step, at, rollouts, state, metrics, policy_lineage, policy_weights,"                \
    " critic_lineage, critic_weights, seal"
#define SWAP_COLUMNS "id, kind, at_step, applied_step, slots"
/* No committed step has used it. */
#define SWAP_IS_OPEN                                                                     \
    "(applied_step IS NULL OR applied_step >"                                            \
    " (SELECT coalesce(max(step), -1) FROM steps))"

const char *const tr_journal_sql[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",

    [SQL_KEEP] =
        "INSERT INTO answers (unit, kind, role, slot, step, worker,"
        " queue_seconds, compute_seconds, at, seal, answer)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (unit) DO NOTHING",
    [SQL_KEEP_LEARN] =
        "INSERT INTO learn (unit, role, lineage, step, worker, queue_seconds,"
        " compute_seconds, at, answer_digest, answer, content)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (unit) DO NOTHING",
    [SQL_FIND] = "SELECT answer, seal FROM answers WHERE unit = ?",
    [SQL_FIND_LEARN] = "SELECT answer, answer_digest FROM learn WHERE unit = ?",
    [SQL_NEXT_LEARN] = "SELECT content, unit, answer_digest FROM learn"
                       " WHERE lineage = ? AND role = ? ORDER BY seq LIMIT 1",
    [SQL_FORGET] = "DELETE FROM answers WHERE step <= ?",
    [SQL_NEWEST] = "SELECT coalesce(max(step), 0) FROM answers",

    [SQL_STEP] = "INSERT INTO steps (" STEP_COLUMNS ")"
                 " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_STEP_LAST] = "SELECT " STEP_COLUMNS " FROM steps ORDER BY step DESC LIMIT 1",
    [SQL_STEP_AFTER] =
        "SELECT " STEP_COLUMNS " FROM steps WHERE step > ? ORDER BY step LIMIT 1",
    [SQL_BACK_STEPS] = "DELETE FROM steps WHERE step > ?",
    [SQL_BACK_EVALUATIONS] = "DELETE FROM evaluations WHERE step > ?",
    [SQL_BACK_ROLLOUTS] = "DELETE FROM rollouts WHERE step > ?",
    [SQL_BACK_SCORES] = "DELETE FROM scores WHERE step > ?",
    [SQL_BACK_SNAPSHOTS] = "DELETE FROM snapshots WHERE step > ?",
    [SQL_BACK_LEARN] = "DELETE FROM learn",
    [SQL_ROLLOUT] =
        "INSERT INTO rollouts (step, eval, sample, prompt, score, kl, stopped, policy, seal,"
        " prompt_ids, answer_ids, logprobs, ref_logprobs, vals)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_SCORE] =
        "INSERT INTO scores (step, eval, sample, place, slot, score, weight, digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_EVALUATION] = "INSERT OR REPLACE INTO evaluations (step, at, rollouts, metrics,"
                       " seal) VALUES (?, ?, ?, ?, ?)",
    [SQL_EVAL_ROLLOUTS] = "DELETE FROM rollouts WHERE step = ? AND eval = 1",
    [SQL_EVAL_SCORES] = "DELETE FROM scores WHERE step = ? AND eval = 1",

    [SQL_SWAP] = "INSERT INTO swaps (kind, at_step, slots, asked) VALUES (?, ?, ?, ?)",
    [SQL_SWAP_APPLY] = "UPDATE swaps SET applied_step = ?, applied = ? WHERE id = ?"
                       " AND " SWAP_IS_OPEN,
    [SQL_SWAP_DROP] = "DELETE FROM swaps WHERE id = ? AND " SWAP_IS_OPEN,
    [SQL_SWAP_AFTER] =
        "SELECT " SWAP_COLUMNS " FROM swaps WHERE id > ? ORDER BY id LIMIT 1",
    [SQL_SWAP_AT] = "SELECT " SWAP_COLUMNS " FROM swaps WHERE applied_step <= ?"
                    " ORDER BY applied_step DESC, id DESC LIMIT 1",

    [SQL_SNAPSHOT] = "INSERT INTO snapshots (role, step, lineage, weights, folder, at)"
                     " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (role, lineage) DO UPDATE"
                     " SET step = excluded.step, weights = excluded.weights,"
                     " folder = excluded.folder, at = excluded.at",
    [SQL_SNAPSHOT_BACK] = "SELECT id, step, lineage, weights, folder FROM snapshots"
                          " WHERE role = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
    [SQL_SNAPSHOT_DROP] = "DELETE FROM snapshots WHERE id = ?",
    [SQL_PRUNE_LEARN] =
        "DELETE FROM learn WHERE role = ?1"
        " AND (step IS NULL OR step <= (SELECT max(step) FROM steps))"
        " AND seq <= (SELECT seq FROM learn WHERE role = ?1 AND unit ="
        " (SELECT lineage FROM snapshots WHERE role = ?1 ORDER BY id LIMIT 1))",
    [SQL_REPLAY_COST] =
        "SELECT count(*), total(compute_seconds) FROM learn WHERE role = ?1"
        " AND seq >= (SELECT min(seq) FROM learn WHERE lineage = ?2 AND role = ?1)",

    [SQL_EVENT] =
        "INSERT INTO events (at, role, instance, kind, text) VALUES (?, ?, ?, ?, ?)",
    [SQL_EVENT_PRUNE] = "DELETE FROM events WHERE id <= ?",
    [SQL_WORKER] =
        "INSERT INTO workers (instance, role, slot, host, isa, threads, state, joined,"
        " answered, busy_seconds, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (role, slot, instance) DO UPDATE SET host = excluded.host, isa = excluded.isa,"
        " threads = excluded.threads, state = excluded.state, joined = excluded.joined,"
        " answered = excluded.answered, busy_seconds = excluded.busy_seconds,"
        " at = excluded.at",
    [SQL_WORKER_PRUNE] = "DELETE FROM workers WHERE (SELECT count(*) FROM workers) > ?1"
                         " AND at <= (SELECT at FROM workers ORDER BY at DESC"
                         " LIMIT 1 OFFSET ?1)",
    [SQL_COUNTER] = "INSERT INTO counters (name, value) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    [SQL_COUNTER_READ] = "SELECT value FROM counters WHERE name = ?",
    [SQL_META] = "INSERT INTO meta (key, value) VALUES (?, ?)",
    [SQL_META_READ] = "SELECT value FROM meta WHERE key = ?",

    [SQL_SEE_PACE] = "SELECT count(*), max(at) - min(at), min(step) FROM"
                     " (SELECT step, at FROM steps ORDER BY step DESC LIMIT 21)",
    [SQL_SEE_TOKENS] =
        "SELECT (SELECT total(length(answer_ids)) / 4 FROM rollouts"
        " WHERE step > ?1 AND eval = 0) + (SELECT total(CASE WHEN json_valid(metrics)"
        " THEN metrics ->> '$.tokens' END) FROM steps WHERE step > ?1)",
    [SQL_SEE_KEPT] = "SELECT (SELECT count(*) FROM answers),"
                     " (SELECT count(*) FROM learn), (SELECT count(*) FROM rollouts)",
    [SQL_SEE_WORKERS] =
        "SELECT instance, role, slot, host, isa, state, threads, answered,"
        " busy_seconds, joined, at FROM workers"
        " ORDER BY role, slot, instance LIMIT 1000",
    [SQL_SEE_COUNTERS] = "SELECT name, value FROM counters ORDER BY name",
    [SQL_SEE_SNAPSHOTS] =
        "SELECT role, step, lineage, folder, at FROM snapshots ORDER BY id",
    [SQL_SEE_SWAPS] = "SELECT id, kind, at_step, applied_step, asked, applied, slots"
                      " FROM swaps WHERE id > ? ORDER BY id LIMIT ?",
    [SQL_SEE_EVENTS] = "SELECT id, at, role, instance, kind, text FROM"
                       " (SELECT * FROM events ORDER BY id DESC LIMIT ?) ORDER BY id",
    [SQL_SEE_STEPS] =
        "SELECT " STEP_COLUMNS " FROM steps WHERE step > ? ORDER BY step LIMIT ?",
    [SQL_SEE_EVALUATIONS] = "SELECT step, at, rollouts, metrics, seal FROM evaluations"
                            " WHERE step > ? ORDER BY step LIMIT ?",
    [SQL_SEE_LAST_ROLLOUT] = "SELECT max(step) FROM rollouts WHERE eval = ?",
    [SQL_SEE_ROLLOUT_COUNT] =
        "SELECT CASE WHEN ?2 THEN (SELECT rollouts FROM evaluations WHERE step = ?1)"
        " ELSE (SELECT rollouts FROM steps WHERE step = ?1) END,"
        " (SELECT count(*) FROM rollouts WHERE step = ?1 AND eval = ?2)",
    [SQL_SEE_ROLLOUTS] =
        "SELECT sample, prompt, score, kl, stopped, policy, seal, prompt_ids, answer_ids,"
        " logprobs, ref_logprobs, vals FROM rollouts"
        " WHERE step = ? AND eval = ? AND sample >= ? ORDER BY sample LIMIT ?",
    [SQL_SEE_SCORES] = "SELECT slot, score, weight, digest FROM scores"
                       " WHERE step = ? AND eval = ? AND sample = ? ORDER BY place",
};
