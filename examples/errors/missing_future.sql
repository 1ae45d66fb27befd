-- The model was trained with prices, so a forecast needs the prices to come.
-- ERROR: price
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  KNOWN price HORIZON 7 WITH (epochs = 1);
SELECT * FROM forecast(m);
