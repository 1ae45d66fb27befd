"""Figures of a server: cancel, catalogue of 1,000 tables, memory of idle connections, a crowd. Needs a release build:
FORETELL_BIN=…/release/foretell tests/clients/run measure"""
import os
import random
import statistics
import subprocess
import threading
import time

import psycopg

SERVER = int(os.environ["FORETELL_PID"])


def resident():
    with open(f"/proc/{SERVER}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(label, values, unit="ms"):
    print(f"{label:<44} p50 {percentile(values, 0.5):8.1f}  p95 {percentile(values, 0.95):8.1f}  "
          f"p99 {percentile(values, 0.99):8.1f}  max {max(values):8.1f} {unit}")


main = psycopg.connect("", autocommit=True)

# Memory of connections that are idle, and of rows that stream by.
warm = [psycopg.connect("") for _ in range(20)]
before = resident()
idle = [psycopg.connect("") for _ in range(1000)]
time.sleep(1)
print(f"idle connection: {(resident() - before) * 1024 / len(idle):.1f} KiB")
main.execute("CREATE TABLE wide AS SELECT g::int AS a, (g % 100)::smallint AS b, DATE '2020-01-01' + (g % 1000)::int AS c, "
             "(g * 7 % 100000)::int AS d, g / 3.0::double precision AS e, 'item-' || (g % 5000) AS f FROM generate_series(1, 2000000) AS t(g)")
main.execute("SELECT count(*) FROM wide")
before, highest = resident(), [0.0]
with psycopg.connect("") as reader:
    # One row a message, so that 2 M rows pass by.
    for number, _ in enumerate(reader.cursor().stream("SELECT * FROM wide")):
        if number % 50_000 == 0:
            highest.append(resident())
print(f"2 M rows by extended protocol: +{max(highest) - before:.1f} MiB")

# A crowd beside them.
stop, failures, answers = time.time() + float(os.environ.get("FORETELL_CROWD_SECONDS", "60")), [], []


def visitor(number):
    try:
        with psycopg.connect("", autocommit=True) as connection:
            while time.time() < stop:
                started = time.time()
                connection.execute("SELECT channel, sum(qty) FROM orders WHERE order_id > %s GROUP BY channel", (number,)).fetchall()
                answers.append((time.time() - started) * 1e3)
    except psycopg.Error as error:
        failures.append(error)


before = resident()
crowd = [threading.Thread(target=visitor, args=(number,)) for number in range(64)]
for thread in crowd:
    thread.start()
sizes = []
while time.time() < stop:
    time.sleep(5)
    sizes.append(resident())
for thread in crowd:
    thread.join()
assert not failures, failures[:3]
report(f"1,000 idle and 64 active, {len(answers)} answers", answers)
print(f"memory beside them: {sizes[0]:.0f} MiB after 5 s, {max(sizes):.0f} at most, {sizes[-1]:.0f} at the end")
for connection in idle:
    connection.close()

# Cancel, as the client sees it.
HUGE = "generate_series(1, 10000000)"
CANCELLED = {
    "scan": f"SELECT max(a.d + b.d) FROM wide a, {HUGE} AS s(x), wide b",
    "aggregate": f"SELECT x % 1000003, count(*) FROM generate_series(1, 300000000) AS s(x) GROUP BY 1",
    "sort": f"SELECT x FROM generate_series(1, 100000000) AS s(x) ORDER BY x % 1000003 DESC, x OFFSET 99999990",
    "hash join": f"SELECT count(*) FROM {HUGE} AS a(x), {HUGE} AS b(y) WHERE a.x % 1000 = b.y % 1000",
    "cross join": f"SELECT count(*) FROM {HUGE} AS a(x), {HUGE} AS b(y)",
    "window": f"SELECT max(s) FROM (SELECT sum(x) OVER (PARTITION BY x % 7 ORDER BY x) AS s FROM generate_series(1, 30000000) AS s(x)) AS w",
    "train": "TRAIN OR REPLACE FORECAST MODEL slow ON noise TARGET units PARTITION BY store_id, item_id ORDER BY sale_date HORIZON 28 WITH (epochs = 500)",
}
main.execute("CREATE TABLE noise AS SELECT * FROM synthetic_sales(series => 200, days => 700, seed => 7)")
for label, statement in CANCELLED.items():
    took = []
    for _ in range(20):
        connection = psycopg.connect("", autocommit=True)
        cancelled_at = []

        def cancel():
            cancelled_at.append(time.time())
            connection.cancel_safe()

        timer = threading.Timer(random.uniform(0.2, 1.0), cancel)
        timer.start()
        try:
            connection.execute(statement)
            raise AssertionError(f"{label} came to its end")
        except psycopg.errors.QueryCanceled:
            took.append((time.time() - cancelled_at[0]) * 1e3)
        timer.join()
        connection.close()
    report(f"cancel: {label}", took)

# The same while the client does not read: the server is stuck in the middle of its rows.
took = []
for _ in range(20):
    connection = psycopg.connect("", autocommit=True)
    state = ("SELECT state FROM pg_stat_activity WHERE pid = %s", (connection.info.backend_pid,))
    connection.pgconn.send_query(b"SELECT * FROM wide")
    time.sleep(random.uniform(0.3, 0.6))
    assert main.execute(*state).fetchone() == ("active",)
    cancelled_at = time.time()
    connection.cancel_safe()
    while main.execute(*state).fetchone() == ("active",):
        time.sleep(0.001)
    took.append((time.time() - cancelled_at) * 1e3)
    connection.close()
report("cancel: streaming to a client that stalls", took)

# The catalogue of 1,000 tables.
for number in range(1000):
    main.execute(f"CREATE TABLE many_{number} (id BIGINT NOT NULL, day DATE, units INT, note VARCHAR(20))")
CATALOGUE = {
    r"psql \d": "SELECT n.nspname, c.relname, c.relkind, pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class c "
                "LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r','p','v','m','S','f','') "
                "AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' "
                "AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2",
    "columns of one table": "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_catalog.pg_attribute a "
                            "WHERE a.attrelid = 'many_500'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    "information_schema.tables": "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = 'public'",
    "information_schema.columns of one": "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'many_500'",
    "information_schema.columns": "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'",
}
for label, statement in CATALOGUE.items():
    took = []
    for _ in range(100):
        started = time.time()
        assert main.execute(statement).fetchall()
        took.append((time.time() - started) * 1e3)
    report(f"1,000 tables: {label}", took)
