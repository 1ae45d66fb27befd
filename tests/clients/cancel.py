"""From the order to stop a statement, or its deadline, to SQLSTATE 57014 at the client, by kind of statement; and that nothing
of the statement is left: rows, models, files, work. `light` takes some kinds and fails on hangs only:
FORETELL_BIN=…/release/foretell tests/clients/run cancel"""
import contextlib
import os
import random
import select
import socket
import struct
import sys
import threading
import time

import psycopg

import raw
from server import ROOM, Failed, Guard, Server, drained

LIGHT = "light" in sys.argv[1:]
ROWS = 1_000_000 if LIGHT else 3_000_000
TRIES = 3 if LIGHT else int(os.environ.get("FORETELL_CANCEL_TRIES", "20"))
# Milliseconds that the slowest of 100 may take: SQL, and models.
BOUNDS = (1000, 1000) if LIGHT else (100, 250)
LONGEST = 0.6 if LIGHT else 1.2
# Seconds without a word after which a statement hangs.
PATIENCE = 30
# Seconds after which nothing of a statement that was stopped may work, or lie in the folder of what spilled.
SETTLED = 5 if LIGHT else 1
HUGE = "generate_series(1, 100000000)"
PANEL = "ON panel TARGET units PARTITION BY store_id, item_id ORDER BY sale_date STATIC category PAST price, promo HORIZON 28"
ROWS_OF = "FEATURES price, promo, category, item_id"

