#!/usr/bin/env bash
# dbt: seeds, a table whose post-hook trains a model, a view of its forecast, tests, documentation; all of it twice.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
cp -r "$here/dbt/." "$room"
cd "$room"
export DBT_PROFILES_DIR="$room" DBT_SEND_ANONYMOUS_USAGE_STATS=False DBT_USE_COLORS=False
"$1/dbt" debug
for _ in 1 2; do
  "$1/dbt" seed
  "$1/dbt" run
  "$1/dbt" test
done
"$1/dbt" docs generate
[ "$(psql -AtXc 'SELECT count(*) FROM next_visits')" = 56 ]
