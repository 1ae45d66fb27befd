"""psycopg 3: pipelines, server-side cursors, COPY, binary results, trainings, and codes, tags and sessions as of PostgreSQL."""
import datetime
import decimal
import json
import re
import select
import tempfile
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

wrong = []


def expect(wanted, got, what):
    if got != wanted:
        wrong.append(f"{what}: {got!r}, not {wanted!r}")


def outcome(connection, statement, extended=False):
    """SQLSTATE and position of the error, or the command tag; a cursor of binary results uses the extended protocol."""
    cursor = connection.cursor(binary=extended)
    try:
        cursor.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate, error.diag.statement_position
    return cursor.statusmessage


def rows(connection, statement):
    return connection.execute(statement).fetchall()


def error_of(result):
    return (result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b"").decode()


def copied(pg, statement, sent=None, extended=True):
    """Tag or SQLSTATE of a COPY, and the rows that come out; drivers do not use the extended protocol for it."""
    pg.send_query_params(statement.encode(), None) if extended else pg.send_query(statement.encode())
    result, out = pg.get_result(), []
    if result.status == psycopg.pq.ExecStatus.COPY_OUT:
        while (data := pg.get_copy_data(0))[0] > 0:
            out.append(bytes(data[1]))
    elif result.status == psycopg.pq.ExecStatus.COPY_IN:
        pg.put_copy_data(sent)
        pg.put_copy_end()
    while following := pg.get_result():
        result = following
    return error_of(result) or result.command_status.decode(), out


TIDE = "ON sales TARGET units ORDER BY day HORIZON 7 USING tide WITH (epochs = {}, early_stop = 10000{})"
CALL = "SELECT * FROM train_forecast_model('{}', on => 'sales', target => 'units', order_by => 'day', horizon => 7{})"


