"""psqlODBC: catalogue functions, parameters, cursors of a few rows, transactions."""
import os

import pyodbc

SERVER = "Driver={{PostgreSQL Unicode}};Server={PGHOST};Port={PGPORT};Database={PGDATABASE};Uid={PGUSER};Pwd={PGPASSWORD};".format(
    **os.environ)
connection = pyodbc.connect(SERVER, autocommit=True)
assert connection.getinfo(pyodbc.SQL_DBMS_NAME) == "PostgreSQL"
cursor = connection.cursor()
tables = {row.table_name for row in cursor.tables(tableType="TABLE")}
assert tables >= {"orders", "products", "sales"}, tables
views = {(row.table_schem, row.table_name) for row in cursor.tables(tableType="VIEW")}
assert ("forecasts", "weekly") in views, views
columns = [row.column_name for row in cursor.columns(table="orders")]
assert len(columns) == 10 and columns[0] == "order_id", columns
for rows in (cursor.primaryKeys(table="orders"), cursor.foreignKeys(table="products"), cursor.statistics("orders"),
             cursor.getTypeInfo(), cursor.procedures(), cursor.rowIdColumns("orders")):
    rows.fetchall()
rows = cursor.execute("SELECT * FROM orders WHERE order_id = ?", 5).fetchall()
assert len(rows) == 1 and rows[0].price == 7.5, rows
assert len(cursor.execute("SELECT * FROM orders").fetchall()) == 500
assert len(cursor.execute("SELECT * FROM forecasts.weekly").fetchall()) == 7
fetching = pyodbc.connect(SERVER + "UseDeclareFetch=1;Fetch=90")
assert len(fetching.cursor().execute("SELECT * FROM orders").fetchall()) == 500
fetching.close()
connection.autocommit = False
cursor.execute("CREATE TEMP TABLE kept (a INT)")
cursor.executemany("INSERT INTO kept VALUES (?)", [(1,), (2,)])
connection.commit()
assert cursor.execute("SELECT sum(a) FROM kept").fetchval() == 3
try:
    cursor.execute("SELECT * FROM ordres")
    raise AssertionError("no error")
except pyodbc.Error as error:
    assert error.args[0] == "42P01" or "did you mean orders" in str(error), error
