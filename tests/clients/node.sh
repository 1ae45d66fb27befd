#!/usr/bin/env bash
# node-postgres and what is built on it; the packages live in the folder that is given.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
packages=(pg pg-cursor pg-query-stream pg-copy-streams postgres knex sequelize typeorm kysely)
mkdir -p "$1"
cd "$1"
for package in "${packages[@]}"; do
  [ -d "node_modules/$package" ] || { npm install --no-audit --no-fund --silent "${packages[@]}"; break; }
done
NODE_PATH="$1/node_modules" node "$here/node.js"
