"""INSERTs of one row a second: from one session, from 16 into one table, which share commits, and from 16 into a table
each, which share none. Needs a release build: FORETELL_BIN=…/release/foretell tests/clients/run commits"""
import os
import statistics
import threading
import time

import psycopg

SECONDS = float(os.environ.get("FORETELL_COMMIT_SECONDS", "10"))


def inserted(number, table, end, took):
    """Rows until the end, each acknowledged before the next."""
    with psycopg.connect("", autocommit=True) as connection:
        while time.monotonic() < end:
            started = time.monotonic()
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", (number * 1_000_000 + len(took), "abc"))
            took.append((time.monotonic() - started) * 1e3)


def measure(label, sessions, tables):
    with psycopg.connect("", autocommit=True) as connection:
        names = [f"commits_{n}" for n in range(tables)]
        for name in names:
            connection.execute(f"CREATE TABLE {name} (id bigint, s text)")
        end, took = time.monotonic() + SECONDS, [[] for _ in range(sessions)]
        threads = [threading.Thread(target=inserted, args=(n, names[n % tables], end, took[n])) for n in range(sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        acknowledged = sum(map(len, took))
        kept = [connection.execute(f"SELECT count(*), count(DISTINCT id) FROM {name}").fetchone() for name in names]
        assert [sum(column) for column in zip(*kept)] == [acknowledged] * 2, f"{acknowledged} acknowledged, kept {kept}"
        for name in names:
            connection.execute(f"DROP TABLE {name}")
    every = sorted(sum(took, []))
    print(f"{label:<36} {acknowledged / SECONDS:6.0f} a second; p50 {statistics.median(every):6.1f}  "
          f"p99 {every[int(len(every) * 0.99)]:6.1f}  max {every[-1]:6.1f} ms", flush=True)


measure("one session", 1, 1)
measure("16 sessions, one table", 16, 1)
measure("16 sessions, a table each", 16, 16)
