"""books.py COPY --steps N --samples N [--staleness N] [--slot NAME:FROM:DIGEST ...] - do the books of a PPO run balance?

Reads a copy of a run's journal (troupe snapshot-db) as docs/journal.md describes it, with none of the
project's code: every step is there once and whole, every answer was judged once by each reward of its
step and by no other, no log-prob differed. Prints one digest of all that was said and paid for."""
import argparse
import hashlib
import json
import sqlite3
import struct
import sys


def rows(db, text, *args):
    return db.execute(text, args).fetchall()


def check_steps(db, steps, samples, staleness, fault):
    found = rows(db, "SELECT step, rollouts, metrics FROM steps ORDER BY step")
    if [r[0] for r in found] != list(range(steps + 1)):
        fault("steps %s, expected 0 to %d" % ([r[0] for r in found], steps))
    for step, count, metrics in found[1:]:
        if count != samples:
            fault("step %d has %d rollouts, expected %d" % (step, count, samples))
        bits = json.loads(metrics).get("mismatch_bits")
        compared = step <= 1 or staleness == 0  # else the answers are of a version before
        if bits != (0 if compared else None):
            fault("step %d: mismatch_bits %s" % (step, bits))


def sets_of(db):
    """By step: by sample: what was said of it, in the order of the slots."""
    said = {}
    for step, sample in rows(db, "SELECT step, sample FROM rollouts WHERE eval = 0"):
        said.setdefault(step, {})[sample] = []
    for step, sample, slot, weight, digest in rows(
            db, "SELECT step, sample, slot, weight, digest FROM scores WHERE eval = 0 ORDER BY step, sample, place"):
        if sample not in said.get(step, {}):
            sys.exit("step %d: a score of sample %d, which there is not" % (step, sample))
        said[step][sample].append((slot, weight, (digest or b"").hex()))
    return said


def wanted_digests(slots, step):
    """The newest word on each slot that is not younger than the step."""
    want = {}
    for name, first, digest in sorted(slots, key=lambda s: s[1]):
        if first <= step:
            want[name] = digest
    return {name: digest for name, digest in want.items() if digest != "gone"}


def check_scores(said, samples, slots, fault):
    for step, sample in sorted(said.items()):
        if sorted(sample) != list(range(samples)):
            fault("step %d has the samples %s" % (step, sorted(sample)))
        one = sample[min(sample)]
        for number, scores in sample.items():
            if scores != one:
                fault("step %d: sample %d was scored by %s, another by %s" % (step, number, scores, one))
        names = [slot for slot, _, _ in one]
        if len(set(names)) != len(names):
            fault("step %d: scored twice: %s" % (step, names))
        if slots and set(names) != set(wanted_digests(slots, step)):
            fault("step %d: scored by %s, expected %s" % (step, names, sorted(wanted_digests(slots, step))))
        for slot, _, digest in one:
            want = wanted_digests(slots, step).get(slot, "")
            if len(digest) != 64 or not digest.startswith(want):
                fault("step %d: %s was %s, expected %s" % (step, slot, digest or "nobody", want))


def check_counters(db, fault):
    counter = dict(rows(db, "SELECT name, value FROM counters"))
    for name in ("differences", "unknown_fields"):
        if counter.get(name) != 0:
            fault("counter %s is %s" % (name, counter.get(name)))
    for instance, text in rows(db, "SELECT instance, text FROM events WHERE kind IN ('no good', 'differs')"):
        fault("%s: %s" % (instance, text))
    left = rows(db, "SELECT count(*) FROM answers WHERE step IS NOT NULL")[0][0]
    if left:
        fault("%d answers belong to no committed step" % left)
    for identity, kind, wanted, applied in rows(db, "SELECT id, kind, at_step, applied_step FROM swaps"):
        if applied is None or (wanted is not None and wanted != applied):
            fault("%s %d counts from step %s on, asked for %s" % (kind, identity, applied, wanted))


def digest_of(db):
    """Of what was said and paid for, without a time, a name or a count of processes."""
    h = hashlib.sha256()
    for row in rows(db, "SELECT step, sample, prompt, score, kl, stopped, policy, prompt_ids, answer_ids, logprobs, "
                        "ref_logprobs, vals FROM rollouts WHERE eval = 0 ORDER BY step, sample"):
        for value in row:
            h.update(struct.pack("<d", value) if isinstance(value, (int, float)) else value)
    for row in rows(db, "SELECT step, sample, place, slot, score, weight, digest FROM scores WHERE eval = 0 "
                        "ORDER BY step, sample, place"):
        h.update(repr(row[:4] + row[6:]).encode() + struct.pack("<dd", row[4], row[5]))
    return h.hexdigest()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("copy")
    p.add_argument("--steps", type=int, required=True)
    p.add_argument("--samples", type=int, required=True)
    p.add_argument("--staleness", type=int, default=0)
    p.add_argument("--slot", action="append", default=[])
    a = p.parse_args()
    db = sqlite3.connect("file:%s?mode=ro" % a.copy, uri=True)
    faults = []
    slots = [(name, int(first), digest) for name, first, digest in (s.split(":") for s in a.slot)]
    check_steps(db, a.steps, a.samples, a.staleness, faults.append)
    check_scores(sets_of(db), a.samples, slots, faults.append)
    check_counters(db, faults.append)
    for line in faults[:10]:
        print("books: " + line, file=sys.stderr)
    print(digest_of(db))
    return 1 if faults else 0


sys.exit(main())
