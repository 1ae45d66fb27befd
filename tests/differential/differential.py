"""Asks Foretell, PostgreSQL 15 and DuckDB the same random queries; what Foretell answers otherwise than PostgreSQL is told."""
import argparse
import collections
import json
import multiprocessing
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

import compare
import logic
from engines import DuckDB, Foretell, Postgres, Wire, foretell_program
from generate import Generator
from tree import Ordered, reduced

# The share of the queries that are laws of Foretell alone, as one of so many.
LAWS = 5


class Asker:
    """The engines as one process sees them."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = Wire(ours), Wire(theirs, "SET search_path = public")
        self.turned, self.duck = Wire(theirs, "SET search_path = turned"), DuckDB()
        self.reductions, self.opinions, self.most = collections.Counter(), collections.Counter(), 0

    def determined(self, sql, answer, ordered):
        """Whether PostgreSQL answers the same when the rows of its tables lie in the opposite order."""
        turned = self.turned.ask(sql)
        return turned.error is None and compare.same_rows(answer.rows, turned.rows, ordered)

    def examine(self, index, seed):
        """What one number of the run gives: its class, its outcome and the difference, if any."""
        if index % LAWS == LAWS - 1:
            return self.examine_law(index, seed)
        kind, tree, ordered = Generator(f"{seed}/{index}").statement()
        sql = str(tree)
        theirs, third = self.theirs.ask(sql), self.duck.ask(sql)
        ours = self.ours.ask(sql, binary=index % 2 == 1)
        self.opinions[opinion(theirs, third)] += 1
        if theirs.error:
            if theirs.error[0] == "57014":
                return kind, "too slow for PostgreSQL", None
            outcome = "both refuse" if ours.error else "only PostgreSQL refuses"
            return kind, outcome, None if ours.error else {"kind": outcome, "sql": sql, "theirs": theirs.error}
        found = compare.difference(ours, theirs, ordered)
        if found is None:
            return kind, "same", None
        if not self.determined(sql, theirs, ordered):
            return kind, "not determined", None
        name = compare.known(sql, found, ours, theirs, third)
        if name:
            return kind, "known: " + name, None
        if found in ("types", "names"):
            return kind, found, self.told(index, kind, found, tree, compare.described(found, ours, theirs))
        return kind, found, self.told(index, kind, found, tree, compare.shape(ours.error[1]) if ours.error else None)

    def told(self, index, kind, found, tree, shape):
        """The difference with a small reproduction, which is sought for the first of each shape."""
        key = found, shape
        self.reductions[key] += 1
        record = {"index": index, "class": kind, "kind": found, "shape": shape, "sql": str(tree)}
        if self.reductions[key] > (self.most if found in ("rows", "order") else 1) or shape and "statement timeout" in shape:
            return record
        small = reduced(tree, lambda other: self.differs(other, found, shape))
        return record | self.answers(str(small))

    def differs(self, tree, found, shape):
        """Whether this query still shows that kind of difference."""
        sql, ordered = str(tree), isinstance(tree, Ordered)
        theirs = self.theirs.ask(sql)
        if theirs.error:
            return False
        ours = self.ours.ask(sql)
        if compare.difference(ours, theirs, ordered) != found:
            return False
        if shape and shape != (compare.shape(ours.error[1]) if ours.error else compare.described(found, ours, theirs)):
            return False
        is_known = compare.known(sql, found, ours, theirs, self.duck.ask(sql))
        return not is_known and self.determined(sql, theirs, ordered)

    def answers(self, sql):
        """A query with the answers of all three."""
        ours, theirs, third = self.ours.ask(sql), self.theirs.ask(sql), self.duck.ask(sql)
        return {"small": sql, "foretell": short(ours, theirs), "postgres": short(theirs, ours), "duckdb": short(third, ours)}

    def examine_law(self, index, seed):
        """What a law gives; the two queries of one are Foretell's alone."""
        law = logic.law(f"{seed}/{index}")
        answers = [self.ours.ask(sql) for sql in law.queries()]
        if any(answer.error for answer in answers):
            return law.kind, "refused", None
        if not self.breaks(law):
            return law.kind, "same", None
        small = reduced(law, self.breaks)
        record = {"index": index, "class": law.kind, "kind": "law", "shape": None, "sql": str(law), "small": str(small)}
        for engine, wire in (("foretell", self.ours), ("postgres", self.theirs)):
            record |= {f"{engine} {n}": short(wire.ask(sql)) for n, sql in enumerate(small.queries(), 1)}
        return law.kind, "law", record

    def breaks(self, law):
        """Whether the two queries of a law have different rows."""
        one, two = (self.ours.ask(sql) for sql in law.queries())
        return not one.error and not two.error and not compare.same_rows(one.rows, two.rows, False)


def opinion(theirs, third):
    """How the third engine sees a query."""
    if theirs.error or third.error:
        return "refused by " + " and ".join(name for name, answer in (("PostgreSQL", theirs), ("DuckDB", third)) if answer.error)
    return "the same" if compare.same_rows(theirs.rows, third.rows, False) else "different"


