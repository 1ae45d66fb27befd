#!/usr/bin/env bash
# pgcli in a terminal: a query, the lists, a forecast. The folder of its programs is given.
set -euo pipefail
home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT
export HOME="$home" PAGER=cat TERM=xterm COLUMNS=200
out="$home/out"
typed() {
  sleep 8
  for line in 'SELECT count(*) AS all_orders FROM orders;' '\d orders' '\dt' '\l' '\df date*' '\dn' '\refresh' 'SELECT count(*) AS days FROM forecasts.weekly;' 'SELECT * FROM ordres;' '\q'; do
    printf '%s\r' "$line"
    sleep 2
  done
}
typed | timeout 120 script -qec "$1/pgcli --less-chatty" /dev/null >"$out" 2>&1
for expected in all_orders '500' ordered_at products forecasts days 'did you mean orders'; do
  grep -q "$expected" "$out" || { echo "pgcli did not show: $expected"; cat "$out"; exit 1; }
done
! grep -q Traceback "$out" || { cat "$out"; exit 1; }