SETUP = [
    f"CREATE TABLE big AS SELECT id::bigint AS id, (id * 7919 % {ROWS})::bigint AS k, (id % 2000)::int AS g, (id % 1000003) / 7.0::double precision AS v, "
    f"'word-' || (id * 31 % 1000003) AS word FROM generate_series(1, {ROWS}) AS t(id)",
    "CREATE TABLE target AS SELECT * FROM big WHERE id <= 500000",
    "COPY big TO 'big.csv'",
    f"CREATE TABLE panel AS SELECT * FROM synthetic_sales(series => {100 if LIGHT else 1000}, days => 800, seed => 7)",
]
MODELS = [
    "TRAIN FORECAST MODEL smooth ON panel WHERE sale_date < DATE '2024-09-01' TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 28 USING ets",
    f"TRAIN FORECAST MODEL boosted {PANEL} USING gbt WITH (trees = 10, leaves = 8, max_seconds = 10)",
    f"TRAIN FORECAST MODEL network {PANEL} USING tide WITH (epochs = 1, dim = 16, max_seconds = 10)",
    "TRAIN FORECAST MODEL several ON panel TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 28 USING ets, theta, seasonal_naive",
    f"TRAIN CLASSIFICATION MODEL rows ON (SELECT * FROM panel LIMIT 20000) TARGET in_stock {ROWS_OF} USING gbt, linear",
    "PRETRAIN TEXT MODEL words ON (SELECT description || ' ' || item_id || ' ' || sale_date AS d FROM panel LIMIT 2000) TEXT d WITH (steps = 2, dim = 32, layers = 1, batch_size = 16, vocabulary = 300)",
    "TRAIN CLASSIFICATION MODEL next ON (SELECT * FROM panel LIMIT 50000) TARGET category PARTITION BY item_id ORDER BY sale_date WITH (epochs = 1)",
]
QUERIES = [
    ("scan and filter", r"SELECT count(*) FROM big WHERE regexp_replace(word, '([0-9])([0-9])*$', '\1x\2') LIKE '%q%'"),
    ("rows of a function", f"SELECT sum(x) FROM {HUGE} AS s(x)"),
    ("hash aggregate", "SELECT count(*) FROM (SELECT x % 1000003 AS y, count(*), min(x) FROM generate_series(1, 300000000) AS s(x) GROUP BY 1) AS t"),
    ("hash aggregate of text", "SELECT count(*) FROM (SELECT word || (x % 3), count(*) FROM generate_series(1, 20) AS s(x), big GROUP BY 1) AS t"),
    ("hash aggregate that spills", "SELECT count(*) FROM (SELECT id * 20 + x, word, count(*), max(v) FROM generate_series(1, 20) AS s(x), big GROUP BY 1, 2) AS t"),
    ("DISTINCT", "SELECT count(*) FROM (SELECT DISTINCT id * 20 + x, word FROM generate_series(1, 20) AS s(x), big) AS t"),
    ("count(DISTINCT)", "SELECT count(DISTINCT id * 10 + x) FROM generate_series(1, 10) AS s(x), big"),
    ("median by group", "SELECT count(*) FROM (SELECT g, median(v) FROM generate_series(1, 8) AS s(x), big GROUP BY g) AS t"),
    ("string_agg", "SELECT max(length(s)) FROM (SELECT g, string_agg(word, ',' ORDER BY k) AS s FROM big GROUP BY g) AS t"),
    ("array_agg, sorted", "SELECT max(cardinality(s)) FROM (SELECT g, array_agg(v ORDER BY k) AS s FROM big GROUP BY g) AS t"),
    ("sort that spills", "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY word, k, x) AS n FROM generate_series(1, 4) AS s(x), big) AS t"),
    ("sort, rows to the client", "SELECT word, k, x FROM generate_series(1, 4) AS s(x), big ORDER BY word, k, x"),
    ("top rows", "SELECT x FROM generate_series(1, 100000000) AS s(x) ORDER BY x % 1000003 DESC, x LIMIT 1000000"),
    ("hash join", f"SELECT count(*) FROM generate_series(1, 10000000) AS a(x), generate_series(1, 10000000) AS b(y) WHERE a.x % 1000 = b.y % 1000"),
    ("hash join, large side built", "SELECT count(*) FROM big a JOIN big b ON a.word = b.word JOIN big c ON c.word = a.word AND c.k > b.k"),
    ("hash join with a condition", "SELECT count(*) FROM big a JOIN big b ON a.g = b.g AND a.v < b.v"),
    ("anti join", "SELECT count(*) FROM big a WHERE NOT EXISTS (SELECT 1 FROM big b WHERE b.g = a.g AND b.v > a.v + 1e9)"),
    ("NOT IN", "SELECT count(*) FROM big WHERE word || k NOT IN (SELECT word || id FROM big)"),
    ("nested loop join", "SELECT count(*) FROM big a JOIN big b ON a.v < b.v + b.g - 5"),
    ("cross join", "SELECT count(*) FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)"),
    ("window by partition", "SELECT max(s) FROM (SELECT sum(v) OVER (PARTITION BY g ORDER BY k) AS s FROM big) AS t"),
    ("window over one partition", "SELECT max(s) FROM (SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1000 PRECEDING AND CURRENT ROW) AS s FROM generate_series(1, 30000000) AS s(x)) AS t"),
    ("window over all rows", "SELECT max(d) FROM (SELECT x - avg(x) OVER () AS d FROM generate_series(1, 20000000) AS s(x)) AS t"),
    ("window, rank", "SELECT max(s) FROM (SELECT dense_rank() OVER (PARTITION BY g % 3 ORDER BY word) AS s FROM big) AS t"),
    ("recursive CTE", "WITH RECURSIVE r AS (SELECT 1::bigint AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r"),
    ("recursive CTE of many rows", "WITH RECURSIVE r AS (SELECT k, word FROM big UNION ALL SELECT k + 1, word FROM r) SELECT count(*) FROM r"),
    ("UNION", "SELECT count(*) FROM (SELECT k, word || 'a' FROM big UNION SELECT id, word || 'b' FROM big UNION SELECT id + k, word FROM big) AS t"),
    ("correlated subquery", "SELECT sum(m) FROM (SELECT (SELECT max(b.v) FROM big b WHERE b.g = a.g AND b.k < a.k) AS m FROM big a) AS t"),
    ("correlated subquery, row by row", "SELECT count(*) FROM big a WHERE (SELECT b.v FROM target b WHERE b.k > a.k ORDER BY b.v LIMIT 1) > 5"),
    ("LATERAL", "SELECT count(*) FROM big a, LATERAL (SELECT b.v FROM target b WHERE b.g = a.g ORDER BY b.v - a.v LIMIT 3) AS l"),
    ("long text", "SELECT sum(length(replace(repeat(word, 20000), 'w', 'vv'))) FROM big"),
    ("regular expressions", "SELECT count(*) FROM big WHERE repeat(word, 50) ~ '(w.*){3}(o.*){3}x$'"),
    ("pg_sleep", "SELECT pg_sleep(60)"),
    ("catalogue", "SELECT count(*) FROM pg_attribute a, pg_attribute b, pg_attribute c, pg_attribute d WHERE a.attnum + b.attnum + c.attnum <> d.attnum"),
    ("long statement", "SELECT " + " + ".join(f"(CASE WHEN k > {n} THEN v ELSE g END)" for n in range(400)) + " FROM big ORDER BY 1 LIMIT 1"),
    ("many joins", "SELECT count(*) FROM " + ", ".join(f"target t{n}" for n in range(24)) + " WHERE " + " AND ".join(f"t{n}.k = t{n + 1}.id" for n in range(23))),
    ("IN of many", "SELECT count(*) FROM big WHERE word IN (" + ",".join(f"'w{n}'" for n in range(60000)) + ")"),
    ("EXPLAIN ANALYZE", "EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)"),
    ("rows to the client", "SELECT * FROM generate_series(1, 20) AS s(x), big a"),
    ("wide rows to the client", "SELECT repeat(word, 5000) FROM big"),
    ("FETCH ALL", "BEGIN; DECLARE c CURSOR FOR SELECT id, v, word FROM generate_series(1, 4) AS s(x), big a; FETCH ALL FROM c; COMMIT"),
    ("MOVE ALL", "BEGIN; DECLARE c CURSOR FOR SELECT id, v, word FROM generate_series(1, 20) AS s(x), big a; MOVE ALL FROM c; COMMIT"),
    ("COPY TO STDOUT", "COPY (SELECT * FROM generate_series(1, 20) AS s(x), big) TO STDOUT"),
    ("COPY TO STDOUT, sorted", "COPY (SELECT * FROM generate_series(1, 4) AS s(x), big ORDER BY word, x, k) TO STDOUT"),
    ("COPY TO a file", "COPY (SELECT * FROM generate_series(1, 20) AS s(x), big) TO 'out.csv'"),
    ("COPY TO Parquet", "COPY (SELECT * FROM generate_series(1, 20) AS s(x), big) TO 'out.parquet'"),
    ("unnest", "SELECT count(*) FROM (SELECT unnest(array_repeat(v, 2000)) FROM big) AS t"),
]
CHANGES = [
    ("INSERT SELECT", "INSERT INTO target SELECT id, k, g, v, word FROM generate_series(1, 5) AS s(x), big"),
    ("INSERT SELECT, sorted", "INSERT INTO target SELECT * FROM big ORDER BY word"),
    ("INSERT RETURNING", "INSERT INTO target SELECT * FROM big RETURNING id"),
    ("CREATE TABLE AS", "CREATE TABLE made AS SELECT * FROM generate_series(1, 5) AS s(x), big"),
    ("CREATE TEMP TABLE AS", "CREATE TEMP TABLE made AS SELECT word || x FROM generate_series(1, 5) AS s(x), big"),
    ("UPDATE", "UPDATE target SET v = v + 1, word = repeat(word, 3) || k WHERE g <> 0"),
    ("UPDATE by slow functions", r"UPDATE target SET word = regexp_replace(repeat(word, 20), '([0-9])([0-9])*$', '\1x\2')"),
    ("UPDATE by a subquery", "UPDATE target SET v = (SELECT max(b.v) FROM big b WHERE b.id = target.k)"),
    ("UPDATE RETURNING", "UPDATE target SET v = v + 1, word = word || k RETURNING id, word"),
    ("DELETE", r"DELETE FROM target WHERE regexp_replace(word, '([0-9])([0-9])*$', '\1x\2') LIKE '%3%'"),
    ("DELETE by a subquery", "DELETE FROM target WHERE k IN (SELECT b.id FROM big b WHERE b.id < 100000)"),
    ("DELETE RETURNING", "DELETE FROM target WHERE g <> 0 RETURNING id, word"),
    ("OPTIMIZE", "OPTIMIZE target"),
    ("OPTIMIZE CLUSTER BY", "OPTIMIZE big CLUSTER BY (word, k)"),
    ("VACUUM", "VACUUM"),
    ("ANALYZE", "ANALYZE big"),
    ("COPY FROM a file", "COPY target FROM 'big.csv'"),
    ("COPY FROM STDIN", None),
    ("COPY FROM STDIN, client waits", None),
]
NO_COLUMNS = "ON panel TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 28"
FAMILIES = ["auto", "ets", "theta", "arima", "ces", "croston", "tsb", "ridge", "svr", "tree", "gbt", "tide", "dlinear", "lstm", "gru", "transformer", "foundation"]
TRAININGS = [(f"TRAIN, {family}", f"TRAIN FORECAST MODEL made {PANEL} USING {family}") for family in FAMILIES] + [
    ("TRAIN, network of wide layers", f"TRAIN FORECAST MODEL made {PANEL} USING tide WITH (dim = 1024, layers = 8, batch_size = 4096)"),
    ("TRAIN, transformer of long context", f"TRAIN FORECAST MODEL made {PANEL} USING transformer WITH (context = 512, dim = 256, batch_size = 1024)"),
    ("TRAIN, boosted, many leaves", f"TRAIN FORECAST MODEL made {PANEL} USING gbt WITH (leaves = 1024, trees = 2000)"),
    ("TRAIN FROM foretell_base", f"TRAIN FORECAST MODEL made FROM foretell_base {PANEL}"),
    ("TRAIN HIERARCHY", f"TRAIN FORECAST MODEL made {NO_COLUMNS} HIERARCHY (store_id), (item_id) RECONCILE MINT USING ets"),
    ("TRAIN TUNE", f"TRAIN FORECAST MODEL made {PANEL} USING gbt TUNE (leaves BETWEEN 2 AND 31) TRIALS 20"),
    ("TRAIN distilled", f"TRAIN FORECAST MODEL made FROM several {NO_COLUMNS} USING tide WITH (distill = true)"),
    ("EXPLAIN TRAIN", f"EXPLAIN TRAIN FORECAST MODEL made {PANEL}"),
    ("REFRESH FULL", "REFRESH MODEL boosted FULL"),
    ("TRAIN CLASSIFICATION, gbt", f"TRAIN CLASSIFICATION MODEL made ON panel TARGET in_stock {ROWS_OF} USING gbt"),
    ("TRAIN CLASSIFICATION, linear", f"TRAIN CLASSIFICATION MODEL made ON panel TARGET in_stock {ROWS_OF} USING linear"),
    ("TRAIN CLASSIFICATION, svm", f"TRAIN CLASSIFICATION MODEL made ON panel TARGET in_stock {ROWS_OF} USING svm"),
    ("TRAIN CLASSIFICATION, default", f"TRAIN CLASSIFICATION MODEL made ON panel TARGET category FEATURES price, promo, units TEXT description"),
    ("TRAIN REGRESSION", f"TRAIN REGRESSION MODEL made ON panel TARGET units {ROWS_OF}"),
    ("TRAIN CLASSIFICATION FROM a text model", "TRAIN CLASSIFICATION MODEL made FROM words ON panel TARGET category FEATURES price TEXT description USING bert"),
    ("TRAIN of sequences", "TRAIN CLASSIFICATION MODEL made ON panel TARGET category PARTITION BY item_id ORDER BY sale_date"),
    ("PRETRAIN FORECAST", "PRETRAIN FORECAST MODEL made ON panel TARGET units PARTITION BY store_id, item_id ORDER BY sale_date OBJECTIVE next_patch WITH (steps = 1000)"),
    ("PRETRAIN FORECAST, made-up series", "PRETRAIN FORECAST MODEL made OBJECTIVE next_patch WITH (steps = 1000, batch_size = 8192)"),
    ("PRETRAIN TEXT", "PRETRAIN TEXT MODEL made ON (SELECT description || item_id || sale_date AS d FROM panel LIMIT 100000) TEXT d WITH (steps = 10000)"),
    ("PRETRAIN SEQUENCE", "PRETRAIN SEQUENCE MODEL made ON panel TARGET category PARTITION BY item_id ORDER BY sale_date WITH (epochs = 1000)"),
    ("forecast, of smoothing", "SELECT count(*) FROM forecast(smooth, horizon => 20000)"),
    ("forecast, boosted", "SELECT count(*) FROM forecast(boosted, horizon => 400)"),
    ("forecast, network", "SELECT count(*) FROM forecast(network, horizon => 4000)"),
    ("forecast without a model, ets", "SELECT count(*) FROM forecast(panel, target => units, by => (store_id, item_id), time => sale_date, using => ets)"),
    ("forecast without a model, auto", "SELECT count(*) FROM forecast(panel, target => units, by => (store_id, item_id), time => sale_date)"),
    ("forecast, foretell_base", "SELECT count(*) FROM forecast(foretell_base, data => panel, target => units, by => (store_id, item_id), time => sale_date, horizon => 28)"),
    ("forecast, foretell_base, known", "SELECT count(*) FROM forecast(foretell_base, data => panel, target => units, by => (store_id, item_id), time => sale_date, past => (price, promo), horizon => 28)"),
    ("forecast, totals", "SELECT count(*) FROM forecast(several, by => store_id, total => true)"),
    ("simulate", "SELECT count(*) FROM simulate(several, paths => 5000)"),
    ("evaluate", "SELECT count(*) FROM evaluate((smooth, boosted, network))"),
    ("evaluate on rows", "SELECT count(*) FROM evaluate(smooth, on => panel)"),
    ("backtest", "SELECT count(*) FROM backtest(smooth, windows => 6)"),
    ("backtest with refits", "SELECT count(*) FROM backtest(smooth, windows => 6, refit => 1)"),
    ("featurize", "SELECT count(*) FROM featurize(boosted)"),
    ("predict", "SELECT count(*) FROM predict(rows, (SELECT p.* FROM panel p, generate_series(1, 10) AS s(x)))"),
    ("predict, sequences", "SELECT count(*) FROM predict(next, panel)"),
    ("embed", "SELECT count(embed('words', description || item_id || sale_date)) FROM panel"),
    ("ALTER MODEL QUANTIZE", "ALTER MODEL network QUANTIZE TO q8_0"),
    ("ALTER MODEL PRUNE", "ALTER MODEL network PRUNE TO 0.5"),
]
LIGHT_ONES = {"hash aggregate", "hash aggregate that spills", "sort that spills", "hash join", "nested loop join", "cross join", "window by partition",
              "recursive CTE", "unnest", "rows to the client", "COPY TO STDOUT", "INSERT SELECT", "UPDATE", "COPY FROM STDIN", "CREATE TABLE AS",
              "OPTIMIZE CLUSTER BY", "TRAIN, auto", "TRAIN, gbt", "TRAIN, tide", "TRAIN FROM foretell_base", "PRETRAIN FORECAST", "TRAIN of sequences",
              "forecast, foretell_base", "backtest with refits"}


