-- There is no such model.
-- ERROR: no model units_82; did you mean units_28?
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL units_28 ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 7 USING seasonal_naive;
SELECT * FROM forecast(units_82);
