"""polars through connectorx: binary COPY, CSV and cursor protocols, partitioned reads."""
import os
from urllib.parse import quote

import connectorx
import polars as pl

user, password = quote(os.environ["PGUSER"]), quote(os.environ["PGPASSWORD"])
uri = f"postgresql://{user}:{password}@{os.environ['PGHOST']}:{os.environ['PGPORT']}/{os.environ['PGDATABASE']}"
frame = pl.read_database_uri("SELECT order_id, qty, price, channel, is_promo, ordered_at FROM orders", uri)
assert frame.shape == (500, 6) and frame["qty"].sum() == 1497, frame
for protocol in ("binary", "csv", "cursor"):
    read = connectorx.read_sql(uri, "SELECT order_id, score FROM orders", return_type="polars", protocol=protocol)
    assert read["score"].sum() == 125.0, (protocol, read)
parts = connectorx.read_sql(uri, "SELECT order_id FROM orders", return_type="polars", partition_on="order_id", partition_num=3)
assert sorted(parts["order_id"].to_list()) == list(range(1, 501))
assert pl.read_database_uri("SELECT forecast FROM forecasts.weekly", uri).height == 7
