-- The target is misspelled.
-- ERROR: no column unit in sales; did you mean units?
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET unit PARTITION BY store_id, item_id ORDER BY sale_date;
