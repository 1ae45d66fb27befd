"""Replays what real clients sent to PostgreSQL 15 and compares the names and types of the answers with PostgreSQL's.

The captures are one JSON object a message, in the folder FORETELL_PGLOGS. `replay.tsv` has a line for every statement
that PostgreSQL takes on a fresh connection, with what this server reaches: `same` names and types, `runs`, or `fails`.
A statement that reaches less than its line says fails the run; one that reaches more is told.
`--update` writes the file anew, asking the PostgreSQL that FORETELL_ORACLE names ("host port user").
"""
import collections
import hashlib
import json
import os
import pathlib
import sys

import psycopg
from psycopg import pq

HERE = pathlib.Path(__file__).parent
LEVELS = ["fails", "runs", "same"]
# Not read-only, or about what only a server of PostgreSQL's own has.
LEFT_OUT = {"dbt", "pg_dump_schema", "pgbench"}


def statements(path):
    """The statements of a capture in the order of their first use, with parameters and the answer's columns."""
    found, named, waiting = {}, {}, {}
    for line in path.open():
        message = json.loads(line)
        connection, kind = message["conn"], message["m"]
        if message["dir"] == "F":
            if kind in ("Query", "Parse"):
                item = {"sql": message["sql"].strip(), "kind": kind, "oids": message.get("oids"), "bound": None,
                        "columns": None, "failed": False}
                named[connection, message.get("name")] = waiting[connection] = item
                found.setdefault((item["sql"], kind), item)
            elif kind == "Bind" and (connection, message["stmt"]) in named:
                item = waiting[connection] = named[connection, message["stmt"]]
                item["bound"] = item["bound"] or message
        elif connection in waiting:
            item = waiting[connection]
            if kind == "Error":
                item["failed"] = True
            elif kind == "RowDescription" and item["columns"] is None:
                item["columns"] = [tuple(column[:2]) for column in message["cols"]]
    skipped = ("LISTEN", "UNLISTEN")
    return [i for i in found.values() if i["sql"] and not i["failed"] and not i["sql"].upper().startswith(skipped)
            and "pg_sleep" not in i["sql"].lower()]


def answer(connection, item):
    """The columns of the answer, None for none; an error is raised."""
    if item["kind"] == "Query":
        result = connection.exec_(item["sql"].encode())
    else:
        bound = item["bound"] or {"params": [], "pfmt": [], "rfmt": []}
        formats = bound["pfmt"]
        count = len(bound["params"])
        formats = [formats[n] if len(formats) > 1 else (formats[0] if formats else 0) for n in range(count)]
        values = [None if p is None else bytes.fromhex(p[2:]) if f == 1 and p.startswith("\\x") else p.encode()
                  for p, f in zip(bound["params"], formats)]
        oids = item["oids"] if item["oids"] and len(item["oids"]) == count else None
        binary = bool(bound["rfmt"]) and all(bound["rfmt"])
        result = connection.exec_params(item["sql"].encode(), values or None, oids, formats or None, int(binary))
    if result.status == pq.ExecStatus.COPY_OUT:
        while connection.get_copy_data(0)[0] > 0:
            pass
        while connection.get_result():
            pass
        return None
    if result.status == pq.ExecStatus.COPY_IN:
        connection.put_copy_end(b"nothing to send")
        while connection.get_result():
            pass
        return None
    if result.status == pq.ExecStatus.TUPLES_OK:
        return [(result.fname(n).decode(), result.ftype(n)) for n in range(result.nfields)]
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
        return None
    raise RuntimeError(result.error_message.decode("utf8", "replace").splitlines()[0])


class Server:
    """A server on whose one connection statements run, each outside of a transaction."""

    def __init__(self, conninfo):
        self.conninfo, self.connection = conninfo, None

    def level(self, item):
        if self.connection is None or self.connection.status != pq.ConnStatus.OK:
            self.connection = psycopg.connect(self.conninfo, autocommit=True).pgconn
        if self.connection.transaction_status != pq.TransactionStatus.IDLE:
            self.connection.exec_(b"ROLLBACK")
        try:
            columns = answer(self.connection, item)
        except Exception as error:
            return "fails", str(error)
        same = item["columns"] is None or columns == item["columns"]
        return ("same" if same else "runs"), f"{columns} instead of {item['columns']}"


def key(client, item):
    return hashlib.sha256(f"{client}\0{item['kind']}\0{item['sql']}".encode()).hexdigest()[:16]


def main():
    folder = pathlib.Path(os.environ.get("FORETELL_PGLOGS", HERE / "../../../shared/pglogs"))
    captures = sorted(folder.glob("*.jsonl"))
    if not captures:
        print(f"NOTHING IS REPLAYED: there are no captures in {folder}; name their folder in FORETELL_PGLOGS")
        return 0
    ours = Server("")
    updates = "--update" in sys.argv
    oracle = None
    if updates:
        host, port, user = os.environ["FORETELL_ORACLE"].split()
        oracle = Server(f"host={host} port={port} user={user} password='' dbname=shop")
    expected = {}
    if not updates:
        for line in (HERE / "replay.tsv").read_text().splitlines():
            name, level = line.split("\t")[:2]
            expected[name] = level
    lines, worse, totals = [], [], collections.Counter()
    for path in captures:
        client = path.stem
        if client in LEFT_OUT:
            continue
        counts = collections.Counter()
        for item in statements(path):
            name = key(client, item)
            if updates and oracle.level(item)[0] == "fails" or not updates and name not in expected:
                continue
            level, told = ours.level(item)
            counts[level] += 1
            lines.append(f"{name}\t{level}\t{client}")
            if not updates and LEVELS.index(level) < LEVELS.index(expected[name]):
                worse.append(f"{client}: {expected[name]} before, {level} now: {told}\n    {item['sql'][:300]}")
        totals += counts
        count = sum(counts.values())
        print(f"{client:24} {count:4} statements, {count - counts['fails']:4} run, {counts['same']:4} same")
    count = sum(totals.values())
    ran, same = (count - totals["fails"]) / count, totals["same"] / count
    print(f"{count} statements, {ran:.1%} run, {same:.1%} with PostgreSQL's names and types")
    if updates:
        (HERE / "replay.tsv").write_text("\n".join(lines) + "\n")
    print("\n".join(worse))
    return 1 if worse or ran < 0.98 or same < 0.95 else 0


sys.exit(main())