def percentile(values, share):
    """0 of nothing."""
    return 0 if not values else sorted(values)[min(len(values) - 1, int(share * len(values)))]


def summary(values):
    return f"{percentile(values, 0.5):6.1f} {percentile(values, 0.99):7.1f} ms of {len(values):2}"


def run(connection, label, statement):
    """Runs a statement to its end, its rows thrown away."""
    if statement is None:
        feed(connection, 1e9 if label == "COPY FROM STDIN" else 1e4)
    else:
        drained(connection, statement, PATIENCE)


def feed(connection, most):
    """COPY FROM STDIN of at most so many bytes a second until the server ends it."""
    block = b"".join(b"%d\t%d\t%d\t%f\tword-%d\n" % (n, n, n % 2000, n / 7, n) for n in range(2000))
    text, pending = b"COPY target FROM STDIN\0", raw.message(b"d", block)
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)
        sent, told, started, rest = 0, b"", time.monotonic(), b""
        while told[-6:-1] != b"Z\0\0\0\5":
            writes = [wire] if sent <= most * (time.monotonic() - started) and b"E\0" not in told else []
            readable, writable, _ = select.select([wire], writes, [], 0.005)
            if readable:
                told += (some := wire.recv(65536))
                if not some:
                    raise ConnectionError("the server hung up")
            elif writable:
                rest = rest or pending
                wire.setblocking(False)
                count = wire.send(rest)
                rest, sent = rest[count:], sent + count
                wire.setblocking(True)
    raise Failed(raw.code(told), "")