def training():
    """Notices while it trains, the function, cancel, and work in the background."""
    connection = psycopg.connect(autocommit=True)
    heard = []
    connection.add_notice_handler(lambda notice: heard.append(
        (time.monotonic(), notice.severity, notice.sqlstate, notice.message_primary, notice.message_detail)))

    def tells(statement, extended):
        heard.clear()
        started = time.monotonic()
        cursor = connection.cursor(binary=extended)
        trained = cursor.execute(statement).fetchall()
        seconds = time.monotonic() - started
        expect(1, len(trained), f"rows of {statement}")
        # One an epoch, at most one a second; a slow machine may miss some.
        expect(True, len(heard) >= max(1, seconds // 2), f"{len(heard)} notices in {seconds:.1f} s of {statement}")
        if seconds > 2 and heard:
            expect(True, heard[0][0] - started < seconds / 2, f"{statement} says nothing until its end")
        gaps = [later[0] - sooner[0] for sooner, later in zip(heard, heard[1:])]
        expect([], [gap for gap in gaps if gap < 0.9], f"gaps between the notices of {statement}")
        fractions = []
        for _, severity, code, message, text in heard:
            expect(("NOTICE", "00000"), (severity, code), message)
            detail = json.loads(text)
            fractions.append(detail["fraction"])
            expect(True, f"{detail['phase']} epoch {detail['epoch']} of {detail['epochs']}, loss" in message, message)
            right = detail["train_loss"] > 0 and 0 < detail["fraction"] <= 1
            expect(True, right, f"detail {detail}")
        expect(sorted(set(fractions)), fractions, f"how far {statement} says it is")

    for extended in (False, True):
        tells(f"TRAIN OR REPLACE FORECAST MODEL told {TIDE.format(3, '')}", extended)
        tells(f"TRAIN OR REPLACE FORECAST MODEL told {TIDE.format(400, '')}", extended)
        tells(CALL.format("told", ", using => 'tide', epochs => 5, replace => true"), extended)
    cursor = connection.execute(CALL.format("called", ", using => 'seasonal_naive'"))
    trained = dict(zip([column.name for column in cursor.description], cursor.fetchone()))
    expect(("called", 1, 1, 121), tuple(trained[name] for name in ("model", "version", "series", "rows")), "the function")
    expect([(7,)], rows(connection, "SELECT count(*) FROM forecast(called)"), "a forecast of the function's model")
    connection.execute("DROP MODEL called")

    before = rows(connection, "SELECT name, active_version FROM ml.models ORDER BY name")
    for statement in (f"TRAIN FORECAST MODEL stopped {TIDE.format(100000, '')}",
                      f"TRAIN OR REPLACE FORECAST MODEL told {TIDE.format(100000, '')}",
                      CALL.format("stopped", ", using => 'tide', epochs => 100000, early_stop => 10000")):
        for extended in (False, True):
            threading.Timer(0.7, connection.cancel).start()
            started = time.monotonic()
            expect(("57014", None), outcome(connection, statement, extended), f"cancel of {statement}")
            expect(True, time.monotonic() - started < 5, f"a slow cancel of {statement}")
    expect(before, rows(connection, "SELECT name, active_version FROM ml.models ORDER BY name"), "models after cancels")
    expect(("42704", None), outcome(connection, "DROP MODEL stopped"), "the model of a cancelled training")

    statement = f"TRAIN FORECAST MODEL behind {TIDE.format(100000, ', background = true')}"
    started = time.monotonic()
    (job, model), = rows(connection, statement)
    expect(True, time.monotonic() - started < 2, f"{statement} takes its time")
    expect("behind", model, statement)
    with psycopg.connect(autocommit=True) as other:
        progress = ("SELECT model, epochs, percent < 100, loss > 0, elapsed > 0 FROM pg_stat_progress_train "
                    f"WHERE job = {job} AND phase = 'fit' AND loss IS NOT NULL")
        shown = until(lambda: rows(other, progress))
        expect([("behind", 100000, True, True, True)], shown, "pg_stat_progress_train")
        status = f"SELECT status FROM ml.training_jobs WHERE job = {job}"
        expect([("running",)], rows(other, status), "a job that runs")
        expect(True, job in [line[0] for line in rows(other, "SHOW TRAINING JOBS")], "SHOW TRAINING JOBS")
        other.execute(f"CANCEL TRAINING {job}")
        expect([("cancelled",)], until(lambda: rows(other, f"{status} AND status <> 'running'")), "a cancelled job")
        expect([], rows(other, "SELECT * FROM pg_stat_progress_train"), "progress of nothing")
        expect(before, rows(other, "SELECT name, active_version FROM ml.models ORDER BY name"), "models after CANCEL TRAINING")
    connection.execute("DROP MODEL told")
    connection.close()


def until(ask, seconds=20):
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


# The code of each statement, by both protocols, as of PostgreSQL 15.
CODES = {
    "42P01": ["SELECT * FROM nowhere", "INSERT INTO nowhere VALUES (1)", "UPDATE nowhere SET a = 1", "DROP TABLE nowhere",
              "TRUNCATE nowhere", "COPY nowhere TO STDOUT", "ALTER TABLE nowhere ADD COLUMN a int", "SELECT nextval('nowhere')"],
    "42703": ["SELECT nothing FROM coded", "SELECT t.nothing FROM coded t", "SELECT c.nothing FROM coded c",
              "SELECT a FROM coded ORDER BY nothing",
              "UPDATE coded SET nothing = 1", "INSERT INTO coded (nothing) VALUES (1)", "DELETE FROM coded WHERE nothing = 1",
              "COPY coded (nothing) TO STDOUT", "PREPARE p AS SELECT nothing FROM coded"],
    "42601": ["SELEC 1", "SELECT 1 +", "SELECT 'open", "SELECT a FROM coded WHERE", "INSERT INTO coded VALUES (1, 'x', 1, 1)"],
    "42883": ["SELECT nothing(1)", "SELECT abs('x', 2)", "SELECT pg_sleep('a', 'b')"],
    "42701": ["ALTER TABLE coded ADD COLUMN a int", "CREATE TABLE twice (a int, a int)"],
    "42702": ["SELECT a FROM coded x, coded y"],
    "42704": ["DROP ROLE nobody", "GRANT SELECT ON coded TO nobody", "SET nothing = 1", "SHOW nothing"],
    "42803": ["SELECT a, b FROM coded GROUP BY b"],
    "42P07": ["CREATE TABLE coded (a int)"],
    "3F000": ["CREATE TABLE nowhere.t (a int)"],
    "22012": ["SELECT 1/0", "SELECT a/0 FROM coded", "SELECT 1 % 0", "SELECT 1 FROM coded WHERE 1/(a - a) = 1"],
    "22P02": ["SELECT 'x'::int", "SELECT 'x'::float8", "SELECT 'x'::numeric(10,2)", "SELECT 'x'::bool",
              "SELECT b::int FROM coded", "SELECT '{1,2'::int[]", "SELECT a FROM coded WHERE a = 'x'",
              "INSERT INTO coded VALUES ('x', 'x', 1)"],
    "22003": ["SELECT 3000000000::int", "SELECT 40000::int2", "INSERT INTO coded VALUES (3000000000, 'x', 1)",
              "SELECT '99999999999'::int", "SELECT 123456::numeric(4,2)"],
    "23502": ["INSERT INTO coded VALUES (NULL, 'x', 1)", "UPDATE coded SET a = NULL", "INSERT INTO coded (b) VALUES ('x')"],
    "23514": ["INSERT INTO coded VALUES (1, 'x', -1)", "UPDATE coded SET c = 0"],
    "26000": ["EXECUTE nothing", "DEALLOCATE nothing"],
    "34000": ["FETCH nothing", "CLOSE nothing", "MOVE nothing"],
    "3B001": ["BEGIN; ROLLBACK TO nothing"],
    "25006": ["BEGIN READ ONLY; INSERT INTO coded VALUES (1, 'x', 1)", "BEGIN READ ONLY; CREATE TABLE t (a int)",
              "BEGIN READ ONLY; DROP TABLE coded", "BEGIN READ ONLY; TRUNCATE coded"],
    "25P01": ["SAVEPOINT s", "DECLARE c CURSOR FOR SELECT 1"],
    "25P02": ["BEGIN; SELECT 1/0; SELECT 1", "BEGIN; SELECT 1/0; INSERT INTO coded VALUES (1, 'x', 1)"],
    "57014": ["SET statement_timeout = 100; SELECT pg_sleep(9)"],
}
# Where the column that does not exist stands, and what else an error points at.
PLACES = ["SELECT ^nothing FROM coded", "  \n-- é comment\n /* x */ SELECT ^nothing FROM coded",
          "/* é */ SELECT 'é', t.a, ^t.nothing FROM coded t", "\t\n SELECT a FROM coded WHERE ^nothing = 1",
          "-- x\nDELETE FROM coded WHERE ^nothing = 1", "  EXPLAIN SELECT ^nothing FROM coded",
          "  PREPARE p AS SELECT ^nothing FROM coded", "  DECLARE c CURSOR WITH HOLD FOR SELECT ^nothing FROM coded",
          "-- x\nSELECT * FROM ^nowhere", "\n SELECT ^nothing(1)", " /* x */ ^SELEC 1",
          "SELECT a FROM coded ORDER BY ^nothing", "SELECT count(*) FROM coded GROUP BY ^nothing", "INSERT INTO ^nowhere VALUES (1)",
          "INSERT INTO coded (a, ^nothing) VALUES (1, 2)", "UPDATE ^nowhere SET a = 1", "UPDATE coded SET ^nothing = 1"]


def codes():
    """SQLSTATE and position of errors, by the simple and the extended protocol."""
    connection = psycopg.connect(autocommit=True)
    connection.execute("DROP TABLE IF EXISTS coded")
    connection.execute("CREATE TABLE coded (a int NOT NULL, b text, c int CHECK (c > 0))")
    connection.execute("INSERT INTO coded VALUES (1, 'x', 1)")

    def failure(statement, extended):
        *first, last = statement.split("; ")
        for before in first:
            outcome(connection, before, extended)
        got = outcome(connection, last, extended)
        if connection.info.transaction_status:
            connection.execute("ROLLBACK")
        connection.execute("RESET statement_timeout")
        return got

    for extended in (False, True):
        how = "extended" if extended else "simple"
        for code, statements in CODES.items():
            for statement in statements:
                expect(code, failure(statement, extended)[0], f"code of {statement}, {how}")
        for marked in PLACES:
            statement = marked.replace("^", "")
            expect(str(marked.index("^") + 1), failure(statement, extended)[1], f"position in {statement!r}, {how}")
    expect(rows(connection, "SELECT * FROM coded"), [(1, "x", 1)], "the table after its errors")
    # After an error in a pipeline what follows is skipped, and after its end all is well.
    try:
        with connection.pipeline():
            connection.execute("SELECT 1/0")
            connection.execute("INSERT INTO coded VALUES (2, 'x', 1)")
    except psycopg.Error as error:
        expect("22012", error.sqlstate, "a pipeline")
    expect([(1,)], rows(connection, "SELECT count(*) FROM coded"), "rows after a pipeline")
    connection.execute("DROP TABLE coded")
    connection.close()
    for wished, code in (({"dbname": "nowhere"}, "3D000"), ({"password": "wrong"}, "28P01"),
                         ({"user": "nobody", "password": "x"}, "28P01")):
        expect(code, refused(**wished), f"a login with {wished}")


def refused(**wished):
    """The code of a login's error, from libpq's trace: it tells it nowhere else."""
    pg = psycopg.pq.PGconn.connect_start(psycopg.conninfo.make_conninfo("", **wished).encode())
    waits = {psycopg.pq.PollingStatus.READING: ([pg.socket], []), psycopg.pq.PollingStatus.WRITING: ([], [pg.socket])}
    with tempfile.TemporaryFile() as trace:
        pg.trace(trace.fileno())
        while wait := waits.get(pg.connect_poll()):
            select.select(*wait, [], 10)
        pg.untrace()
        trace.seek(0)
        found = re.findall(r'ErrorResponse\t.* C "(\w+)"', trace.read().decode())
    return found[0] if found else "no error"


# Statements in the order they run, and the command tags that PostgreSQL 15 answers.
TAGS = """
CREATE TABLE tagged (a int, b text) -> CREATE TABLE
CREATE TABLE IF NOT EXISTS tagged (a int) -> CREATE TABLE
INSERT INTO tagged VALUES (1, 'x'), (2, 'y'), (3, NULL) -> INSERT 0 3
INSERT INTO tagged SELECT 9, 'z' WHERE false -> INSERT 0 0
INSERT INTO tagged VALUES (4, 'w') RETURNING a -> INSERT 0 1
UPDATE tagged SET b = 'q' WHERE a > 2 -> UPDATE 2
UPDATE tagged SET b = 'q' WHERE a > 3 RETURNING a -> UPDATE 1
UPDATE tagged SET b = 'q' WHERE a > 100 -> UPDATE 0
DELETE FROM tagged WHERE a = 1 -> DELETE 1
DELETE FROM tagged WHERE a = 2 RETURNING * -> DELETE 1
DELETE FROM tagged WHERE a = 100 -> DELETE 0
SELECT * FROM tagged -> SELECT 2
SELECT * FROM tagged WHERE false -> SELECT 0
VALUES (1), (2) -> SELECT 2
WITH w AS (SELECT 1) SELECT * FROM w -> SELECT 1
CREATE TABLE tagged2 AS SELECT * FROM tagged -> SELECT 2
EXPLAIN SELECT 1 -> EXPLAIN
ALTER TABLE tagged ADD COLUMN c int -> ALTER TABLE
ALTER TABLE tagged RENAME COLUMN c TO d -> ALTER TABLE
ALTER TABLE tagged2 RENAME TO tagged3 -> ALTER TABLE
CREATE INDEX tagged_a ON tagged (a) -> CREATE INDEX
DROP INDEX tagged_a -> DROP INDEX
CREATE VIEW tagged_v AS SELECT * FROM tagged -> CREATE VIEW
CREATE OR REPLACE VIEW tagged_v AS SELECT * FROM tagged -> CREATE VIEW
COMMENT ON TABLE tagged IS 'x' -> COMMENT
COMMENT ON COLUMN tagged.a IS NULL -> COMMENT
CREATE ROLE tagger -> CREATE ROLE
ALTER ROLE tagger LOGIN -> ALTER ROLE
GRANT SELECT ON tagged TO tagger -> GRANT
REVOKE SELECT ON tagged FROM tagger -> REVOKE
DROP ROLE tagger -> DROP ROLE
CREATE USER tagger PASSWORD 'x' -> CREATE ROLE
DROP USER tagger -> DROP ROLE
CREATE SCHEMA tagged_s -> CREATE SCHEMA
DROP SCHEMA tagged_s -> DROP SCHEMA
CREATE SEQUENCE tagged_q -> CREATE SEQUENCE
DROP SEQUENCE tagged_q -> DROP SEQUENCE
BEGIN -> BEGIN
SAVEPOINT s -> SAVEPOINT
ROLLBACK TO SAVEPOINT s -> ROLLBACK
RELEASE SAVEPOINT s -> RELEASE
SET LOCAL work_mem = '4MB' -> SET
COMMIT -> COMMIT
START TRANSACTION -> START TRANSACTION
ROLLBACK -> ROLLBACK
BEGIN READ ONLY -> BEGIN
END -> COMMIT
BEGIN -> BEGIN
SELECT 1/0 -> ('22012', None)
COMMIT -> ROLLBACK
SET work_mem = '4MB' -> SET
SET TIME ZONE 'UTC' -> SET
SHOW work_mem -> SHOW
RESET work_mem -> RESET
PREPARE tag AS SELECT a FROM tagged -> PREPARE
EXECUTE tag -> SELECT 2
DEALLOCATE tag -> DEALLOCATE
PREPARE tag AS INSERT INTO tagged VALUES (7, 'p') -> PREPARE
EXECUTE tag -> INSERT 0 1
DEALLOCATE ALL -> DEALLOCATE ALL
BEGIN -> BEGIN
DECLARE tagged_c CURSOR FOR SELECT generate_series(1, 6) -> DECLARE CURSOR
FETCH 2 FROM tagged_c -> FETCH 2
MOVE 1 IN tagged_c -> MOVE 1
FETCH ALL FROM tagged_c -> FETCH 3
FETCH tagged_c -> FETCH 0
CLOSE tagged_c -> CLOSE CURSOR
CLOSE ALL -> CLOSE CURSOR ALL
COMMIT -> COMMIT
TRUNCATE TABLE tagged -> TRUNCATE TABLE
DISCARD ALL -> DISCARD ALL
LISTEN tagged -> LISTEN
UNLISTEN tagged -> UNLISTEN
DROP VIEW tagged_v -> DROP VIEW
DROP TABLE tagged, tagged3 -> DROP TABLE
DROP TABLE IF EXISTS tagged -> DROP TABLE
""".strip().splitlines()


def tags():
    """Command tags, by the simple and the extended protocol."""
    connection = psycopg.connect(autocommit=True)
    for extended in (False, True):
        for line in TAGS:
            statement, tag = line.split(" -> ")
            expect(tag, str(outcome(connection, statement, extended)), f"tag of {statement}, extended {extended}")
    connection.execute("CREATE TABLE tagged (a int, b text)")
    for extended in (False, True):
        def copy(statement, sent=None):
            return copied(connection.pgconn, statement, sent, extended)

        how = "extended" if extended else "simple"
        expect(("COPY 2", []), copy("COPY tagged FROM STDIN", b"1\tx\n2\t\\N\n"), f"COPY FROM, {how}")
        expect(("COPY 1", []), copy("COPY tagged FROM STDIN (FORMAT csv)", b'3,"y"\n'), f"COPY FROM of CSV, {how}")
        expect(("22P02", []), copy("COPY tagged FROM STDIN", b"x\ty\n"), f"COPY FROM of a wrong value, {how}")
        out = [b"1\tx\n", b"2\t\\N\n", b"3\ty\n"]
        tag, lines = copy("COPY tagged TO STDOUT")
        expect(("COPY 3", out), (tag, sorted(lines)), f"COPY TO, {how}")
        expect(("COPY 3", out), copy("COPY (SELECT * FROM tagged ORDER BY a) TO STDOUT"), f"COPY of a query, {how}")
        connection.execute("TRUNCATE tagged")
    connection.execute("DROP TABLE tagged")
    connection.close()


def sessions():
    """What is of one session, of one transaction, and of cursors."""
    one, other = psycopg.connect(autocommit=True), psycopg.connect(autocommit=True)
    settings = {"TimeZone": "Asia/Tokyo", "search_path": "pg_catalog", "statement_timeout": "77s", "work_mem": "9MB",
                "application_name": "leaky", "default_transaction_read_only": "on", "client_min_messages": "error"}
    fresh = {name: rows(other, f"SHOW {name}") for name in settings}
    one.execute("CREATE TEMP TABLE of_one (a int)")
    one.execute("PREPARE of_one AS SELECT 1")
    for name, value in settings.items():
        one.execute(f"SET {name} = '{value}'")
    with psycopg.connect(autocommit=True) as third:
        for name, value in settings.items():
            expect(True, rows(one, f"SHOW {name}") != fresh[name], f"SET {name} does nothing")
            expect(fresh[name], rows(other, f"SHOW {name}"), f"{name} in another session")
            expect(fresh[name], rows(third, f"SHOW {name}"), f"{name} in a new session")
    expect("25006", outcome(one, "CREATE TABLE t (a int)")[0], "default_transaction_read_only")
    expect("42P01", outcome(other, "SELECT * FROM of_one")[0], "a temporary table in another session")
    expect("26000", outcome(other, "EXECUTE of_one")[0], "a prepared statement in another session")
    one.close()

    # A moment as a cast, as a column and by to_char shows the zone that is set, which ends with its transaction.
    shown = ("SELECT '2024-07-01 12:00:00+00'::timestamptz, moment, to_char(moment, 'HH24:MI'), current_setting('TimeZone'), "
             "now() FROM (SELECT '2024-07-01 12:00:00+00'::timestamptz AS moment) AS t")
    utc, tokyo = (12, 12, "12:00", "UTC", 0), (21, 21, "21:00", "Asia/Tokyo", 9 * 3600)

    def look():
        cast, column, text, zone, now = rows(other, shown)[0]
        return cast.hour, column.hour, text, zone, now.utcoffset().total_seconds()

    other.execute("SET TIME ZONE 'UTC'")
    for ends in (["COMMIT"], ["ROLLBACK"], ["SELECT 1/0", "COMMIT"], ["SELECT 1/0", "ROLLBACK"]):
        for setting in ("SET LOCAL TIME ZONE 'Asia/Tokyo'", "SET LOCAL TimeZone = 'Asia/Tokyo'"):
            other.execute("BEGIN")
            other.execute(setting)
            expect(tokyo, look(), f"after {setting}")
            for end in ends:
                outcome(other, end)
            expect(utc, look(), f"{setting} after {ends}")
    other.execute("BEGIN")
    other.execute("SET TIME ZONE 'Asia/Tokyo'")
    other.execute("ROLLBACK")
    expect(utc, look(), "SET TIME ZONE of a transaction that is rolled back")
    other.execute("BEGIN")
    other.execute("SET TIME ZONE 'Asia/Tokyo'")
    other.execute("COMMIT")
    expect(tokyo, look(), "SET TIME ZONE of a transaction that is committed")

    # Cursors WITH HOLD live on after COMMIT, others do not; ROLLBACK ends both.
    for end, left in (("COMMIT", [(3,), (4,)]), ("ROLLBACK", ("34000", None))):
        for line in ("BEGIN", "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 5)",
                     "DECLARE plain CURSOR FOR SELECT generate_series(1, 5)"):
            other.execute(line)
        for name in ("held", "plain"):
            expect([(1,), (2,)], rows(other, f"FETCH 2 FROM {name}"), f"rows of the cursor {name}")
        other.execute(end)
        expect(("34000", None), outcome(other, "FETCH plain"), f"a cursor after {end}")
        try:
            got = rows(other, "FETCH 2 FROM held")
        except psycopg.Error as error:
            got = error.sqlstate, None
        expect(left, got, f"a cursor WITH HOLD after {end}")
        other.execute("CLOSE ALL")
    other.execute("DECLARE held CURSOR WITH HOLD FOR SELECT 1")
    other.execute("CLOSE held")
    expect(("34000", None), outcome(other, "FETCH held"), "a cursor that is closed")

    # A right that is taken away between Parse and Execute.
    for line in ("DROP TABLE IF EXISTS seen", "DROP ROLE IF EXISTS reader", "CREATE TABLE seen (a int)",
                 "INSERT INTO seen VALUES (1)", "CREATE ROLE reader LOGIN PASSWORD 'reader'",
                 "GRANT SELECT, INSERT ON seen TO reader"):
        other.execute(line)
    with psycopg.connect(user="reader", password="reader", autocommit=True) as reader:
        pg = reader.pgconn
        pg.prepare(b"read", b"SELECT a FROM seen")
        pg.prepare(b"add", b"INSERT INTO seen VALUES ($1)")
        for given in (True, False, True, False):
            other.execute("GRANT SELECT ON seen TO reader" if given else "REVOKE SELECT ON seen FROM reader")
            expect("" if given else "42501", error_of(pg.exec_prepared(b"read", None)), f"prepared, given {given}")
            expect("" if given else "42501", error_of(pg.exec_params(b"SELECT a FROM seen", None)), f"anew, given {given}")
            expect("", error_of(pg.exec_prepared(b"add", [b"2"])), "the right that stays")
        for statement in ("UPDATE seen SET a = 1", "DELETE FROM seen", "TRUNCATE seen", "DROP TABLE seen", "CREATE ROLE other"):
            for extended in (False, True):
                expect("42501", outcome(reader, statement, extended)[0], f"{statement} of a reader, extended {extended}")
    other.execute("DROP TABLE seen")
    other.execute("DROP ROLE reader")
    other.close()


def kept_changes():
    """What an error does not undo of the statements that were sent with the one that fails is told."""
    told = []
    with psycopg.connect(autocommit=True) as other:
        other.add_notice_handler(lambda diagnostic: told.append((diagnostic.severity, diagnostic.message_primary)))
        other.execute("CREATE TABLE together (a int, tags int[])")
        warning = [("WARNING", "the error undid nothing: 1 statement sent with it (INSERT) had been committed")]
        other.pgconn.exec_(b"INSERT INTO together VALUES (1, NULL); SELECT 1/0")
        expect(warning, told, "an error in a text of several statements")
        told.clear()
        try:
            with other.pipeline():
                other.execute("INSERT INTO together VALUES (2, NULL)")
                other.execute("SELECT 1/0")
        except psycopg.Error as error:
            expect("22012", error.sqlstate, "a pipeline that fails")
        expect(warning, told, "an error in a pipeline")
        told.clear()
        other.pgconn.exec_(b"SELECT 1; SELECT 1/0")
        expect([], told, "an error after a query")
        for failing in ("GRANT SELECT ON together TO absent", "DROP TABLE absent", "INSERT INTO together SELECT 1 / 0, NULL"):
            other.pgconn.exec_(failing.encode())
            expect([], told, f"{failing}, alone")
        # Arrays, by COPY too.
        with other.cursor().copy("COPY together FROM STDIN") as copy:
            copy.write_row((3, [1, None, 2]))
            copy.write_row((4, []))
        expect([(3, [1, None, 2]), (4, [])], rows(other, "SELECT * FROM together WHERE a > 2 ORDER BY a"), "arrays by COPY")
        other.execute("DROP TABLE together")


def generic_plans():
    """A statement that is prepared once says what is there now, or that it cannot, in text and in binary."""
    with psycopg.connect(autocommit=True) as other:
        for binary in (False, True):
            other.execute("CREATE TABLE followed (a int, b float8)")
            other.execute("INSERT INTO followed VALUES (1, 1.5), (2, 2.5)")
            ask = lambda a: other.cursor(binary=binary).execute("SELECT * FROM followed WHERE a = %s", [a], prepare=True).fetchall()
            for n in range(5):
                expect([(1, 1.5)], ask(1), f"rows of a prepared statement, binary {binary}")
                expect([(2, 2.5)], ask(2), f"rows of other values, binary {binary}")
            other.execute("UPDATE followed SET b = 7 WHERE a = 1")
            expect([(1, 7.0)], ask(1), f"rows after an update, binary {binary}")
            plans = rows(other, "SELECT sum(generic_plans) >= 5 FROM pg_prepared_statements WHERE statement LIKE '%followed%'")
            expect([(True,)], plans, "a plan for all values is used")
            other.execute("DROP TABLE followed")
            other.execute("CREATE TABLE followed (a int, b float8)")
            # The driver itself prepares again after every DROP.
            connection = other.pgconn
            connection.prepare(b"follow", b"SELECT * FROM followed WHERE a = $1")
            execute = lambda: connection.exec_prepared(b"follow", [b"1"], result_format=int(binary))
            expect(0, execute().ntuples, "rows of a statement that is prepared by hand")
            other.execute("DROP TABLE followed")
            other.execute("CREATE TABLE followed (b int8, a int)")
            for n in range(3):
                changed = execute()
                found = [changed.error_field(field) for field in (psycopg.pq.DiagnosticField.SQLSTATE, psycopg.pq.DiagnosticField.SOURCE_FUNCTION)]
                # By this name drivers know that it helps to prepare again.
                expect([b"0A000", b"RevalidateCachedQuery"], found, f"error of a changed result, binary {binary}")
            other.execute("DEALLOCATE ALL")
            other.execute("DROP TABLE followed")


def told_types():
    """Values have the types that were told before they were known, in text and in binary."""
    with psycopg.connect(autocommit=True) as other:
        connection = other.pgconn
        for query, types, values, expected in [
            (b"SELECT $1 + 1", [20], [b"5"], (20, 6)),
            (b"SELECT $1", [1043], [b"x"], (25, "x")),
            (b"SELECT $1", [20], [b"5"], (20, 5)),
            (b"SELECT $1 * 2", [1700], [b"1.5"], (1700, decimal.Decimal("3.0"))),
            (b"SELECT coalesce($1, 3)", [20], [b"5"], (20, 5)),
            (b"SELECT CASE WHEN $1 > 1 THEN $1 ELSE 0 END", [20], [b"5"], (20, 5)),
        ]:
            for format in (0, 1):
                connection.prepare(b"", query, types)
                described = connection.describe_prepared(b"").ftype(0)
                for n in range(3):
                    result = connection.exec_prepared(b"", values, result_format=format)
                    loader = other.adapters.get_loader(described, psycopg.pq.Format(format))(described)
                    found = (described, loader.load(result.get_value(0, 0)) if result.ntuples else result.error_message)
                    expect(expected, found, f"{query.decode()} with {values}, format {format}")
    with psycopg.connect(autocommit=True) as other:
        other.execute("PREPARE named (varchar) AS SELECT $1")
        expect([("x",)], rows(other, "EXECUTE named('x')"), "a parameter of a named type")


def origins():
    """The tables, views and columns that the columns of a result come from."""
    with psycopg.connect(autocommit=True) as other:
        other.execute("CREATE TABLE held (a int, b text)")
        other.execute("CREATE VIEW shown AS SELECT b, a AS c FROM held")
        table, view = rows(other, "SELECT 'held'::regclass::oid, 'shown'::regclass::oid")[0]
        for query, expected in [
            ("SELECT * FROM held", [(table, 1), (table, 2)]),
            ("SELECT h.b AS x, a + 1, 1, count(*) FROM held h GROUP BY h.b, a ORDER BY a", [(table, 2), (0, 0), (0, 0), (0, 0)]),
            ("SELECT s.c, h.a FROM shown s LEFT JOIN (SELECT * FROM held) h ON true LIMIT 3", [(view, 2), (table, 1)]),
            ("WITH w AS (SELECT b AS d FROM shown) SELECT d, upper(d) FROM w", [(view, 1), (0, 0)]),
            ("SELECT a FROM held UNION ALL SELECT c FROM shown", [(0, 0)]),
        ]:
            for extended in (False, True):
                result = other.pgconn.exec_params(query.encode(), []) if extended else other.pgconn.exec_(query.encode())
                found = [(result.ftable(n), result.ftablecol(n)) for n in range(result.nfields)]
                expect(expected, found, f"origins of {query}, extended {extended}")
        other.execute("DROP VIEW shown")
        other.execute("DROP TABLE held")


def locks():
    """What is asked for and cannot be had is told."""
    told = []
    with psycopg.connect(autocommit=True) as other:
        expect([(1,)], rows(other, "SELECT 1 FOR UPDATE"), "a row of no table")
        other.add_notice_handler(lambda diagnostic: told.append((diagnostic.severity, diagnostic.message_primary)))
        expect([(1,)], rows(other, "SELECT order_id FROM orders WHERE order_id = 1 FOR UPDATE"), "rows that are not locked")
        warning = "FOR UPDATE and FOR SHARE lock no rows: every statement commits by itself"
        expect([("WARNING", warning)], told, "locks")


for part in (training, codes, tags, sessions, kept_changes, generic_plans, told_types, origins, locks):
    part()
assert not wrong, "\n".join([f"{len(wrong)} wrong", *wrong])
