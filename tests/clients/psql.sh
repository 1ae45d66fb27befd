# psql: meta-commands, variables, COPY, errors and notices.
set -euo pipefail
fail() { echo "$1"; exit 1; }
run() { psql -X -v ON_ERROR_STOP=1 -v VERBOSITY=verbose "$@"; }
run -c '\d' | grep -q 'public | orders *| table' || fail '\d lists tables'
run -c '\d orders' | grep -q 'price *| numeric(10,2)' || fail '\d orders shows types'
run -c '\d+ products' | grep -q 'as on the shelf' || fail '\d+ shows comments'
for command in '\dt' '\dv' '\dn' '\dn+' '\df' '\du' '\l' '\dt+' '\dT' '\dp' '\ddp' '\dx' '\db' '\dC' '\conninfo' '\d daily' '\d forecasts.weekly' '\sv daily'; do
  run -c "$command" >/dev/null || fail "$command"
done
[ "$(run -Atc 'SELECT count(*) FROM orders')" = 500 ] || fail 'count'
run -Atc 'SELECT * FROM forecasts.weekly' | wc -l | grep -qx ' *7' || fail 'forecast'
run -c '\copy (SELECT * FROM products) TO STDOUT WITH (FORMAT csv, HEADER)' | grep -q '^1,shoe,sport,2024-01-01$' || fail '\copy to'
run -c 'CREATE TABLE copied (a int, b text)' -c "\\copy copied FROM PSTDIN WITH (FORMAT csv)" <<< $'1,x\n2,"y,z"' >/dev/null
[ "$(run -Atc "SELECT b FROM copied WHERE a = 2")" = 'y,z' ] || fail '\copy from'
run -c 'DROP TABLE copied' >/dev/null
# What fails says so by its exit status, too.
failing() { ! psql -X -v VERBOSITY=verbose "$@" 2>&1; }
failing -c 'SELECT * FROM ordrs' | grep -q 'ERROR:  42P01: no table ordrs; did you mean orders?' || fail 'an error has its code'
failing -c 'SELEC 1' | grep -q '\^' || fail 'an error has its place'
run -c 'TRAIN OR REPLACE FORECAST MODEL weekly ON sales TARGET units ORDER BY day HORIZON 7 USING tide WITH (epochs = 2, dim = 8)' 2>&1 |
  grep -q 'weekly' || fail 'TRAIN'
PGPASSWORD=wrong failing -c 'SELECT 1' | grep -q 'password authentication failed' || fail 'a wrong password is refused'
echo '\set n 3
SELECT :n + 1 AS four \gset
\echo :four' | run -At | grep -qx 4 || fail 'variables'