def stopped(server, label, statement, offset, by_deadline):
    """Milliseconds from the order to stop to the error; None when the statement ended before."""
    with server.connect() as connection:
        if by_deadline:
            connection.execute(f"SET statement_timeout = {max(1, round(offset * 1000))}")
        ordered = []

        def order():
            ordered.append(time.monotonic())
            connection.cancel_safe(timeout=30)

        timer = threading.Timer(offset, order)
        started = time.monotonic()
        try:
            if not by_deadline:
                timer.start()
            run(connection, label, statement)
            return None
        except Failed as failed:
            ended = time.monotonic()
            if failed.args[0] != "57014":
                raise
            began = started + offset if by_deadline else ordered[0]
            assert drained(connection, "SET statement_timeout = 0; SELECT 1", PATIENCE) == ([("1",)], "SELECT 1")
            return max(0.0, ended - began) * 1e3
        finally:
            timer.cancel()
            if timer.ident:
                timer.join()


def files(server):
    """How many files of rows and models there are, and of what spilled."""
    kept = sum(path.is_file() for folder in ("tables", "models", "files") for path in (server.folder / folder).rglob("*"))
    return kept, sum(path.is_file() for path in SPILL.rglob("*"))


def state(steady):
    """What statements may not change half: rows, tables, models."""
    rows = steady.execute("SELECT count(*), sum(k), sum(length(word)) FROM target").fetchone()
    tables = steady.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'made'").fetchone()
    return rows, tables, steady.execute("SELECT name, active_version FROM ml.models ORDER BY name").fetchall()


