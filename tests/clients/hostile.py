"""What a server meets on an open network: garbage, lies about lengths, floods; it must answer or hang up, and live."""
import asyncio
import collections
import os
import socket
import struct
import threading
import time

import psycopg

import raw

SERVER = (os.environ["PGHOST"], int(os.environ["PGPORT"]))
steady = psycopg.connect("", autocommit=True)


def alive():
    assert steady.execute("SELECT 1").fetchone() == (1,)
    with psycopg.connect("") as fresh:
        assert fresh.execute("SELECT 2").fetchone() == (2,)


# Before anyone has logged in: told that it is wrong, or nothing, and closed long before a login's time is over.
login = raw.startup(user=os.environ["PGUSER"], database=os.environ["PGDATABASE"])
for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"G" + os.urandom(4000), b"\x16\x03\x01" + os.urandom(4000), b"\0" * 100,
                struct.pack("!I", 3), struct.pack("!I", 7), struct.pack("!I", 10_001), struct.pack("!II", 0x7FFFFFFF, 196608),
                struct.pack("!II", 70_000, 196608), struct.pack("!II", 70_000, 196608) + b"x" * 69_992):
    said = raw.answer(SERVER, garbage, within=2)
    assert said == b"" or raw.code(said) == "08P01", (garbage[:20], said)
assert raw.code(raw.answer(SERVER, struct.pack("!II", 70_000, 196608), within=2)) == "08P01", "a long start-up packet is told so"
assert raw.code(raw.answer(SERVER, struct.pack("!II", 8, 0x00020000), within=2)) == "0A000", "an old protocol is told so"
# Lies about the length of the password message, with nothing behind them; then one that comes, of the largest size.
for length in (65_537, 70_000, 1 << 30, 0xFFFFFFFF, 0, 3):
    said = raw.answer(SERVER, login + b"p" + struct.pack("!I", length), within=2)
    assert said[:1] == b"R" and raw.code(said) == "08P01" and b"FATAL" in said, (length, said)
for length in (65_532, 70_000):
    said = raw.answer(SERVER, login + raw.message(b"p", b"x" * length), within=2)
    assert said == b"" or said[:1] == b"R" and raw.code(said) in (None, "08P01"), (length, said)
# What comes in the same packet as a request for encryption could be anybody's (CVE-2021-23214): no answer to it.
for request in (raw.SSL_REQUEST, raw.GSS_REQUEST, raw.GSS_REQUEST + raw.SSL_REQUEST, raw.SSL_REQUEST + raw.GSS_REQUEST):
    said = raw.answer(SERVER, request + login, within=2)
    assert b"R\0\0\0" not in said and said.removeprefix(b"N")[:1] in (b"", b"E"), (request, said)
    assert raw.code(said) in (None, "08P01"), (request, said)
    with raw.connect(SERVER) as client:
        client.sendall(request[:8])
        assert raw.exactly(client, 1) == b"N"
        client.sendall(login)
        assert raw.next_message(client)[0] == b"R", "without encryption, one step after the other"
alive()

# After: a message that ends before it says it does, and a frame of 1 GiB.
for lie in (b"Q" + struct.pack("!I", 1 << 30), b"Q" + struct.pack("!I", 0xFFFFFFFF), b"Q" + struct.pack("!I", 2), b"Q" + struct.pack("!I", 4),
            b"Q" + struct.pack("!I", 7) + b"abc", b"B" + struct.pack("!I", 6) + b"\0\0",
            b"B" + struct.pack("!I", 12) + b"\0\0\0\0\x7f\xff\0\0", b"B" + struct.pack("!I", 16) + b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0",
            b"P" + struct.pack("!I", 12) + b"a\0b\0\x7f\xff\0\0", b"\xff" + struct.pack("!I", 4)):
    with psycopg.connect("", autocommit=True) as connection, socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.setblocking(True)
        wire.sendall(lie)
        said = raw.rest(wire, within=5)
        assert raw.code(said) == "08P01" and b"FATAL" in said, (lie, said)
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

# A flood of connects, 200 at a time: each is asked for its password or told that there are too many.
async def knock(places, answers):
    async with places:
        reader, writer = await asyncio.open_connection(*SERVER)
        writer.write(login)
        header = await asyncio.wait_for(reader.readexactly(5), 10)
        body = await reader.readexactly(struct.unpack("!I", header[1:])[0] - 4)
        answers[header[:1] + body[:4] if header[:1] == b"R" else raw.code(header + body)] += 1
        writer.close()


async def flood(count):
    places, answers = asyncio.Semaphore(200), collections.Counter()
    await asyncio.gather(*(knock(places, answers) for _ in range(count)))
    return answers


started = time.time()
answers = asyncio.run(flood(10_000))
print(f"10,000 connects in {time.time() - started:.1f} s: {answers}")
asked = b"R" + struct.pack("!I", 10)
assert set(answers) <= {asked, "53300"} and answers.total() == 10_000 and answers[asked] > 5_000, answers
for _ in range(1_000):
    raw.connect(SERVER).close()
# Of 900 that say nothing, those above all limits are closed at once.
silent = [raw.connect(SERVER) for _ in range(900)]
time.sleep(0.5)
closed = 0
for client in silent:
    client.setblocking(False)
    try:
        assert client.recv(1) == b""
        closed += 1
    except BlockingIOError:
        pass
    except ConnectionError:
        closed += 1
assert 100 < closed < 200 and steady.execute("SELECT 1").fetchone() == (1,), closed
for client in silent:
    client.close()
time.sleep(0.5)
alive()
failed, held = [], []


def log_in():
    try:
        held.append(psycopg.connect(""))
    except psycopg.Error as error:
        failed.append(error)


logins = [threading.Thread(target=log_in) for _ in range(50)]
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
    with raw.connect(SERVER) as client:
        _, said = raw.scram(client, os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGDATABASE"])
        assert raw.code(said + raw.rest(client)) == "53300", said
    assert steady.execute("SELECT 1").fetchone() == (1,)
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
