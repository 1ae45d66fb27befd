"""psycopg2: named cursors, COPY, session settings, errors."""
import io

import psycopg2
import psycopg2.extras

connection = psycopg2.connect("")
connection.set_session(isolation_level="READ COMMITTED", autocommit=True)
with connection.cursor(cursor_factory=psycopg2.extras.DictCursor) as cursor:
    cursor.execute("SELECT name, listed FROM products WHERE product_id = %s", (3,))
    row = cursor.fetchone()
    assert row["name"] == "Größe" and row["listed"] is None, row
    cursor.execute("SELECT product_id FROM products WHERE product_id IN %s ORDER BY 1", ((1, 3),))
    assert cursor.fetchall() == [[1], [3]]
    cursor.execute("CREATE TABLE taken_psycopg2 (a int, b text)")
    psycopg2.extras.execute_values(cursor, "INSERT INTO taken_psycopg2 VALUES %s", [(n, str(n)) for n in range(250)])
    cursor.copy_expert("COPY taken_psycopg2 FROM STDIN WITH (FORMAT csv)", io.StringIO("1000,x\n1001,\n"))
    out = io.StringIO()
    cursor.copy_expert("COPY (SELECT * FROM taken_psycopg2 WHERE a >= 1000 ORDER BY a) TO STDOUT WITH (FORMAT csv)", out)
    assert out.getvalue() == "1000,x\n1001,\n", out.getvalue()
    cursor.execute("DROP TABLE taken_psycopg2")
connection.autocommit = False
with connection.cursor("named") as cursor:
    cursor.itersize = 50
    cursor.execute("SELECT order_id FROM orders ORDER BY 1")
    assert sum(1 for _ in cursor) == 500
connection.rollback()
try:
    connection.cursor().execute("SELECT 1 / 0")
    raise AssertionError("no error")
except psycopg2.errors.DivisionByZero:
    connection.rollback()