def duration(server, label, statement, most):
    """Seconds that a statement takes, at most as long as is of use, and why it came to no end."""
    with server.connect() as connection:
        connection.execute(f"SET statement_timeout = {round(most * 1000)}")
        started = time.monotonic()
        try:
            run(connection, label, statement)
            return time.monotonic() - started, ""
        except Failed as failed:
            return time.monotonic() - started, "" if failed.args[0] == "57014" else f"{failed.args[0]} {failed.args[1][:100]}"


class Beside:
    """How long a SELECT takes that another client sends meanwhile: what a loaded machine adds to all figures."""

    def __init__(self, server):
        self.took, self.done = [], threading.Event()
        self.connection = server.connect()
        self.thread = threading.Thread(target=self.ask, daemon=True)
        self.thread.start()

    def ask(self):
        with contextlib.suppress(OSError):
            while not self.done.wait(0.05):
                started = time.monotonic()
                drained(self.connection, "SELECT 1", PATIENCE)
                self.took.append((time.monotonic() - started) * 1e3)

    def end(self):
        """Milliseconds of each."""
        self.done.set()
        self.thread.join()
        self.connection.close()
        return self.took


def settled(server, steady, kept, most=15):
    """Seconds until nothing works any more and no file is left, and what still was after all that."""
    started, left = time.monotonic(), []
    while (rest := time.monotonic() - started) < most:
        busy = server.processor_seconds()
        time.sleep(0.2)
        busy = (server.processor_seconds() - busy) / 0.2
        others = steady.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()").fetchone()[0]
        found = files(server)
        left = [words for wrong, words in ((busy > 0.3, f"{busy:.1f} processors work"), (others, f"{others} active"),
                                           (found != kept, f"files {kept} to {found}")) if wrong]
        if not left:
            return rest, []
    return rest, left


