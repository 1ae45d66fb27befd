-- A forecast has at least one step.
-- ERROR: horizon must be a whole number from 1 to 100000, got 0
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 0;
