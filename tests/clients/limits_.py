"""Limits and ends: of time, size and number; orders to stop; who is let in; a COPY that breaks; a client that is gone."""
import concurrent.futures
import contextlib
import os
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time
import traceback

import psycopg

import raw
from server import FORETELL, ROOM, USER, Server

PASSWORD, DATABASE = os.environ["PGPASSWORD"], os.environ["PGDATABASE"]
HERE = (os.environ["PGHOST"], int(os.environ["PGPORT"]))
CROSS_JOIN = "SELECT count(*) FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)"
owner = psycopg.connect("", autocommit=True)
pool = concurrent.futures.ThreadPoolExecutor(16)


def no_start(name, *options):
    """What a server says that does not start."""
    done = subprocess.run([FORETELL, "serve", ROOM / name, "--port", "0", *options], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def outcome(connection, statement):
    """`done`, or the SQLSTATE."""
    try:
        connection.execute(statement)
        return "done"
    except psycopg.Error as error:
        return error.sqlstate


def end_of(connection, within=5):
    """Waits until the server hangs up on an idle session: the SQLSTATE that it said last."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        return raw.code(raw.rest(wire, within))


def refusal(**how):
    """What a login that must not work is told."""
    try:
        psycopg.connect(**{"host": HERE[0], "port": HERE[1], "dbname": DATABASE, "connect_timeout": 10} | how).close()
    except psycopg.OperationalError as error:
        return str(error)
    raise AssertionError(f"let in: {how}")


def until(condition, within=5):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"not within {within} s"
        time.sleep(0.02)


def runs(pid):
    return owner.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == ("active",)


def silent_clients():
    """10 s for a login, however far it has come."""
    beginnings = [b"", raw.startup(user=USER)[:10], raw.SSL_REQUEST, raw.startup(user=USER, database=DATABASE)]
    started = time.monotonic()
    clients = [raw.connect(HERE) for _ in beginnings]
    for client, beginning in zip(clients, beginnings):
        client.sendall(beginning)
    for client, beginning in zip(clients, beginnings):
        raw.rest(client, within=started + 14 - time.monotonic())
        assert 8 < time.monotonic() - started < 14, (beginning, time.monotonic() - started)
        client.close()


def patience_ends():
    """Statements have 10 s to end when the server stops; then they are stopped."""
    with Server("patience") as server:
        running = pool.submit(outcome, server.connect(), "SELECT pg_sleep(60)")
        time.sleep(0.5)
        status, took = server.stop(signal.SIGINT)
        assert running.result(5) in ("57014", "57P01"), running.result()
        assert status == 0 and 8 < took < 15, (status, took)


def idle_sessions():
    one, two, three = (psycopg.connect("", autocommit=True) for _ in range(3))
    one.execute("SET idle_session_timeout = '400ms'")
    two.execute("SET idle_in_transaction_session_timeout = '400ms'")
    three.execute("SET idle_in_transaction_session_timeout = 400")
    time.sleep(0.2)
    # Neither a statement that runs nor the other state is idle.
    one.execute("SELECT pg_sleep(0.7)")
    one.execute("BEGIN")
    time.sleep(0.7)
    assert two.execute("SELECT 1").fetchone() == (1,)
    assert one.execute("SELECT 1").fetchone() == (1,)
    two.execute("BEGIN")
    three.execute("BEGIN")
    assert outcome(three, "SELECT 1 / 0") == "22012"
    one.execute("COMMIT")
    started = time.monotonic()
    assert end_of(two) == "25P03"
    assert end_of(three) == "25P03"
    assert end_of(one) == "57P05"
    assert time.monotonic() - started < 2


def stop_gently():
    """SIGTERM: idle clients are told, a statement comes to its end, nobody is let in, nothing is lost."""
    with Server("gentle") as server:
        there = ("127.0.0.1", server.port)
        idle, transaction, busy = server.connect(), server.connect(), raw.connect(there)
        idle.execute("CREATE TABLE kept (a int)")
        idle.execute("INSERT INTO kept VALUES (1)")
        transaction.execute("BEGIN")
        raw.scram(busy, USER, server.password, "gentle")
        busy.sendall(raw.message(b"Q", b"SELECT pg_sleep(1.5); INSERT INTO kept VALUES (2)\0"))
        running = pool.submit(raw.rest, busy)
        time.sleep(0.5)
        stopped = pool.submit(server.stop)
        assert end_of(idle, within=1) == "57P01"
        assert end_of(transaction, within=1) == "57P01"
        assert not running.done(), "its statement runs meanwhile"
        with contextlib.suppress(ConnectionRefusedError):
            raise AssertionError(raw.answer(there, raw.startup(user=USER, database="gentle")))
        said = running.result(5)
        assert b"INSERT 0 1\0Z" in said and raw.code(said) == "57P01", said
        status, took = stopped.result(10)
        assert status == 0 and took < 5 and server.said.endswith("\nstopped\n"), (status, took, server.said)
    with Server("gentle") as server, server.connect() as again:
        assert again.execute("SELECT a FROM kept ORDER BY a").fetchall() == [(1,), (2,)]


def stop_others():
    """pg_cancel_backend stops a statement, pg_terminate_backend a session; of other roles only the owner may."""
    for statement in ("SELECT pg_sleep(30)", CROSS_JOIN):
        with psycopg.connect("", autocommit=True) as victim:
            pid = victim.info.backend_pid
            for stop, expected in (("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")):
                running = pool.submit(outcome, victim, statement)
                until(lambda: runs(pid))
                started = time.monotonic()
                assert owner.execute(f"SELECT {stop}({pid})").fetchone() == (True,)
                assert running.result(5) == expected, (stop, statement, running.result())
                assert time.monotonic() - started < 2, (stop, statement)
                if expected == "57014":
                    assert victim.execute("SELECT 1").fetchone() == (1,)
            until(lambda: owner.execute(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}").fetchone() == (0,))
            assert owner.execute(f"SELECT pg_terminate_backend({pid})").fetchone() == (False,)
    owner.execute("CREATE ROLE canceller LOGIN PASSWORD 'canceller'")
    with psycopg.connect("", autocommit=True) as idle, \
            psycopg.connect(user="canceller", password="canceller", autocommit=True) as other:
        pid = idle.info.backend_pid
        for stop in ("pg_cancel_backend", "pg_terminate_backend"):
            assert outcome(other, f"SELECT {stop}({pid})") == "42501", stop
        # Nothing runs, and the next statement is another.
        assert owner.execute(f"SELECT pg_cancel_backend({pid})").fetchone() == (True,)
        assert idle.execute("SELECT 1").fetchone() == (1,)
        with psycopg.connect(user="canceller", password="canceller") as own:
            assert other.execute(f"SELECT pg_terminate_backend({own.info.backend_pid})").fetchone() == (True,)
            assert end_of(own) == "57P01"
        owner.execute(f"SELECT pg_terminate_backend({pid})")
        assert end_of(idle) == "57P01"


def notices():
    """client_min_messages keeps back what is less."""
    with psycopg.connect("", autocommit=True) as connection:
        heard = []
        connection.add_notice_handler(lambda notice: heard.append(notice.severity_nonlocalized))
        for level, expected in (("notice", ["NOTICE", "WARNING"]), ("warning", ["WARNING"]), ("error", []), ("notice", ["NOTICE", "WARNING"])):
            connection.execute(f"SET client_min_messages = {level}")
            heard.clear()
            connection.execute("DROP TABLE IF EXISTS nowhere")
            connection.execute("ROLLBACK")
            assert heard == expected, (level, heard)


def first_start():
    """The password is told once and kept in a file that nobody else reads."""
    with Server("first") as server:
        file = server.folder / "owner-password"
        assert file.stat().st_mode & 0o777 == 0o600, oct(file.stat().st_mode)
        line = f'  psql "postgresql://{USER}:{server.password}@127.0.0.1:{server.port}/first"\n'
        assert server.said.count(line) == 1 and len(server.password) >= 20, server.said
        server.connect().close()
        assert server.stop()[0] == 0
    with Server("first") as server:
        assert server.password not in server.said and "psql -h 127.0.0.1" in server.said, server.said
        server.connect().close()
    # A first start that fails tells the password, too: it is told only once.
    said = no_start("failed", "--host", "0.0.0.0")
    assert said.count((ROOM / "failed" / "owner-password").read_text().strip()) == 1, said
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        for trust in ((), ("--trust",)):
            said = no_start("first", "--host", host, *trust)
            assert f"will not listen on {host}" in said and "unencrypted" in said and "--tls-certificate" in said, said
    # With TLS, when there is no password to ask for.
    key, certificate = ROOM / "key", ROOM / "certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with Server("first") as server, server.connect() as connection:
        connection.execute(f'ALTER ROLE "{USER}" PASSWORD NULL')
        connection.execute("CREATE ROLE nobody PASSWORD NULL LOGIN")
        assert server.stop()[0] == 0
    said = no_start("first", "--host", "0.0.0.0", "--tls-certificate", certificate, "--tls-key", key)
    assert "will not listen on 0.0.0.0: no role has a password" in said, said


def who_is_let_in():
    for line in ("CREATE ROLE clerk LOGIN PASSWORD 'clerk'", "CREATE ROLE retired NOLOGIN PASSWORD 'retired'", "CREATE ROLE empty LOGIN"):
        owner.execute(line)
    psycopg.connect(user="clerk", password="clerk").close()
    assert raw_login("clerk", "wrong") == raw_login("nobody", "wrong") == raw_login("empty", "") == raw_login("retired", "wrong") == "28P01"
    assert "does not support SSL" in refusal(sslmode="require"), refusal(sslmode="require")
    assert "not permitted to log in" in refusal(user="retired", password="retired"), refusal(user="retired", password="retired")
    assert raw_login("retired", "retired") == "28000"


def trusted():
    with Server("trusted", "--trust", "--socket", ROOM) as server:
        assert server.said.count("--trust: every client of this machine is let in without a password\n") == 1, server.said
        with server.connect(password=None) as connection:
            connection.execute("CREATE ROLE retired NOLOGIN")
            connection.execute("CREATE ROLE clerk LOGIN")
        for host in ("127.0.0.1", str(ROOM)):
            server.connect(user="clerk", password="wrong", host=host).close()
        there = ("127.0.0.1", server.port)
        for user in ("retired", "nobody"):
            assert raw.code(raw.answer(there, raw.startup(user=user, database="trusted"))) == "28000", user
    with Server("doubtful") as server:
        assert "--trust" not in server.said
        assert "no password supplied" in refusal(port=server.port, dbname="doubtful", password="")


def by_unix_socket():
    """The user who runs the server is its owner there; all others need passwords, and the socket goes with the server."""
    with Server("peers", "--socket", ROOM) as server:
        path = f"{ROOM}/.s.PGSQL.{server.port}"
        assert f"on the Unix socket {path}\n" in server.said, server.said
        with server.connect(host=str(ROOM), password=None) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (USER,)
            connection.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
        at_socket = {"host": str(ROOM), "port": server.port, "dbname": "peers"}
        assert "no password supplied" in refusal(user="clerk", password="", **at_socket)
        assert "password authentication failed" in refusal(user="clerk", password="wrong", **at_socket)
        assert "password authentication failed" in refusal(user="nobody", password="x", **at_socket)
        server.connect(user="clerk", password="clerk", host=str(ROOM)).close()
        # By TCP the owner needs the password.
        assert "no password supplied" in refusal(port=server.port, dbname="peers", password="")
        if os.geteuid() == 0:
            # Another user of this machine is not the owner.
            os.chmod(ROOM, 0o755)
            os.seteuid(65534)
            try:
                client = raw.connect(path)
            finally:
                os.seteuid(0)
            with client:
                client.sendall(raw.startup(user=USER, database="peers"))
                kind, body = raw.next_message(client)
                assert (kind, body[:4]) == (b"R", struct.pack("!I", 10)), (kind, body)
        # A socket that a killed server has left is no hindrance; one that is in use is.
        server.process.kill()
        server.process.wait()
        assert os.path.exists(path)
    with Server("peers", "--socket", ROOM, port=server.port) as again:
        again.connect(host=str(ROOM), password=None).close()
        assert again.stop()[0] == 0 and not os.path.exists(path)


def raw_login(user, password):
    """The SQLSTATE of a login that is refused."""
    with raw.connect(HERE) as client:
        _, said = raw.scram(client, user, password, DATABASE)
        return raw.code(said + raw.rest(client))


def unknown_roles():
    """Neither time nor words tell whether a role exists."""
    owner.execute("CREATE ROLE known LOGIN PASSWORD 'known'")
    took, salts, words = {"known": [], "unknown": []}, {"known": set(), "unknown": set()}, {}
    for _ in range(15):
        for user in took:
            with raw.connect(HERE) as client:
                started = time.perf_counter()
                salt, said = raw.scram(client, user, None, DATABASE)
                took[user].append(time.perf_counter() - started)
            salts[user].add(salt)
            words[user] = said[5:].replace(user.encode(), b"x")
            assert raw.code(said) == "28P01", said
    assert words["known"] == words["unknown"], words
    # The same salt each time, and as much work.
    (known,), (unknown,) = salts["known"], salts["unknown"]
    assert len(known[0]) == len(unknown[0]) and known[1] == unknown[1], (known, unknown)
    medians = {user: statistics.median(values) for user, values in took.items()}
    assert 0.6 < medians["unknown"] / medians["known"] < 1.6, medians


def too_many():
    """--max-connections: the one too many is told so; who has not logged in takes no place."""
    with Server("few", "--max-connections", "3") as server:
        there = ("127.0.0.1", server.port)
        held = [server.connect() for _ in range(3)]
        for _ in range(5):
            with raw.connect(there) as client:
                _, said = raw.scram(client, USER, server.password, "few")
                said += raw.rest(client)
            assert raw.code(said) == "53300" and b"FATAL" in said, said
        assert held[0].execute("SELECT 1").fetchone() == (1,)
        held.pop().close()
        until(lambda: owner_gets_in(server))
        waiting = [raw.connect(there) for _ in range(10)]
        for client in waiting[5:]:
            client.sendall(raw.startup(user=USER, database="few"))
        time.sleep(0.3)
        assert owner_gets_in(server), "clients that have not logged in keep others out"


def owner_gets_in(server):
    try:
        server.connect().close()
        return True
    except psycopg.OperationalError:
        return False


def vanished_clients():
    """The work of clients that are gone stops, whatever it is and however they went."""
    work = {
        "simple": lambda pg: pg.send_query(CROSS_JOIN.encode()),
        "extended": lambda pg: pg.send_query_params(f"{CROSS_JOIN} WHERE x > $1::int".encode(), [b"7"]),
        "groups": lambda pg: pg.send_query(CROSS_JOIN.replace("SELECT", "SELECT x % 1003,").encode() + b" GROUP BY 1 ORDER BY 2"),
        "rows that nobody reads": lambda pg: pg.send_query(CROSS_JOIN.replace("count(*)", "x, y").encode()),
        "insert": lambda pg: pg.send_query(f"INSERT INTO work {CROSS_JOIN}".encode()),
        "copy": lambda pg: pg.send_query(f"COPY ({CROSS_JOIN}) TO STDOUT".encode()),
    }
    with Server("vanished") as server, server.connect() as steady:
        steady.execute("CREATE TABLE work (a bigint)")
        idle = server.processor_seconds()
        clients = [server.connect() for _ in work]
        for client, begin in zip(clients, work.values()):
            begin(client.pgconn)
        others = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        until(lambda: len(steady.execute(others).fetchall()) == len(work), within=10)
        until(lambda: server.processor_seconds() - idle > 0.5, within=20)
        for number, client in enumerate(clients):
            with socket.socket(fileno=os.dup(client.fileno())) as wire:
                if number % 2 == 0:
                    # Closed with a reset, not with an end.
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    os.close(client.fileno())
                else:
                    wire.shutdown(socket.SHUT_RDWR)
        time.sleep(2)
        before = server.processor_seconds()
        time.sleep(1)
        used = server.processor_seconds() - before
        assert used < 0.1, (f"{used:.2f} s of a processor in 1 s", steady.execute(others).fetchall())
        assert steady.execute(others).fetchall() == []
        assert steady.execute("SELECT count(*) FROM work").fetchone() == (0,)


def broken_copies():
    """Nothing of a COPY with a broken row is loaded, and the row is named."""
    owner.execute("CREATE TABLE loaded (a int, b text NOT NULL)")
    owner.execute("INSERT INTO loaded VALUES (1, 'before'), (2, 'before'), (3, 'before')")
    for form, mark, null in (("text", "\t", "\\N"), ("csv", ",", "")):
        good, after = [[f"{n}{mark}row {n}\n" for n in range(count)] for count in (20_000, 100)]
        place = "COPY loaded, line 20001"
        for line, expected, words, where in (
            (f"x{mark}broken", "22P02", 'invalid input syntax for type integer: "x"', f"{place}, column a"),
            ("7", "22P04", 'missing data for column "b"', place),
            (f"7{mark}b{mark}c", "22P04", "extra data after last expected column", place),
            (f"7{mark}{null}", "23502", 'null value in column "b"', None),
        ):
            said = copied(f"COPY loaded FROM STDIN (FORMAT {form})", [*good, line + "\n", *after])
            assert said is not None and said.sqlstate == expected and words in said.diag.message_primary, (form, line, said and said.sqlstate, said)
            assert where is None or where in (said.diag.context or "") + (said.diag.message_detail or ""), (form, line, said)
            assert owner.execute("SELECT count(*), max(a) FROM loaded").fetchone() == (3, 3), (form, line)
    # Lines are counted as the client sees them, whatever comes later in the same batch.
    said = copied("COPY loaded FROM STDIN (FORMAT csv)", ['1,"two\nlines"\n', "x,broken\n", '2,"again\ntwo\nlines"\n'])
    assert said.sqlstate == "22P02" and "line 3, column a" in (said.diag.context or "") + (said.diag.message_detail or ""), said
    # The client gives up, and one that vanishes.
    try:
        with owner.cursor().copy("COPY loaded FROM STDIN") as copy:
            copy.write("".join(f"{n}\tgiven up\n" for n in range(20_000)))
            raise KeyError
    except KeyError:
        pass
    with raw.connect(HERE) as gone:
        raw.scram(gone, USER, PASSWORD, DATABASE)
        gone.sendall(raw.message(b"Q", b"COPY loaded FROM STDIN\0"))
        while raw.next_message(gone)[0] != b"G":
            pass
        gone.sendall(raw.message(b"d", "".join(f"{n}\tvanished\n" for n in range(20_000)).encode()))
    time.sleep(0.5)
    assert owner.execute("SELECT count(*), max(a) FROM loaded").fetchone() == (3, 3)
    assert copied("COPY loaded FROM STDIN (FORMAT csv)", good) is None
    assert owner.execute("SELECT count(*), max(a) FROM loaded").fetchone() == (20_003, 19_999)


def copied(statement, lines):
    """The error of a COPY, if there is one; the session goes on after it."""
    try:
        with owner.cursor().copy(statement) as copy:
            copy.write("".join(lines))
    except psycopg.Error as error:
        assert owner.execute("SELECT 1").fetchone() == (1,)
        return error
    return None


def long_statements():
    """1 MiB of text and 65,535 parameters, by the extended protocol too; the session goes on after more."""
    with psycopg.connect("", autocommit=True) as connection:
        fits = "x" * ((1 << 20) - 100)
        assert connection.execute(f"SELECT %s || '{fits}'", ("y",)).fetchone() == ("y" + fits,)
        for statement, words in ((f"SELECT $1::text || '{'x' * (2 << 20)}'", b"the limit is 1048576"),
                                 ("SELECT $65536::int", b"the limit is $65535")):
            for send in (lambda text: connection.pgconn.exec_params(text, [b"1"]), lambda text: connection.pgconn.prepare(b"long", text)):
                done = send(statement.encode())
                code = done.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
                assert words in done.error_message and done.error_message.startswith(b"ERROR"), done.error_message
                # Program limit exceeded, or statement too complex.
                assert code in (b"54000", b"54001"), (code, done.error_message)
                assert connection.execute("SELECT 1").fetchone() == (1,)


def little_memory():
    """Rows that are kept, and results that grow, are refused when they are more than the memory; the session goes on."""
    rows = "SELECT n, n * 7 AS a, n * 3 AS b FROM generate_series(1, {}) AS g(n)"
    many, some = rows.format(2_000_000), rows.format(400_000)
    with Server("little", "--memory-limit", "32MB", "--threads", "2") as server, server.connect() as connection:
        connection.execute(f"CREATE TABLE stored AS {many}")
        connection.execute("CREATE TEMP TABLE kept (n bigint, a bigint, b bigint)")
        for statement in (
            f"CREATE TEMP TABLE copied AS {many}",
            f"INSERT INTO kept {many}",
            f"INSERT INTO stored {many} RETURNING n",
            "UPDATE stored SET a = 0 RETURNING n",
            "DELETE FROM stored RETURNING n",
            "SELECT sum(length(repeat('x', 10000 + (n % 2)::int))) FROM stored",
            "SELECT sum(length(lpad(n::text, 10000))) FROM stored",
            "SELECT sum(length(replace(repeat('a', 100) || n::text, 'a', repeat('b', 100)))) FROM stored",
            "SELECT sum(cardinality(array_repeat(a, 10000))) FROM stored",
            "SELECT sum(cardinality(range(1, 10000 + n % 2))) FROM stored",
        ):
            assert outcome(connection, statement) == "53200", statement
            assert connection.execute("SELECT count(*), sum(a) FROM stored").fetchone() == (2_000_000, 14_000_007_000_000), statement
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,), statement
        for ending in ("ROLLBACK", "COMMIT"):
            connection.execute("BEGIN")
            connection.execute("DECLARE c CURSOR FOR SELECT * FROM stored")
            if ending == "COMMIT":
                assert connection.execute("FETCH 400000 FROM c").rowcount == 400_000
                connection.execute("MOVE 1599999 FROM c")
                assert len(connection.execute("FETCH ALL FROM c").fetchall()) == 1
            else:
                assert outcome(connection, "FETCH ALL FROM c") == "53200"
            connection.execute(ending)
        # What was taken is given back: four times as much would not fit.
        for _ in range(4):
            connection.execute(f"INSERT INTO kept {some}")
            assert connection.execute("DELETE FROM kept").rowcount == 400_000
            assert connection.execute(f"INSERT INTO stored {some} RETURNING n").rowcount == 400_000
            connection.execute(f"CREATE TEMP TABLE again AS {some}")
            connection.execute("DROP TABLE again")
        # A bound that is not reached refuses nothing.
        assert connection.execute("SELECT sum(length(replace(n::text, ' ', repeat('b', 5000)))) = sum(length(n::text)) FROM stored").fetchone() == (True,)


CHECKS = [idle_sessions, stop_gently, stop_others, notices, first_start, who_is_let_in, trusted, by_unix_socket, unknown_roles, too_many,
          vanished_clients, broken_copies, long_statements, little_memory]
failures = 0


def passes(check, run):
    global failures
    started = time.monotonic()
    try:
        run()
        print(f"ok      {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
    except Exception:
        failures += 1
        print(f"FAILED  {check.__name__} ({time.monotonic() - started:.1f} s)\n{traceback.format_exc()}", flush=True)


# Those that wait for 10 s do so beside the others.
waiting = [(check, pool.submit(check)) for check in (silent_clients, patience_ends)]
chosen = [check for check in CHECKS if check.__name__ in sys.argv[1:]] or CHECKS
for check in chosen:
    passes(check, check)
for check, future in waiting:
    passes(check, future.result)
sys.exit(failures)
