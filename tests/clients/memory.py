"""Peak memory of statements over 20 M rows with a memory limit of 256 MB, and of trainings over 1,000 series of 1,941 days.
Each runs in a server of its own; over the bound and without SQLSTATE 53200 it fails. Arguments choose by label:
FORETELL_BIN=…/release/foretell tests/clients/run memory"""
import os
import re
import sys
import time
import traceback

import psycopg

from server import Failed, Guard, Server, drained

ROWS = int(os.environ.get("FORETELL_MEMORY_ROWS", "20000000"))
PATIENCE = int(os.environ.get("FORETELL_MEMORY_SECONDS", "240"))
LIMIT = 256
# What DataFusion's reservations leave out, and the binary itself.
BOUND = 1.25 * LIMIT + 200
GUARD = 6_000
FEW = ROWS // 20
BIG = (f"CREATE TABLE big AS SELECT id::bigint AS id, (id * 7919 % {ROWS})::bigint AS k, (id % 2000)::int AS g, "
       f"(id % 1000003) / 7.0::double precision AS v, 'word-' || (id * 31 % 1000003) AS word FROM generate_series(1, {ROWS}) AS t(id)")
SUM = str(ROWS * (ROWS - 1) // 2)
N = str(ROWS)

# Label, statements, and what the last of them tells: its row, or its tag.
QUERIES = [
    ("count, for comparison", "SELECT count(*), sum(k) FROM big", (N, SUM)),
    ("sort", "SELECT k, v, word FROM big ORDER BY k", f"SELECT {N}"),
    ("sort, checked", "SELECT count(*) FROM (SELECT k, row_number() OVER (ORDER BY k) AS n FROM big) AS s WHERE n <> k + 1", ("0",)),
    ("sort of text", "SELECT word, id FROM big ORDER BY word, id", f"SELECT {N}"),
    ("sort of wide text", f"SELECT repeat(word, 30) AS wide, id FROM big WHERE id <= {ROWS // 5} ORDER BY wide DESC", f"SELECT {ROWS // 5}"),
    ("sort into a file", "COPY (SELECT * FROM big ORDER BY word, id) TO 'sorted.csv'", f"COPY {N}"),
    ("sort into Parquet", "COPY (SELECT * FROM big ORDER BY word, id) TO 'sorted.parquet'", f"COPY {N}"),
    ("sort to COPY TO STDOUT", "COPY (SELECT * FROM big ORDER BY k) TO STDOUT", f"COPY {N}"),
    ("top rows far behind", f"SELECT k FROM big ORDER BY k OFFSET {ROWS // 2} LIMIT 1", (str(ROWS // 2),)),
    ("many groups", "SELECT count(*), sum(n), sum(w) FROM (SELECT k, count(*) AS n, sum(v) AS s, max(length(word)) AS w FROM big GROUP BY k) AS x", None),
    ("many groups of text", "SELECT count(*) FROM (SELECT word, id % 16, min(v), max(v), count(*) FROM big GROUP BY 1, 2) AS x", None),
    ("DISTINCT", "SELECT count(*) FROM (SELECT DISTINCT k, word FROM big) AS x", (N,)),
    ("count(DISTINCT)", "SELECT count(DISTINCT k) FROM big", (N,)),
    ("count(DISTINCT) of text by group", "SELECT sum(n) FROM (SELECT g, count(DISTINCT word) AS n FROM big GROUP BY g) AS x", None),
    ("median by group", "SELECT count(*), sum(m) FROM (SELECT g, median(v) AS m FROM big GROUP BY g) AS x", None),
    ("percentile_cont", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v) FROM big", None),
    ("UNION", "SELECT count(*) FROM (SELECT k, word FROM big UNION SELECT id, word FROM big) AS x", None),
    ("EXCEPT", "SELECT count(*) FROM (SELECT k FROM big EXCEPT SELECT id FROM big) AS x", ("1",)),
    ("hash join", "SELECT count(*), sum(a.k) FROM big a JOIN big b ON a.k = b.id - 1", (N, SUM)),
    ("hash join of wide rows", "SELECT count(*), max(a.word || b.word) FROM big a JOIN big b ON a.k = b.id - 1 AND a.v <= b.v + 1e9", None),
    ("left join", "SELECT count(*), count(b.word) FROM big a LEFT JOIN big b ON a.k = b.id", (N, str(ROWS - 1))),
    ("full join", "SELECT count(*) FROM big a FULL JOIN big b ON a.k = b.id", (str(ROWS + 1),)),
    ("IN", "SELECT count(*) FROM big WHERE k IN (SELECT id FROM big)", (str(ROWS - 1),)),
    ("NOT IN", "SELECT count(*) FROM big WHERE k NOT IN (SELECT id FROM big)", ("1",)),
    ("nested loop join", f"SELECT count(*) FROM big a JOIN (SELECT * FROM big WHERE id <= 20) b ON a.k < b.k + b.g", None),
    ("cross join of a large side", f"SELECT count(*) FROM (SELECT word, id FROM big) a, (SELECT k FROM big WHERE id <= 3) b WHERE length(a.word) + b.k > 0", None),
    ("window by partition", "SELECT sum(r), count(*) FROM (SELECT row_number() OVER (PARTITION BY g ORDER BY k) AS r FROM big) AS x", None),
    ("window over large partitions", "SELECT count(*), sum(d) FROM (SELECT v - avg(v) OVER (PARTITION BY g % 3) AS d FROM big) AS x", None),
    ("window over all", "SELECT count(*), max(d) FROM (SELECT v - lag(v, 7) OVER (ORDER BY id) AS d FROM big) AS x", None),
    ("running window with word", "SELECT count(*), max(w) FROM (SELECT max(word) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 27 PRECEDING AND CURRENT ROW) AS w FROM big) AS x", None),
    ("string_agg of all", "SELECT length(string_agg(word, ',')) FROM big", None),
    ("string_agg by group", "SELECT sum(length(s)) FROM (SELECT g, string_agg(word, ',') AS s FROM big GROUP BY g) AS x", None),
    ("string_agg, sorted", "SELECT sum(length(s)) FROM (SELECT g, string_agg(word, ',' ORDER BY k) AS s FROM big GROUP BY g) AS x", None),
    ("array_agg of all", "SELECT cardinality(array_agg(v)) FROM big", None),
    ("array_agg by group", "SELECT sum(cardinality(s)) FROM (SELECT g, array_agg(v) AS s FROM big GROUP BY g) AS x", None),
    ("array_agg, sorted", "SELECT sum(cardinality(s)) FROM (SELECT g, array_agg(v ORDER BY k) AS s FROM big GROUP BY g) AS x", None),
    ("array_agg of many groups", "SELECT count(*) FROM (SELECT k / 3, array_agg(word) AS s FROM big GROUP BY 1) AS x", None),
    ("repeat", f"SELECT sum(length(repeat('x', 100000 + (id % 2)::int))) FROM big WHERE id <= {FEW // 10}", None),
    ("repeat, rows to the client", "SELECT repeat('x', 100000 + (id % 2)::int) FROM big WHERE id <= 20000", "SELECT 20000"),
    ("lpad", f"SELECT sum(length(lpad(word, 50000))) FROM big WHERE id <= {FEW // 10}", None),
    ("array_repeat", f"SELECT sum(cardinality(array_repeat(v, 20000))) FROM big WHERE id <= {FEW // 10}", None),
    ("a series for each row", f"SELECT count(*) FROM big AS b, LATERAL (SELECT x FROM generate_series(1, 10000) AS s(x) WHERE x <> b.g) AS y WHERE b.id <= 3000", None),
    ("unnest", f"SELECT count(*) FROM (SELECT unnest(array_repeat(v, 2000)) FROM big WHERE id <= {FEW // 10}) AS x", None),
    ("recursive CTE", f"WITH RECURSIVE r AS (SELECT k, word FROM big WHERE id <= {FEW} UNION ALL SELECT k + 1, word FROM r WHERE k % 16 <> 15) SELECT count(*) FROM r", None),
    ("materialised CTE", "WITH c AS MATERIALIZED (SELECT k, word FROM big) SELECT count(*) FROM c a JOIN c b ON a.k = b.k", (N,)),
    ("FETCH ALL", "BEGIN; DECLARE c CURSOR FOR SELECT id, v, word FROM big; FETCH ALL FROM c; COMMIT", "COMMIT"),
    ("FETCH of many", f"BEGIN; DECLARE c CURSOR FOR SELECT id, v, word FROM big; FETCH {ROWS // 2} FROM c; COMMIT", "COMMIT"),
    ("CREATE TEMP TABLE AS", "CREATE TEMP TABLE t AS SELECT * FROM big", f"SELECT {N}"),
    ("INSERT into a temporary table", "CREATE TEMP TABLE t (id bigint, word text); INSERT INTO t SELECT id, word FROM big", f"INSERT 0 {N}"),
    ("rows to the client", "SELECT * FROM big", f"SELECT {N}"),
]
CHANGES = [
    ("CREATE TABLE AS", "CREATE TABLE copied AS SELECT * FROM big", f"SELECT {N}"),
    ("INSERT SELECT", "CREATE TABLE copied (id bigint, k bigint, g int, v double precision, word text); INSERT INTO copied SELECT * FROM big", f"INSERT 0 {N}"),
    ("INSERT SELECT, sorted", "CREATE TABLE copied AS SELECT * FROM big LIMIT 0; INSERT INTO copied SELECT * FROM big ORDER BY word", f"INSERT 0 {N}"),
    ("INSERT RETURNING", "CREATE TABLE copied AS SELECT * FROM big LIMIT 0; INSERT INTO copied SELECT * FROM big RETURNING id, word", f"INSERT 0 {N}"),
    ("COPY FROM a file", "CREATE TABLE copied AS SELECT * FROM big LIMIT 0; COPY copied FROM 'sorted.csv'", f"COPY {N}"),
    ("UPDATE", "CREATE TABLE copied AS SELECT * FROM big; UPDATE copied SET v = v + 1, word = word || '!' WHERE g <> 0", f"UPDATE {ROWS - ROWS // 2000}"),
    ("UPDATE by a subquery", "CREATE TABLE copied AS SELECT * FROM big; UPDATE copied SET v = 0 WHERE k IN (SELECT id FROM big)", f"UPDATE {ROWS - 1}"),
    ("UPDATE to a subquery", "CREATE TABLE copied AS SELECT * FROM big; UPDATE copied SET v = (SELECT max(b.v) FROM big b WHERE b.id = copied.k) WHERE g <> 0", f"UPDATE {ROWS - ROWS // 2000}"),
    ("UPDATE RETURNING", "CREATE TABLE copied AS SELECT * FROM big; UPDATE copied SET v = v + 1 WHERE g <> 0 RETURNING id, word", f"UPDATE {ROWS - ROWS // 2000}"),
    ("DELETE", "CREATE TABLE copied AS SELECT * FROM big; DELETE FROM copied WHERE g <> 0", f"DELETE {ROWS - ROWS // 2000}"),
    ("DELETE RETURNING", "CREATE TABLE copied AS SELECT * FROM big; DELETE FROM copied WHERE g <> 0 RETURNING id, word", f"DELETE {ROWS - ROWS // 2000}"),
    ("DELETE by a subquery", "CREATE TABLE copied AS SELECT * FROM big; DELETE FROM copied WHERE k IN (SELECT id FROM big)", f"DELETE {ROWS - 1}"),
    ("OPTIMIZE", "CREATE TABLE copied AS SELECT * FROM big; OPTIMIZE copied", "OPTIMIZE"),
    ("OPTIMIZE CLUSTER BY", "CREATE TABLE copied AS SELECT * FROM big; OPTIMIZE copied CLUSTER BY (word, id)", "OPTIMIZE"),
    ("COPY FROM STDIN", None, f"COPY {N}"),
    ("COPY FROM STDIN into a temporary table", None, f"COPY {N}"),
]

SHAPE = "ON panel TARGET units PARTITION BY store_id, item_id ORDER BY sale_date STATIC category PAST price, promo HORIZON 28"
TRAININGS = [
    ("TRAIN, auto", f"TRAIN FORECAST MODEL m {SHAPE}"),
    ("TRAIN, gbt", f"TRAIN FORECAST MODEL m {SHAPE} USING gbt"),
    ("TRAIN, ets", f"TRAIN FORECAST MODEL m {SHAPE} USING ets"),
    ("TRAIN, ridge", f"TRAIN FORECAST MODEL m {SHAPE} USING ridge"),
    ("TRAIN, svr", f"TRAIN FORECAST MODEL m {SHAPE} USING svr"),
    ("TRAIN, tide", f"TRAIN FORECAST MODEL m {SHAPE} USING tide WITH (epochs = 2)"),
    ("TRAIN, lstm", f"TRAIN FORECAST MODEL m {SHAPE} USING lstm WITH (epochs = 1, max_seconds = 120)"),
    ("TRAIN, transformer", f"TRAIN FORECAST MODEL m {SHAPE} USING transformer WITH (epochs = 1, max_seconds = 120)"),
    ("TRAIN, from foretell_base", f"TRAIN FORECAST MODEL m FROM foretell_base {SHAPE} WITH (epochs = 1, max_seconds = 120)"),
    ("PRETRAIN", f"PRETRAIN FORECAST MODEL m {SHAPE.replace(' HORIZON 28', '')} OBJECTIVE next_patch WITH (steps = 10)"),
]


def loaded(connection, kind):
    """COPY FROM STDIN of as many rows as the big table has: its tag."""
    connection.execute(f"CREATE {kind} TABLE copied (id bigint, v double precision, word text)")
    block = "".join(f"{n}\t{n / 7}\tword-{n * 31 % 1000003}\n" for n in range(20_000)).encode()
    try:
        with connection.cursor() as cursor:
            with cursor.copy("COPY copied FROM STDIN") as copy:
                for _ in range(ROWS // 20_000):
                    copy.write(block)
            return [], f"COPY {cursor.rowcount}"
    except psycopg.Error as error:
        raise Failed(error.sqlstate, str(error)) from None


def answer(connection, label, statement):
    """The rows and the tag of a case."""
    patience = PATIENCE if label[:5] not in ("TRAIN", "PRETR") else 4 * PATIENCE
    connection.execute(f"SET statement_timeout = '{patience}s'")
    if statement is None:
        return loaded(connection, "TEMP" if "temporary" in label else "")
    if not label.startswith("FETCH"):
        *before, statement = statement.split("; ")
        for first in before:
            drained(connection, first)
    return drained(connection, statement)


def judged(label, statement, expected, server, connection):
    """What a statement came to: `right`, or how it failed."""
    try:
        rows, tag = answer(connection, label, statement)
        wanted = tag if isinstance(expected, str) else (rows[0] if rows else None)
        return "right" if expected in (None, wanted) else f"WRONG: {wanted}"
    except Failed as failed:
        return f"{failed.args[0]} {failed.args[1][:90]}"
    except (OSError, psycopg.Error) as error:
        return f"DIED: {type(error).__name__}"


def lives(connection, server):
    """The same session answers, or if it ended a new one does."""
    for again in (lambda: connection, server.connect):
        try:
            return again().execute("SELECT 1").fetchone() == (1,)
        except (OSError, psycopg.Error):
            continue
    return False


def measure(label, statement, expected, bound=BOUND, limit=LIMIT):
    """Runs a case in a server of its own and prints a line; true when it keeps to the bound or says 53200."""
    with Server("big", "--memory-limit", f"{limit}MB", "--threads", "2") as server, Guard(server, GUARD, 2 * PATIENCE + 30) as guard:
        connection = server.connect()
        before, started = server.status("VmRSS"), time.monotonic()
        server.forget_peak()
        said = judged(label, statement, expected, server, connection)
        took = time.monotonic() - started
        if guard.over or not server.process.poll() is None:
            peak, alive = guard.over or float("nan"), False
        else:
            peak, alive = server.status("VmHWM"), lives(connection, server)
    refused = said.startswith("53200")
    good = alive and (refused or peak <= bound and said == "right")
    word = "FAILED" if not good else "late  " if peak > bound else "ok    "
    print(f"{word} {label:<38} {before:5.0f} -> {peak:6.0f} MiB {took:7.1f} s  {said}", flush=True)
    return good


def change(label, statement, expected):
    """A case that leaves a table behind."""
    try:
        return measure(label, statement, expected)
    finally:
        with Server("big") as server, server.connect() as connection:
            connection.execute("DROP TABLE IF EXISTS copied")


def said_of_memory(statement, connection):
    """What EXPLAIN says that a training needs, in MiB."""
    lines = dict(connection.execute(f"EXPLAIN {statement}").fetchall())
    return float(re.search(r"[\d.]+", lines["memory"])[0])


def train(label, statement):
    """A training in 1 GiB, of which a container leaves 60 % to rows and models; the estimate is asked to be 25 % off at most."""
    with Server("big", "--memory-limit", "614MB", "--threads", "2") as server, Guard(server, GUARD, 5 * PATIENCE) as guard, server.connect() as connection:
        before = server.status("VmRSS")
        told = said_of_memory(statement, connection) if statement.startswith("TRAIN") else None
        read = server.status("VmHWM")
        server.forget_peak()
        started = time.monotonic()
        said = judged(label, statement, None, server, connection)
        took = time.monotonic() - started
        peak = guard.over or server.status("VmHWM")
        time.sleep(1)
        rest = server.status("VmRSS") if server.process.poll() is None else before
        if said == "right":
            connection.execute("DROP MODEL m")
    used = peak - before
    good = peak <= 1024 and (said.startswith("53200") or said == "right" and (told is None or abs(told / used - 1) <= 0.25))
    told = f"told {told:.0f} ({100 * (told / used - 1):+.0f} %), " if told else ""
    print(f"{'ok    ' if good else 'FAILED'} {label:<38} {before:5.0f} -> {peak:6.0f} MiB {took:7.1f} s  {said}; {told}used {used:.0f}, "
          f"EXPLAIN {read - before:.0f}, left {rest - before:.0f} MiB", flush=True)
    return good


def forecasts(label, using):
    """28 steps of 30,490 series in 512 MiB, of which a container leaves 250 to rows and models."""
    statement = (f"SELECT count(*), count(forecast) FROM forecast(panels, target => units, by => item, time => day, horizon => 28{using})"
                 if "foretell_base" not in label else
                 "SELECT count(*), count(forecast) FROM forecast(foretell_base, data => panels, target => units, by => item, time => day, horizon => 28)")
    return measure(label, statement, (str(30_490 * 28), str(30_490 * 28)), bound=512, limit=250)


def prepare():
    """The tables that the cases read, and the folder of their files."""
    with Server("big", "--memory-limit", "2GB") as server, server.connect() as connection:
        (server.folder / "files").mkdir()
        connection.execute(BIG)
        connection.execute("CREATE TABLE panel AS SELECT * FROM synthetic_sales(series => 1000, days => 1941, seed => 7)")
        connection.execute("CREATE TABLE panels AS SELECT s::int AS item, DATE '2024-01-01' + d::int AS day, "
                           "((s * 31 + d * 17) % 13 + d % 7)::double precision AS units "
                           "FROM generate_series(1, 30490) AS a(s), generate_series(0, 199) AS b(d)")


FORECASTS = [("forecast, seasonal_naive", ", using => seasonal_naive"), ("forecast, ets", ", using => ets"), ("forecast, foretell_base", "")]
GROUPS = [("queries", measure, QUERIES), ("changes", change, CHANGES), ("trainings", train, TRAININGS), ("forecasts", forecasts, FORECASTS)]


def main():
    chosen = sys.argv[1:]
    prepare()
    done = [run(*case) for group, run, cases in GROUPS for case in cases if not chosen or group in chosen or case[0] in chosen]
    print(f"{done.count(False)} of {len(done)} failed; load {os.getloadavg()[0]:.1f}")
    return done.count(False)


if __name__ == "__main__":
    sys.exit(main())
