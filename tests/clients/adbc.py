"""ADBC: Arrow out by binary COPY, Arrow in, catalogue."""
import os
from urllib.parse import quote

import adbc_driver_postgresql.dbapi as dbapi
import pyarrow as pa

user, password = quote(os.environ["PGUSER"]), quote(os.environ["PGPASSWORD"])
uri = f"postgresql://{user}:{password}@{os.environ['PGHOST']}:{os.environ['PGPORT']}/{os.environ['PGDATABASE']}"
with dbapi.connect(uri, autocommit=True) as connection:
    cursor = connection.cursor()
    cursor.execute("SELECT order_id, qty, channel, score, ordered_at, tags FROM orders ORDER BY order_id")
    table = cursor.fetch_arrow_table()
    assert table.num_rows == 500 and table.column("tags").to_pylist()[0] == ["a", "b"], table.schema
    cursor.execute("SELECT count(*) FROM orders WHERE qty > $1", parameters=(5,))
    assert cursor.fetchone()[0] == 71
    given = pa.table({"a": pa.array([1, 2, None], pa.int64()), "b": ["x", None, "z"], "c": [1.5, 2.5, 3.5]})
    assert cursor.adbc_ingest("taken_adbc", given, mode="create") == 3
    assert cursor.adbc_ingest("taken_adbc", given, mode="append") == 3
    cursor.execute("SELECT count(*), count(a), count(b), sum(c) FROM taken_adbc")
    assert cursor.fetchone() == (6, 4, 4, 15.0)
    cursor.execute("DROP TABLE taken_adbc")
    objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    schemas = {s["db_schema_name"]: s for c in objects for s in c["catalog_db_schemas"] or []}
    assert "orders" in {t["table_name"] for t in schemas["public"]["db_schema_tables"]}, schemas.keys()
    assert connection.adbc_get_table_schema("orders").field("qty").type == pa.int32()