def trial(server, steady, kind, label, statement):
    """Orders to stop, half of them deadlines: the median and the 99th of 100, and what is left afterwards. True when it is all as it must be."""
    changes = (label, statement) in CHANGES
    long, trouble = (LONGEST, "") if changes or LIGHT else duration(server, label, statement, LONGEST * 1.2)
    if trouble and not trouble.startswith("53200"):
        print(f"NO     {label:<40} {trouble}", flush=True)
        return False
    random.seed(label)
    beside = Beside(server)
    before, kept, took, lies = state(steady), files(server), {True: [], False: []}, 0
    for number in range(TRIES):
        by_deadline = number % 2 == 1
        delay = stopped(server, label, statement, random.uniform(0.005, max(0.02, min(long, LONGEST) * 0.95)), by_deadline)
        if delay is not None:
            took[by_deadline].append(delay)
        if changes and (delay is None or state(steady) != before):
            lies += delay is not None
            break_down(steady)
            before, kept = state(steady), files(server)
    usual = percentile(beside.end(), 0.99)
    rest, left = settled(server, steady, kept)
    if rest > SETTLED:
        left.insert(0, f"settled after {rest:.1f} s")
    if lies or state(steady) != before:
        left.append(f"told that they were stopped, but committed: {lies}; {before}, now {state(steady)}")
    if server.status("VmRSS") > RESIDENT[kind]:
        left.append("much memory")
    bound = BOUNDS[kind == "model"]
    good = not left and percentile(took[False] + took[True], 0.99) <= bound
    times = f"cancelled {summary(took[False])}; deadline {summary(took[True])}; SELECT 1 beside {usual:.0f} ms"
    print(f"{'ok    ' if good else 'FAILED'} {label:<40} {times}  {server.status('VmRSS'):.0f} MiB {server.status('Threads')} threads, "
          f"load {os.getloadavg()[0]:.1f} {trouble[:60]} {'; '.join(left)}", flush=True)
    return good


