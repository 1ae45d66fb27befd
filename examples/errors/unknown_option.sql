-- The option is misspelled.
-- ERROR: unknown option epoch; did you mean epochs?
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  WITH (epoch = 3);
