"""Every right on a table, a view and a model against every way to use them; denied is 42501, unseen is 42P01."""
import os

import psycopg
from psycopg import sql

OWNER = psycopg.connect("", autocommit=True)
# A PostgreSQL beside it answers the same: then what is of models is left away.
OURS = "Foretell" in OWNER.execute("SELECT version()").fetchone()[0]
RIGHTS = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]
# What a statement needs, by the statement.
NEEDS = {
    "SELECT * FROM stock": {"SELECT"},
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM stock)": {"SELECT"},
    "WITH s AS (SELECT * FROM stock) SELECT count(*) FROM s": {"SELECT"},
    "EXPLAIN SELECT * FROM stock": {"SELECT"},
    "EXPLAIN ANALYZE SELECT * FROM stock": {"SELECT"},
    "EXPLAIN ANALYZE INSERT INTO stock VALUES ('x', 1)": {"INSERT"},
    "COPY stock TO STDOUT": {"SELECT"},
    "COPY (SELECT item FROM stock) TO STDOUT": {"SELECT"},
    "COPY stock FROM STDIN": {"INSERT"},
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM stock; COMMIT": {"SELECT"},
    "INSERT INTO stock VALUES ('x', 1)": {"INSERT"},
    "INSERT INTO stock VALUES ('x', 1) RETURNING item": {"INSERT", "SELECT"},
    "INSERT INTO own SELECT item, units FROM stock": {"SELECT"},
    "UPDATE stock SET units = 1": {"UPDATE"},
    "UPDATE stock SET units = units + 1": {"UPDATE", "SELECT"},
    "UPDATE stock SET units = 1 WHERE item = 'A'": {"UPDATE", "SELECT"},
    "UPDATE stock SET units = 1 RETURNING units": {"UPDATE", "SELECT"},
    "DELETE FROM stock": {"DELETE"},
    "DELETE FROM stock WHERE item = 'A'": {"DELETE", "SELECT"},
    "DELETE FROM own WHERE item IN (SELECT item FROM stock)": {"SELECT"},
    "TRUNCATE stock": {"TRUNCATE"},
    "ALTER TABLE stock ADD COLUMN more INT": None,
    "DROP TABLE stock": None,
    "COMMENT ON TABLE stock IS 'x'": None,
    "ALTER TABLE stock RENAME TO taken": None,
    "CREATE INDEX i ON stock (item)": None,
}
if OURS:
    NEEDS |= {
        "TRAIN FORECAST MODEL mine ON stock TARGET units ORDER BY day HORIZON 2 USING seasonal_naive": None,
        "EXPLAIN TRAIN FORECAST MODEL mine ON sales TARGET units ORDER BY day HORIZON 2 USING seasonal_naive": None,
    }


def outcome(connection, statement):
    """`done`, or the SQLSTATE."""
    try:
        with connection.cursor() as cursor:
            if "STDOUT" in statement:
                with cursor.copy(statement) as copy:
                    list(copy)
            elif "STDIN" in statement:
                with cursor.copy(statement) as copy:
                    copy.write("y\t2\t2024-01-01\n")
            else:
                cursor.execute(statement)
        return "done"
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        return error.sqlstate


for line in ("DROP TABLE IF EXISTS stock CASCADE", "DROP TABLE IF EXISTS own", "DROP ROLE IF EXISTS clerk",
             "CREATE TABLE stock (item TEXT, units INT, day DATE)", "CREATE TABLE own (item TEXT, units INT)",
             "CREATE ROLE clerk LOGIN PASSWORD 'clerk'", "GRANT SELECT, INSERT, UPDATE, DELETE ON own TO clerk"):
    OWNER.execute(line)
clerk = psycopg.connect(user="clerk", password="clerk", autocommit=True)
checked = 0
for held in range(2 ** len(RIGHTS)):
    rights = {right for n, right in enumerate(RIGHTS) if held >> n & 1}
    OWNER.execute("REVOKE ALL ON stock FROM clerk")
    for right in sorted(rights):
        OWNER.execute(sql.SQL("GRANT {} ON stock TO clerk").format(sql.SQL(right)))
    for statement, needed in NEEDS.items():
        allowed = needed is not None and needed <= rights
        got = outcome(clerk, statement)
        checked += 1
        # What a role has no right on at all does not exist for it.
        unseen = not rights or "ON sales" in statement
        expected = {"done"} if allowed else {"42501"} | ({"42P01"} if unseen else set())
        assert got in expected, (sorted(rights), statement, got)

# A view is read with the rights of its owner; those of its tables do not matter.
OWNER.execute("REVOKE ALL ON stock FROM clerk")
OWNER.execute("CREATE VIEW shown AS SELECT item FROM stock")
assert outcome(clerk, "SELECT * FROM shown") in ("42501", "42P01")
OWNER.execute("GRANT SELECT ON shown TO clerk")
assert outcome(clerk, "SELECT * FROM shown") == "done"
assert outcome(clerk, "SELECT units FROM stock") in ("42501", "42P01")
if OURS:
    OWNER.execute("CREATE OR REPLACE VIEW soon AS SELECT * FROM forecast(weekly)")
    for statement in ("SELECT * FROM forecast(weekly)", "SELECT * FROM forecasts.weekly", "SELECT * FROM soon",
                      "SELECT * FROM evaluate(weekly)", "DROP MODEL weekly", "ALTER MODEL weekly RENAME TO w"):
        assert outcome(clerk, statement) in ("42501", "42P01", "42704"), statement
    OWNER.execute("GRANT SELECT ON MODEL weekly TO clerk")
    for statement in ("SELECT * FROM forecast(weekly)", "SELECT * FROM forecasts.weekly", "SELECT * FROM evaluate(weekly)"):
        assert outcome(clerk, statement) == "done", statement
    for statement in ("DROP MODEL weekly", "ALTER MODEL weekly RENAME TO w", "SELECT * FROM soon",
                      "TRAIN OR REPLACE FORECAST MODEL weekly ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive"):
        assert outcome(clerk, statement) in ("42501", "42P01"), statement
    for statement in (f"COPY own TO '{os.getcwd()}/x.csv'", f"COPY own FROM '{os.getcwd()}/x.csv'",
                      "CREATE EXTERNAL TABLE e STORED AS CSV LOCATION '/etc/passwd'", "SET datafusion.runtime.memory_limit = '1G'",
                      "CREATE ROLE other", "ALTER ROLE clerk SUPERUSER", f"SET ROLE \"{OWNER.info.user}\""):
        assert outcome(clerk, statement) != "done", statement
# A prepared statement is checked when it runs, not only when it is made.
OWNER.execute("GRANT SELECT ON stock TO clerk")
clerk.execute("PREPARE p AS SELECT * FROM stock")
assert outcome(clerk, "EXECUTE p") == "done"
OWNER.execute("REVOKE SELECT ON stock FROM clerk")
assert outcome(clerk, "EXECUTE p") in ("42501", "42P01")
print(f"{checked} of the matrix")