def break_down(steady):
    """The tables as they were, after a statement that came to its end."""
    for line in ("DROP TABLE IF EXISTS made", "DROP TABLE target", "CREATE TABLE target AS SELECT * FROM big WHERE id <= 500000"):
        steady.execute(line)


def idle_within(steady, pid, most=10):
    """Milliseconds until a session does nothing any more, or is gone."""
    started = time.monotonic()
    while steady.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == ("active",):
        if time.monotonic() - started > most:
            return 1e3 * most
        time.sleep(0.002)
    return (time.monotonic() - started) * 1e3


# Clients whose sockets are closed under them: their numbers may be those of others by now.
GONE = []


def vanish(client, with_a_reset):
    GONE.append(client)
    with socket.socket(fileno=os.dup(client.fileno())) as wire:
        if with_a_reset:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(client.fileno())
        else:
            wire.shutdown(socket.SHUT_RDWR)


def stalled(server, steady, gone):
    """A client that does not read its rows is cancelled, or one is gone."""
    took = []
    for number in range(TRIES):
        client = server.connect()
        pid = client.info.backend_pid
        client.pgconn.send_query(b"SELECT * FROM generate_series(1, 20) AS s(x), big a")
        time.sleep(random.uniform(0.2, 0.6))
        assert steady.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == ("active",)
        if gone:
            vanish(client, with_a_reset=number % 2 == 1)
        else:
            client.cancel_safe()
        took.append(idle_within(steady, pid))
        if not gone:
            client.close()
    return took


def vanished(server, steady, statement):
    """A client goes away in the middle of a statement without rows."""
    took = []
    for number in range(TRIES):
        client = server.connect()
        client.pgconn.send_query(statement.encode())
        time.sleep(random.uniform(0.2, 1.0))
        pid = client.info.backend_pid
        vanish(client, with_a_reset=number % 2 == 1)
        took.append(idle_within(steady, pid))
    return took


