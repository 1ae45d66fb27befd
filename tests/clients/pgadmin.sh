#!/usr/bin/env bash
# pgAdmin as its pages drive it: a server, the tree, the query tool. The folder of its programs is given.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
export PGADMIN_ROOM="$room" HOME="$room"
"$1/python" "$here/pgadmin_.py"
