-- The same day twice: is it two baskets or a mistake? An aggregate says so.
-- ERROR: use TARGET sum(units)
CREATE TABLE sales (item_id TEXT, sale_date DATE, units BIGINT);
INSERT INTO sales VALUES ('A1', DATE '2026-01-05', 3), ('A1', DATE '2026-01-05', 4), ('A1', DATE '2026-01-06', 5);
TRAIN FORECAST MODEL m ON sales TARGET units PARTITION BY item_id ORDER BY sale_date;