def background(server, steady):
    """CANCEL TRAINING of a training beside other work."""
    took = []
    for _ in range(TRIES // 2):
        job = steady.execute(f"TRAIN FORECAST MODEL made {PANEL} USING tide WITH (background = true, epochs = 100)").fetchone()[0]
        time.sleep(random.uniform(0.2, 2.0))
        started = time.monotonic()
        steady.execute(f"CANCEL TRAINING {job}")
        while steady.execute(f"SELECT count(*) FROM pg_stat_progress_train WHERE job = {job}").fetchone() == (1,):
            assert time.monotonic() - started < 20
            time.sleep(0.002)
        took.append((time.monotonic() - started) * 1e3)
    return took


def report(label, took, bound):
    good = percentile(took, 0.99) <= bound
    print(f"{'ok    ' if good else 'FAILED'} {label:<40} p50 {percentile(took, 0.5):7.1f}  p99 {percentile(took, 0.99):7.1f}  max {max(took):7.1f} ms "
          f"of {len(took)}, load {os.getloadavg()[0]:.1f}", flush=True)
    return good


# MiB of a pool, and what may stay resident when all statements have ended.
LIMITS = {"sql": 512, "model": 4096}
RESIDENT = {"sql": 1.25 * 512 + 200, "model": 1024}
SPILL = ROOM / "spill"


def serve(kind, setup, checks):
    """Runs checks in a server with the memory of their kind, in a new one after each that breaks."""
    done, setup = [], list(setup)
    while len(done) < len(checks):
        with Server("limits", "--memory-limit", f"{LIMITS[kind]}MB", "--threads", "2") as server:
            steady = server.connect()
            while setup:
                steady.execute(setup.pop(0))
            for label, check in checks[len(done):]:
                try:
                    with Guard(server, 8000, 20 * PATIENCE):
                        done.append(check(server, steady))
                except (Failed, AssertionError, OSError, psycopg.Error) as error:
                    print(f"FAILED {label:<40} {type(error).__name__} {str(error)[:200]}", flush=True)
                    done.append(False)
                    break
    return done


def clients(server, steady):
    """Those that do not read, or are gone."""
    return all([report("client that stalls, cancelled", stalled(server, steady, False), BOUNDS[0]),
                report("client that stalls, gone", stalled(server, steady, True), 1000),
                report("client gone in a join", vanished(server, steady, dict(QUERIES)["cross join"]), 1000)])


def clients_of_trainings(server, steady):
    return all([report("client gone in TRAIN", vanished(server, steady, f"TRAIN FORECAST MODEL made {PANEL} USING tide"), 1250),
                report("CANCEL TRAINING", background(server, steady), BOUNDS[1])])


def main():
    chosen = [word for word in sys.argv[1:] if word != "light"]
    SPILL.mkdir()
    (ROOM / "limits" / "files").mkdir(parents=True)
    os.environ["TMPDIR"] = str(SPILL)
    wanted = lambda group, label: label in LIGHT_ONES if LIGHT else not chosen or group in chosen or label in chosen
    checks = {"sql": [], "model": []}
    for group, kind, cases in (("queries", "sql", QUERIES), ("changes", "sql", CHANGES), ("models", "model", TRAININGS)):
        for case in cases:
            if wanted(group, case[0]):
                checks[kind].append((case[0], lambda server, steady, kind=kind, case=case: trial(server, steady, kind, *case)))
    if LIGHT or not chosen or "clients" in chosen:
        checks["sql"].append(("clients", clients))
        checks["model"].append(("clients of trainings", clients_of_trainings))
    done = serve("sql", SETUP, checks["sql"])
    if checks["model"]:
        done += serve("model", MODELS[:1] if LIGHT else MODELS, checks["model"])
    print(f"{done.count(False)} of {len(done)} failed", flush=True)
    # Sockets of clients that are gone are not closed once more.
    os._exit(min(done.count(False), 100))


if __name__ == "__main__":
    main()
