#!/usr/bin/env bash
# TLS with a certificate of our own: psql checks it and binds its password to it; without TLS nobody from outside.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
fail() { echo "$1"; exit 1; }
room="$(mktemp -d)"
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$room"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
  -keyout "$room/key" -out "$room/certificate" 2>/dev/null
start() {
  : >"$room/log"  # of the last server
  "$FORETELL" serve "$room/shop" --port 0 --tls-certificate "$room/certificate" --tls-key "$room/key" "$@" >"$room/log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    grep -q '^foretell .* serves' "$room/log" && break
    sleep 0.1
  done
  PGPORT="$(sed -n 's/^foretell .* serves .* on [0-9.]*:\([0-9]*\)$/\1/p' "$room/log")"
  [ -n "$PGPORT" ] || fail "no start: $(cat "$room/log")"
}
stop() {
  kill "$server"
  wait "$server" || fail "the server ended with $?"
  server=
}
# Python with raw.py, for bytes that psql does not send.
by_hand() { PYTHONPATH="$here" python3 -; }
start
PGPASSWORD="$(cat "$room/shop/owner-password")"
export PGPORT PGPASSWORD PGHOST=localhost PGDATABASE=shop PGSSLROOTCERT="$room/certificate"
run() { psql -XAtc "$1" 2>&1; }
export PGSSLMODE=verify-full
[ "$(run 'SELECT 1')" = 1 ] || fail "verify-full: $(run 'SELECT 1')"
PGCHANNELBINDING=require run 'SELECT 2' | grep -qx 2 || fail 'SCRAM-SHA-256-PLUS'
psql -Xc '\conninfo' | grep -q 'TLSv1.3' || fail 'TLS 1.3'
failing() { ! run "$1"; }
PGPASSWORD=wrong failing 'SELECT 1' | grep -q 'password authentication failed' || fail 'a wrong password is refused'
# On loopback a client may do without.
[ "$(PGSSLMODE=disable run 'SELECT 3')" = 3 ] || fail "sslmode=disable on loopback: $(PGSSLMODE=disable run 'SELECT 3')"
# A start-up packet that comes with the request for TLS may be anybody's (CVE-2021-23214): no answer to it.
by_hand <<'END'
import os, ssl, raw
there = ("127.0.0.1", int(os.environ["PGPORT"]))
login = raw.startup(user=os.environ["PGUSER"], database="shop")
for sent in (raw.SSL_REQUEST + login, raw.GSS_REQUEST + login, raw.GSS_REQUEST + raw.SSL_REQUEST + login, raw.SSL_REQUEST + b"\x16"):
    said = raw.answer(there, sent, within=2)
    assert b"R\0\0\0" not in said and b"S" != said[:1] and raw.code(said) in (None, "08P01"), (sent, said)
    assert said.removeprefix(b"N")[:1] in (b"", b"E"), (sent, said)
# The same behind the handshake is no other matter; and TLS at once only for those who name the protocol.
context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
with raw.connect(there) as client:
    client.sendall(raw.SSL_REQUEST)
    assert raw.exactly(client, 1) == b"S"
    with context.wrap_socket(client, server_hostname="localhost") as inside:
        inside.sendall(login)
        assert raw.next_message(inside)[0] == b"R"
with raw.connect(there) as client:
    client.sendall(raw.SSL_REQUEST)
    assert raw.exactly(client, 1) == b"S"
    client.sendall(login)
    said = raw.rest(client, within=2)
    assert b"R\0\0\0" not in said, said
for protocols, welcome in ((["postgresql"], True), (["http/1.1"], False), ([], False)):
    context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    if protocols:
        context.set_alpn_protocols(protocols)
    try:
        with context.wrap_socket(raw.connect(there), server_hostname="localhost") as inside:
            inside.sendall(login)
            assert raw.next_message(inside)[0] == b"R"
            came_in = True
    except (ConnectionError, ssl.SSLError):
        came_in = False
    assert came_in == welcome, protocols
END
stop
# From another address than loopback nobody comes in without TLS, nor, by --trust, without a password.
outside="$(hostname -I | tr ' ' '\n' | grep -m1 '^[0-9.]*$' || true)"
if [ -n "$outside" ]; then
  for trust in '' --trust; do
    start --host 0.0.0.0 $trust
    export PGHOST="$outside" PGSSLMODE=require
    [ "$(run 'SELECT 4')" = 4 ] || fail "sslmode=require from $outside: $(run 'SELECT 4')"
    [ "$(PGSSLMODE=prefer run 'SELECT 5')" = 5 ] || fail "sslmode=prefer from $outside"
    PGPASSWORD=wrong failing 'SELECT 1' | grep -q 'password authentication failed' || fail "a wrong password from $outside $trust"
    PGSSLMODE=disable failing 'SELECT 1' | grep -q 'FATAL: .*encryption' || fail "unencrypted from $outside: $(PGSSLMODE=disable run 'SELECT 1')"
    by_hand <<'END'
import os, raw
for user in (os.environ["PGUSER"], "nobody"):
    said = raw.answer((os.environ["PGHOST"], int(os.environ["PGPORT"])), raw.startup(user=user, database="shop"), within=2)
    assert raw.code(said) == "28000" and said[:1] == b"E" and b"encryption" in said, said
END
    export PGHOST=localhost
    [ "$(PGSSLMODE=disable run 'SELECT 6')" = 6 ] || fail 'sslmode=disable on loopback of a server for all'
    stop
  done
else
  echo 'this machine has no address but loopback: clients from outside are not tried'
fi
# A key of another certificate, and a file that is none: no start.
openssl genrsa -out "$room/other" 2048 2>/dev/null
for key in "$room/other" "$room/certificate" "$room/nosuch"; do
  ! timeout 20 "$FORETELL" serve "$room/shop" --port 0 --tls-certificate "$room/certificate" --tls-key "$key" >"$room/log" 2>&1 ||
    fail "started with the key $key"
  grep -q "$(basename "$key")\|key" "$room/log" || fail "the key is not named: $(cat "$room/log")"
done
