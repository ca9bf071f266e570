"""pauses.py COPY - what live swaps of a PPO run cost, by the times in its journal (troupe snapshot-db).

A step's seconds are those since the step before it was committed. Printed are the median over all steps, and for each
swap: when it was asked for, the slowest step between that and its first step (others load meanwhile), and its first
step itself. The longest pause is how much longer than the median any of these took."""
import sqlite3
import statistics
import sys


def main():
    db = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
    at = dict(db.execute("SELECT step, at FROM steps").fetchall())
    seconds = {step: at[step] - at[step - 1] for step in at if step - 1 in at and step > 1}
    median = statistics.median(seconds.values())
    print("%d steps, median %.3f s, slowest %.3f s" % (len(at) - 1, median, max(seconds.values())))
    longest = 0.0
    for number, kind, asked, applied in db.execute(
            "SELECT id, kind, asked, applied_step FROM swaps WHERE applied_step IN (SELECT step FROM steps) ORDER BY id"):
        before = [seconds[s] for s in seconds if at[s] > asked and s < applied]
        own = seconds.get(applied, median)
        loads = db.execute("SELECT count(*) FROM events WHERE kind = 'loaded' AND role = 'reward' AND at >= ? AND at <= ?",
                           (asked, at[applied])).fetchone()[0]
        print("%s %d: %d steps from asked to used, slowest %.3f s; its first step (%d) %.3f s; %d loads" % (
            kind, number, len(before), max(before, default=0.0), applied, own, loads))
        longest = max([longest, own - median] + [s - median for s in before])
    print("longest pause %.3f s" % longest)


main()
