"""The three engines, each with the same tables, and their answers in one form."""
import collections
import datetime
import decimal
import os
import pathlib
import re
import subprocess
import threading

import duckdb
import psycopg

import schema

SECONDS = 5
# Rows, the names of the columns and their types; or the SQLSTATE and the text of an error.
Answer = collections.namedtuple("Answer", "rows names types error")


def plain(value):
    """A value in a form in which equal values of all types and engines are equal."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value != value or isinstance(value, decimal.Decimal) and value.is_nan():
        return "NaN"
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time())
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    return value


def plain_rows(rows):
    return [tuple(map(plain, row)) for row in rows]


class Wire:
    """A connection by PostgreSQL's protocol."""

    def __init__(self, conninfo, *settings):
        self.conninfo, self.settings, self.connection = conninfo, settings, None

    def connect(self):
        self.connection = psycopg.connect(self.conninfo, autocommit=True, connect_timeout=20)
        for setting in (f"SET statement_timeout = '{SECONDS}s'", "SET TimeZone = 'UTC'", *self.settings):
            self.connection.execute(setting)

    def ask(self, sql, binary=False):
        try:
            if self.connection is None or self.connection.closed:
                self.connect()
            cursor = self.connection.execute(sql, binary=binary)
            columns = cursor.description
            return Answer(plain_rows(cursor.fetchall()), [column.name for column in columns],
                          [column.type_display for column in columns], None)
        except psycopg.Error as error:
            told = error.diag.message_primary or str(error)
            return Answer(None, None, None, (error.sqlstate or "connection", told))
        except ValueError as error:
            return Answer(None, None, None, ("unreadable", f"{[column.type_display for column in columns]}: {error}"))


class DuckDB:
    """DuckDB in this process, with PostgreSQL's order of NULLs and division of whole numbers."""

    def __init__(self):
        self.connection = duckdb.connect(config={"threads": 1})
        for setting in ("default_null_order = 'nulls_last_on_asc_first_on_desc'", "integer_division = true"):
            self.connection.execute("SET " + setting)
        for statement in schema.statements():
            self.connection.execute(statement)

    def ask(self, sql):
        timer = threading.Timer(SECONDS, self.connection.interrupt)
        timer.start()
        try:
            cursor = self.connection.execute(sql)
            return Answer(plain_rows(cursor.fetchall()), [column[0] for column in cursor.description], None, None)
        except (duckdb.Error, ValueError, OverflowError) as error:
            return Answer(None, None, None, (type(error).__name__, str(error).splitlines()[0]))
        finally:
            timer.cancel()


class Postgres:
    """A PostgreSQL of its own in `room`; the schema `turned` has the same rows in the opposite order."""

    def __init__(self, room):
        self.room = room
        room.mkdir()
        self.user = []
        if os.geteuid() == 0:
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            subprocess.run(["chown", "postgres", room], check=True)
        self.run("initdb", "-D", room / "data", "-N", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--lc-collate=C",
                 "--lc-ctype=C.UTF-8")
        off = " ".join(f"-c {name}=off" for name in ("fsync", "jit", "full_page_writes", "synchronous_commit"))
        self.run("pg_ctl", "-D", room / "data", "-l", room / "log", "-w", "start", "-o",
                 f"-c listen_addresses='' -k {room} {off}")
        self.conninfo = f"host={room} user=postgres dbname=postgres"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for name, turned in (("public", False), ("turned", True)):
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
                connection.execute(f"SET search_path = {name}")
                for statement in schema.statements(turned):
                    connection.execute(statement)
            connection.execute("ANALYZE")

    def run(self, program, *arguments):
        subprocess.run([*self.user, program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=self.room)

    def stop(self):
        self.run("pg_ctl", "-D", self.room / "data", "-m", "immediate", "stop")


class Foretell:
    """A server of Foretell in `room`, which is started again when it ends."""

    def __init__(self, room, program):
        self.room, self.program, self.port, self.ends, self.stopping = room, program, 0, 0, False
        room.mkdir()
        self.start()
        user = re.search(r'The owner is "(.*?)"', self.said)[1]
        password = (room / "shop" / "owner-password").read_text().strip()
        self.conninfo = f"host=127.0.0.1 port={self.port} user={user} password={password} dbname=shop"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in schema.statements():
                connection.execute(statement)
        threading.Thread(target=self.watch, daemon=True).start()

    def start(self):
        log = (self.room / "log").open("a")
        self.process = subprocess.Popen([self.program, "serve", self.room / "shop", "--port", str(self.port), "--threads", "2",
                                         "--memory-limit", "2GB"], stdout=subprocess.PIPE, stderr=log, text=True)
        self.said = ""
        while "\n  psql " not in self.said:
            line = self.process.stdout.readline()
            assert line, f"no start: {self.said}{(self.room / 'log').read_text()[-3000:]}"
            self.said += line
        self.port = int(re.search(r" on [\d.]+:(\d+)$", self.said, re.MULTILINE)[1])

    def watch(self):
        while self.process.wait() is not None and not self.stopping:
            self.ends += 1
            self.start()

    def stop(self):
        self.stopping = True
        self.process.kill()
        self.process.wait()


def foretell_program():
    """The program that is tested: FORETELL_BIN or what Cargo has built."""
    target = os.environ.get("CARGO_TARGET_DIR", str(pathlib.Path.home() / ".cache/foretell"))
    return os.environ.get("FORETELL_BIN", f"{target}/debug/foretell")
