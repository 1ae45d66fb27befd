"""Bytes of the protocol that no driver sends, and what comes back; for hostile.py, limits_.py and tls.sh."""
import base64
import hashlib
import hmac
import re
import socket
import struct
import time

SSL_REQUEST = struct.pack("!II", 8, 80_877_103)
GSS_REQUEST = struct.pack("!II", 8, 80_877_104)


def startup(**parameters):
    body = struct.pack("!I", 196608) + b"".join(f"{k}\0{v}\0".encode() for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def connect(address):
    """A socket to `(host, port)`, or to the path of a Unix socket."""
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout=10)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(address)
    return client


def rest(client, within=5, after=b""):
    """Everything up to the end of the connection, which must come in time."""
    said, end = b"", time.monotonic() + within
    try:
        while True:
            client.settimeout(max(end - time.monotonic(), 0.001))
            if not (some := client.recv(65536)):
                return said
            said += some
    except ConnectionError:
        return said
    except TimeoutError:
        raise AssertionError(f"not closed {within} s after {after[:60]}, but: {said[:200]}") from None


def answer(address, sent, within=5):
    """What the server says to these bytes until it hangs up, which it must do in time."""
    with connect(address) as client:
        try:
            client.sendall(sent)
        except ConnectionError:
            pass
        return rest(client, within, sent)


def code(said):
    """The SQLSTATE of the first error among these messages."""
    found = re.search(rb"E.{4}S(?:FATAL|ERROR)\0V\w+\0C(\w{5})\0", said, re.DOTALL)
    return found and found[1].decode()


def next_message(client):
    """The next message: its kind and its body."""
    header = exactly(client, 5)
    return header[:1], exactly(client, struct.unpack("!I", header[1:])[0] - 4)


def exactly(client, count):
    said = b""
    while len(said) < count:
        some = client.recv(count - len(said))
        if not some:
            raise ConnectionError(f"closed after {said}")
        said += some
    return said


def scram(client, user, password, database):
    """A login by hand: salt and iterations, and what the proof got. Without a password the proof is wrong and costs no time."""
    client.sendall(startup(user=user, database=database))
    kind, body = next_message(client)
    if kind == b"E":
        return None, message(kind, body)
    assert (kind, body[:4]) == (b"R", struct.pack("!I", 10)), (kind, body)
    bare = "n=,r=nonce"
    first = f"n,,{bare}".encode()
    client.sendall(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first))
    kind, body = next_message(client)
    assert (kind, body[:4]) == (b"R", struct.pack("!I", 11)), (kind, body)
    challenge = body[4:].decode()
    nonce, salt, iterations = (part[2:] for part in challenge.split(","))
    proof = bytes(32)
    if password is not None:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
        key = hmac.digest(salted, b"Client Key", "sha256")
        signed = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{challenge},c=biws,r={nonce}".encode(), "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signed))
    client.sendall(message(b"p", f"c=biws,r={nonce},p={base64.b64encode(proof).decode()}".encode()))
    return (salt, iterations), message(*next_message(client))
