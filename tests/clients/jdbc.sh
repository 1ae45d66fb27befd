#!/usr/bin/env bash
# pgjdbc, compiled and run in a folder of its own.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
classes="$(mktemp -d)"
trap 'rm -rf "$classes"' EXIT
driver=/usr/share/java/postgresql.jar
javac -cp "$driver" -d "$classes" "$here/Jdbc.java"
java -cp "$classes:$driver" Jdbc
