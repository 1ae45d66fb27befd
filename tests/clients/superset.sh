#!/usr/bin/env bash
# Apache Superset as its pages drive it: connection test, tables, SQL Lab, a chart of a forecast. The folder of its
# installation is given.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
cat >"$room/superset_config.py" <<CONFIG
SECRET_KEY = "$(head -c 24 /dev/urandom | base64)"
SQLALCHEMY_DATABASE_URI = "sqlite:///$room/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
CONFIG
export SUPERSET_CONFIG_PATH="$room/superset_config.py" SUPERSET_HOME="$room" FLASK_APP="superset.app:create_app()"
"$1/superset" db upgrade >"$room/log" 2>&1 || { tail -n 30 "$room/log"; exit 1; }
"$1/superset" fab create-admin --username admin --firstname a --lastname b --email a@example.com --password admin \
  >"$room/log" 2>&1 || { tail -n 30 "$room/log"; exit 1; }
"$1/superset" init >"$room/log" 2>&1 || { tail -n 30 "$room/log"; exit 1; }
"$1/python" "$here/superset_.py"
