-- The clause is misspelled.
-- ERROR: unknown clause HORIZONS; did you mean HORIZON?
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZONS 14;
