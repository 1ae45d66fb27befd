"""What a server meets on an open network: garbage, lies about lengths, floods; it must answer or hang up, and live."""
import os
import socket
import struct
import threading
import time

import psycopg

HOST, PORT = os.environ["PGHOST"], int(os.environ["PGPORT"])
steady = psycopg.connect("", autocommit=True)


def alive():
    assert steady.execute("SELECT 1").fetchone() == (1,)
    with psycopg.connect("") as fresh:
        assert fresh.execute("SELECT 2").fetchone() == (2,)


def answer(sent, wait=5):
    """What the server says to these bytes until it hangs up."""
    with socket.create_connection((HOST, PORT), timeout=wait) as client:
        said = b""
        try:
            client.sendall(sent)
            while some := client.recv(65536):
                said += some
        except (ConnectionError, TimeoutError):
            pass
        return said


def startup(**parameters):
    body = struct.pack("!I", 196608) + b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


# Before anyone has logged in.
for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4000), b"\0" * 100, struct.pack("!I", 3),
                struct.pack("!II", 0x7FFFFFFF, 196608), struct.pack("!II", 100_000, 196608) + b"x" * 70_000):
    answer(garbage, wait=2)
assert b"0A000" in answer(struct.pack("!II", 8, 0x00020000)), "an old protocol is told so"
# A lie about the length of the password message: 1 GiB is announced, nothing comes.
announced = startup(user=os.environ["PGUSER"], database=os.environ["PGDATABASE"]) + b"p" + struct.pack("!I", 1 << 30)
answer(announced, wait=2)
alive()

# After: a message that ends before it says it does, and a frame of 1 GiB.
def raw():
    connection = psycopg.connect("", autocommit=True)
    return connection, socket.socket(fileno=os.dup(connection.fileno()))


for lie in (b"Q" + struct.pack("!I", 1 << 30), b"Q" + struct.pack("!I", 2), b"B" + struct.pack("!I", 6) + b"\0\0",
            b"P" + struct.pack("!I", 12) + b"a\0b\0\x7f\xff\0\0", b"\xff" + struct.pack("!I", 4)):
    connection, wire = raw()
    wire.setblocking(True)
    wire.settimeout(2)
    wire.sendall(lie)
    try:
        wire.recv(65536)
    except (ConnectionError, TimeoutError):
        pass
    wire.close()
    connection.close()
alive()

# Parameters: as many as the protocol has, and statements of 1 MiB and more.
pg = steady.pgconn
for count in (1_000, 65_535):
    sql = "SELECT count(*) FROM (VALUES " + ",".join(f"(${n + 1}::int)" for n in range(count)) + ") AS t"
    done = pg.exec_params(sql.encode(), [b"1"] * count)
    assert done.get_value(0, 0) == str(count).encode(), done.error_message
done = pg.exec_params(b"SELECT $65536::int", [b"1"])
assert b"the limit is $65535" in done.error_message, done.error_message
done = pg.exec_(b"SELECT 1 WHERE 1 IN (" + b",".join(str(n).encode() for n in range(100_000)) + b")")
assert done.ntuples == 1, done.error_message
done = pg.exec_(b"SELECT '" + b"x" * (2 << 20) + b"'")
assert b"the limit is 1048576" in done.error_message, done.error_message
for deep in ("(" * 5_000 + "1" + ")" * 5_000, "1" + "+1" * 50_000, "NOT " * 50_000 + "true", "1" + "::int" * 50_000):
    done = pg.exec_(f"SELECT {deep}".encode())
    assert done.status != psycopg.pq.ExecStatus.TUPLES_OK and done.error_message, deep[:20]
alive()

# A flood of connections that say nothing, and many logins at once.
started = time.time()
for _ in range(10_000):
    socket.create_connection((HOST, PORT)).close()
print(f"10,000 connects in {time.time() - started:.1f} s")
alive()
failed, held = [], []


def login():
    try:
        held.append(psycopg.connect(""))
    except psycopg.Error as error:
        failed.append(error)


logins = [threading.Thread(target=login) for _ in range(50)]
started = time.time()
for thread in logins:
    thread.start()
for thread in logins:
    thread.join()
print(f"50 logins in {time.time() - started:.1f} s")
assert not failed, failed
for connection in held:
    connection.close()

# More than max_connections: those above it are told, not dropped.
held = []
try:
    for _ in range(400):
        held.append(psycopg.connect(""))
    raise AssertionError("no limit")
except psycopg.OperationalError as error:
    assert "too many" in str(error), error
finally:
    for connection in held:
        connection.close()
time.sleep(0.5)
alive()

# A client that vanishes stops its work.
victim = psycopg.connect("", autocommit=True)
threading.Thread(target=lambda: victim.pgconn.exec_(
    b"SELECT count(*) FROM generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)"), daemon=True).start()
time.sleep(1)
socket.socket(fileno=os.dup(victim.fileno())).shutdown(socket.SHUT_RDWR)
for _ in range(50):
    time.sleep(0.1)
    if steady.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND pid <> pg_backend_pid()").fetchone() == (0,):
        break
else:
    raise AssertionError("the work of a client that has gone goes on")
