#!/usr/bin/env bash
# TLS with a certificate of our own: psql checks it and binds its password to it; without TLS nobody from outside.
set -euo pipefail
fail() { echo "$1"; exit 1; }
room="$(mktemp -d)"
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$room"' EXIT
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
  -keyout "$room/key" -out "$room/certificate" 2>/dev/null
"$FORETELL" serve "$room/shop" --port 0 --tls-certificate "$room/certificate" --tls-key "$room/key" >"$room/log" 2>&1 &
server=$!
for _ in $(seq 100); do
  grep -q '^foretell .* serves' "$room/log" && break
  sleep 0.1
done
PGPORT="$(sed -n 's/^foretell .* serves .* on 127.0.0.1:\([0-9]*\)$/\1/p' "$room/log")"
PGPASSWORD="$(cat "$room/shop/owner-password")"
export PGPORT PGPASSWORD PGHOST=localhost PGDATABASE=shop PGSSLROOTCERT="$room/certificate"
run() { psql -XAtc "$1" 2>&1; }
export PGSSLMODE=verify-full
[ "$(run 'SELECT 1')" = 1 ] || fail "verify-full: $(run 'SELECT 1')"
PGCHANNELBINDING=require run 'SELECT 2' | grep -qx 2 || fail 'SCRAM-SHA-256-PLUS'
psql -Xc '\conninfo' | grep -q 'TLSv1.3' || fail 'TLS 1.3'
failing() { ! run "$1"; }
PGPASSWORD=wrong failing 'SELECT 1' | grep -q 'password authentication failed' || fail 'a wrong password is refused'
kill "$server"
wait "$server" || true
server=
# A key of another certificate, and a file that is none: no start.
openssl genrsa -out "$room/other" 2048 2>/dev/null
for key in "$room/other" "$room/certificate" "$room/nosuch"; do
  ! timeout 20 "$FORETELL" serve "$room/shop" --port 0 --tls-certificate "$room/certificate" --tls-key "$key" >"$room/log" 2>&1 ||
    fail "started with the key $key"
  grep -q "$(basename "$key")\|key" "$room/log" || fail "the key is not named: $(cat "$room/log")"
done
