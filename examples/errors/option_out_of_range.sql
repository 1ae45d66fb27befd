-- Dropout is a share.
-- ERROR: dropout must be a number from 0 to 0.9, got 2
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  WITH (dropout = 2);
