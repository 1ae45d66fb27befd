-- Your own files: into a table, or read where they lie.
-- Run it:  cargo run --release -- run examples/02_your_own_csv.sql

-- A file to play with. Yours has a header line with the names of its columns.
COPY (SELECT store_id, item_id, sale_date, units, price FROM synthetic_sales(series => 5, days => 200, seed => 1))
  TO '/tmp/foretell_sales.csv' STORED AS CSV;

-- Read it where it lies: the types are inferred, and every query sees the file as it is then.
CREATE EXTERNAL TABLE sales_file STORED AS CSV LOCATION '/tmp/foretell_sales.csv';
SELECT item_id, count(*) AS days, sum(units) AS units FROM sales_file GROUP BY item_id ORDER BY item_id;

-- Or keep it: a table with the types that you choose, which checks what it is given.
CREATE TABLE sales (
  store_id INT NOT NULL, item_id TEXT NOT NULL, sale_date DATE NOT NULL, units BIGINT CHECK (units >= 0), price DOUBLE
);
COPY sales FROM '/tmp/foretell_sales.csv';

-- The first model: every item as it was a week before.
TRAIN FORECAST MODEL units_7 ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 7 USING seasonal_naive;

-- Forecasts go out as files too.
COPY (SELECT * FROM forecast(units_7)) TO '/tmp/foretell_forecast.parquet' STORED AS PARQUET;

CREATE EXTERNAL TABLE handed_over STORED AS PARQUET LOCATION '/tmp/foretell_forecast.parquet';
SELECT count(*) AS rows, min(sale_date) AS first, max(sale_date) AS last FROM handed_over;
