"""psycopg 3: pipelines, server-side cursors, COPY, binary results, types, notices, cancel."""
import datetime
import decimal
import threading
import time

import psycopg

with psycopg.connect(autocommit=True) as connection:
    row = connection.execute("SELECT * FROM orders WHERE order_id = %s", [4]).fetchone()
    when = datetime.datetime(2024, 1, 1, 4, tzinfo=datetime.timezone.utc)
    assert row == (4, 2, when, 4, decimal.Decimal("6.00"), "web", False, 0.5, 0.25, None), row
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        values = cursor.execute("SELECT price, tags, ordered_at, is_promo FROM orders WHERE order_id = 5").fetchone()
        assert values[0] == decimal.Decimal("7.50") and values[1] == ["a", "b"] and values[3] is True, values
    many = connection.execute("SELECT order_id FROM orders WHERE order_id = ANY(%s) ORDER BY 1", [[3, 1, 2]])
    assert [r[0] for r in many] == [1, 2, 3]
    for _ in range(7):  # prepared by the driver after five
        assert connection.execute("SELECT count(*) FROM orders WHERE qty > %s", [5]).fetchone() == (71,)
    with connection.pipeline():
        first = connection.execute("SELECT 1")
        second = connection.execute("SELECT %s::text", ["x"])
    assert (first.fetchone(), second.fetchone()) == ((1,), ("x",))
    with connection.transaction():
        with connection.cursor(name="c") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT order_id FROM orders ORDER BY 1")
            assert [r[0] for r in cursor] == list(range(1, 501))
            cursor.scroll(10, mode="absolute") if cursor.scrollable else None
    connection.execute("CREATE TABLE taken_psycopg3 (a int, b text, c numeric(10,2), d timestamptz)")
    with connection.cursor().copy("COPY taken_psycopg3 FROM STDIN") as copy:
        for n in range(1000):
            copy.write_row((n, f"row {n}\t\\", decimal.Decimal("1.25"), when))
    with connection.cursor().copy("COPY taken_psycopg3 FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text", "numeric", "timestamptz"])
        copy.write_row((1000, None, decimal.Decimal("-7.5"), when))
    assert connection.execute("SELECT count(*), sum(c), count(b) FROM taken_psycopg3").fetchone() == (1001, decimal.Decimal("1242.50"), 1000)
    for options in ("", "(FORMAT binary)"):
        with connection.cursor().copy(f"COPY (SELECT a FROM taken_psycopg3 WHERE a < 3 ORDER BY a) TO STDOUT {options}") as copy:
            copy.set_types(["int4"])
            rows = list(copy.rows())
        assert [int(r[0]) for r in rows] == [0, 1, 2], rows
    connection.execute("DROP TABLE taken_psycopg3")
    returned = connection.execute("CREATE TABLE kept (a int)") and connection.execute("INSERT INTO kept VALUES (1), (2) RETURNING a")
    assert [r[0] for r in returned] == [1, 2]
    connection.execute("DROP TABLE kept")
    try:
        connection.execute("SELECT * FROM nowhere")
        raise AssertionError("no error")
    except psycopg.errors.UndefinedTable as error:
        assert error.diag.message_primary.startswith("no table nowhere"), error
    notices = []
    connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    connection.execute("DROP TABLE IF EXISTS nowhere")
    assert notices == ["table nowhere does not exist, skipping"], notices
    threading.Timer(0.3, connection.cancel).start()
    started = time.monotonic()
    try:
        connection.execute("SELECT pg_sleep(30)")
        raise AssertionError("not cancelled")
    except psycopg.errors.QueryCanceled:
        assert time.monotonic() - started < 2
    info = psycopg.types.TypeInfo.fetch(connection, "text")
    assert info.oid == 25 and info.array_oid == 1009, info
with psycopg.connect(autocommit=True) as connection:
    # What is kept of constant statements by their texts has no values of others in it, and is no COPY.
    for _ in range(2):
        assert connection.execute("SELECT %s::text", ("secret",)).fetchone() == ("secret",)
        with connection.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
            assert list(copy.rows()) == [("1",)]
    asked = connection.pgconn.exec_(b"SELECT $1::text")
    assert asked.status == psycopg.pq.ExecStatus.FATAL_ERROR, asked.get_value(0, 0)
with psycopg.connect() as connection:
    connection.execute("CREATE TEMP TABLE t (a int)")
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.execute("SELECT count(*) FROM t")
