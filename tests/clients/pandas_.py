"""pandas: read_sql, read_sql_table, to_sql."""
import os

import pandas as pd
import sqlalchemy as sa

engine = sa.create_engine(sa.URL.create(
    "postgresql+psycopg", os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGHOST"],
    int(os.environ["PGPORT"]), os.environ["PGDATABASE"]))
frame = pd.read_sql("SELECT * FROM orders", engine)
assert frame.shape == (500, 10) and frame["qty"].sum() == 1497, (frame.shape, frame["qty"].sum())
assert str(frame["ordered_at"].dtype).startswith("datetime64"), frame.dtypes
assert pd.read_sql_table("products", engine)["name"].tolist() == ["shoe", "hat", "Größe"]
frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=90), "units": range(90), "note": ["ä", None, "c"] * 30})
frame.to_sql("uploaded", engine, index=False)
frame.to_sql("uploaded", engine, index=False, if_exists="append", method="multi", chunksize=40)
assert pd.read_sql("SELECT count(*) AS n, count(note) AS notes FROM uploaded", engine).iloc[0].tolist() == [180, 120]
frame.to_sql("uploaded", engine, index=False, if_exists="replace")
with engine.connect() as connection:
    connection.execute(sa.text(
        "TRAIN FORECAST MODEL uploaded_7 ON uploaded TARGET units ORDER BY day HORIZON 7 USING seasonal_naive"))
forecast = pd.read_sql("SELECT day, forecast FROM forecasts.uploaded_7 ORDER BY day", engine)
assert len(forecast) == 7 and forecast["forecast"].tolist()[0] == 83.0, forecast
with engine.connect() as connection:
    connection.execute(sa.text("DROP MODEL uploaded_7"))
    connection.execute(sa.text("DROP TABLE uploaded"))
    connection.commit()
