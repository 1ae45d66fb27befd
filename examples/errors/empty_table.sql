-- A model learns from rows.
-- ERROR: sales has no rows: there is nothing to train on
CREATE TABLE sales (item_id TEXT, sale_date DATE, units BIGINT);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY item_id ORDER BY sale_date;