def short(answer, other=None):
    """An answer as text; of a long one only the rows that `other` does not have."""
    if answer.error:
        return "ERROR " + ": ".join(answer.error)[:600]
    rows, told = answer.rows, ""
    if len(rows) > 12 and other and other.rows is not None:
        rows, told = list((collections.Counter(rows) - collections.Counter(other.rows)).elements()), "only here "
    types = f" {answer.types}" if answer.types else ""
    return f"{len(answer.rows)} rows{types}: {told}{'; '.join(map(repr, rows))[:500]}"


def work(arguments):
    """The outcomes of some numbers of the run, and what DuckDB said beside PostgreSQL."""
    numbers, seed = arguments
    found = []
    ASKER.opinions.clear()
    for index in numbers:
        started = time.monotonic()
        try:
            found.append((index, *ASKER.examine(index, seed), time.monotonic() - started))
        except Exception:
            found.append((index, "tool", "failed", {"kind": "tool", "index": index, "sql": traceback.format_exc()}, 0.0))
    return found, ASKER.opinions


def begin(ours, theirs, most):
    global ASKER
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ASKER = Asker(ours, theirs)
    ASKER.most = most


def parsed():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the number of one query of the run")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--reductions", type=int, default=100, help="the most differences in rows that a process makes smaller")
    parser.add_argument("--details", type=pathlib.Path, help="a file for the differences, one JSON object a line")
    return parser.parse_args()


def main():
    options = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    room = pathlib.Path(tempfile.mkdtemp(prefix="differential"))
    room.chmod(0o755)
    theirs = ours = None
    try:
        theirs, ours = Postgres(room / "postgres"), Foretell(room / "foretell", foretell_program())
        return run(options, ours, theirs)
    finally:
        for engine in (ours, theirs):
            if engine:
                engine.stop()
        shutil.rmtree(room, ignore_errors=True)


class Tally:
    """What came of the queries so far."""

    def __init__(self, details):
        self.details = details.open("w") if details else None
        self.outcomes, self.opinions, self.taken = collections.defaultdict(collections.Counter), collections.Counter(), collections.Counter()
        # Differences; what has the same values by other types or names; seconds by number.
        self.found, self.described, self.slow = [], [], []

    def add(self, index, kind, outcome, record, seconds):
        self.outcomes[kind][outcome] += 1
        self.slow.append((seconds, index))
        if record is None:
            return
        if self.details:
            print(json.dumps({"index": index} | record, ensure_ascii=False), file=self.details, flush=True)
        if record["kind"] == "only PostgreSQL refuses":
            self.taken[compare.shape(record["theirs"][1])] += 1
        else:
            (self.described if record["kind"] in ("types", "names") else self.found).append(record)

    def report(self):
        for kind, counts in sorted(self.outcomes.items()):
            print(f"{kind:14} {sum(counts.values()):6}  " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
        print("PostgreSQL and DuckDB: " + ", ".join(f"{count} {name}" for name, count in self.opinions.most_common()))
        for message, count in self.taken.most_common(30):
            print(f"only PostgreSQL refuses, {count} times: {message}")
        groups = collections.defaultdict(list)
        for record in self.found + self.described:
            groups[record["kind"], record.get("shape") or compare.shape(record.get("small", ""))].append(record)
        for (kind, _), records in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]))):
            first = min(records, key=lambda record: len(record.get("small", record["sql"])))
            print(f"\n{kind.upper()}, {len(records)} times, such as number {first['index']}")
            for name, text in first.items():
                if name not in ("index", "kind", "shape") and (name != "sql" or "small" not in first):
                    print(f"  {name}: {text}")


def run(options, ours, theirs):
    """Asks all queries and tells what came, also when it is stopped; the exit status."""
    print(f"seed {options.seed}, {options.queries} queries", flush=True)
    started, tally = time.monotonic(), Tally(options.details)
    numbers = range(options.queries) if options.only is None else [options.only]
    pieces = [(numbers[start:start + 20], options.seed) for start in range(0, len(numbers), 20)]
    try:
        with multiprocessing.Pool(options.processes, begin, (ours.conninfo, theirs.conninfo, options.reductions)) as pool:
            for piece, opinions in pool.imap_unordered(work, pieces):
                tally.opinions += opinions
                for result in piece:
                    tally.add(*result)
    finally:
        tally.report()
        slow = ", ".join(f"number {index} {seconds:.1f} s" for seconds, index in sorted(tally.slow)[:-4:-1])
        print(f"{len(tally.slow)} queries in {time.monotonic() - started:.0f} s; the slowest: {slow}")
        if ours.ends:
            print(f"THE SERVER ENDED {ours.ends} TIMES: {(ours.room / 'log').read_text()[-3000:]}")
    return 1 if tally.found or ours.ends else 0


if __name__ == "__main__":
    sys.exit(main())
