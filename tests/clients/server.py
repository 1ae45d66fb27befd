"""A server with options of its own, and what its process takes; for memory.py and cancel.py."""
import atexit
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import psycopg

FORETELL = os.environ["FORETELL"]
USER = os.environ["PGUSER"]
ROOM = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("FORETELL_LIMITS_DIR")))
atexit.register(shutil.rmtree, ROOM, ignore_errors=True)


class Server:
    """A server of a database in `ROOM`."""

    def __init__(self, name, *options, port=0):
        self.folder = ROOM / name
        self.process = subprocess.Popen([FORETELL, "serve", self.folder, "--port", str(port), *options], text=True, umask=0,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = ""
        # The line that shows how to connect is the last one of the start.
        while "\n  psql " not in self.said:
            line = self.process.stdout.readline()
            assert line, f"no start: {self.said}"
            self.said += line
        self.port = int(re.search(r" on [\d.]+:(\d+)$", self.said, re.MULTILINE)[1])
        self.password = (self.folder / "owner-password").read_text().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def connect(self, **others):
        return psycopg.connect(**{"host": "127.0.0.1", "port": self.port, "dbname": self.folder.name, "user": USER,
                                  "password": self.password, "autocommit": True} | others)

    def stop(self, order=signal.SIGTERM, within=30):
        """Its exit status and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(order)
        status = self.process.wait(within)
        self.said += self.process.stdout.read()
        return status, time.monotonic() - started

    def status(self, field):
        """A number of /proc: `VmRSS` and `VmHWM` in MiB, `Threads`."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+)( kB)?", text, re.MULTILINE)
        return int(found[1]) / 1024 if found[2] else int(found[1])

    def forget_peak(self):
        """VmHWM begins anew from what is resident now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def processor_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Guard:
    """Ends a server that takes so much memory that the machine would suffer, or so long that nothing stops it."""

    def __init__(self, server, mebibytes, seconds=1e9):
        self.server, self.most, self.over, self.done = server, mebibytes, None, threading.Event()
        self.end = time.monotonic() + seconds
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        while not self.done.wait(0.02) and self.server.process.poll() is None:
            if self.server.status("VmRSS") > self.most or time.monotonic() > self.end:
                self.over = self.server.status("VmHWM")
                self.server.process.kill()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


class Failed(Exception):
    """An error of the server, told by its SQLSTATE."""


def messages(tail):
    """The messages of these bytes, which begin with one."""
    found, at = [], 0
    while at + 5 <= len(tail):
        length = struct.unpack_from("!I", tail, at + 1)[0]
        found.append((tail[at:at + 1], tail[at + 5:at + 1 + length]))
        at += 1 + length
    return found


def row_of(body):
    """The texts of a row."""
    values, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        length = struct.unpack_from("!i", body, at)[0]
        values.append(None if length < 0 else body[at + 4:at + 4 + length].decode())
        at += 4 + max(length, 0)
    return tuple(values)


def drained(connection, statement, patience=None):
    """Runs statements and throws their rows away as they come, with seconds of patience between them: the rows if they are few, and
    the last tag."""
    with socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.settimeout(patience)
        text = statement.encode() + b"\0"
        wire.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)
        tail, total = b"", 0
        while tail[-6:-1] != b"Z\0\0\0\5":
            some = wire.recv(1 << 20)
            if not some:
                raise ConnectionError("the server hung up")
            total += len(some)
            tail = (tail + some)[-65536:]
    if failed := re.search(rb"E.{4}S(?:FATAL|ERROR)\0V\w+\0C(\w{5})\0M([^\0]*)", tail, re.DOTALL):
        raise Failed(failed[1].decode(), failed[2].decode(errors="replace"))
    tag = re.findall(rb"C\0\0\0.([A-Z][A-Z0-9 ]*)\0", tail, re.DOTALL)[-1].decode()
    rows = [row_of(body) for kind, body in messages(tail) if kind == b"D"] if total <= 65536 else []
    return rows, tag
