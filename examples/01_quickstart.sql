-- Forecast the sales of a small chain of shops, from raw rows to a what-if, in plain SQL.
-- Run it:  cargo run --release -- run examples/01_quickstart.sql

-- Twenty months of daily sales, made up here; your own come with COPY (see 02_your_own_csv.sql).
CREATE TABLE all_sales AS
  SELECT * FROM synthetic_sales(series => 30, days => 600, seed => 7);

-- What we know today: everything but the last four weeks. Those we keep aside, to check the forecast.
CREATE TABLE sales AS
  SELECT * FROM all_sales WHERE sale_date <= (SELECT max(sale_date) - INTERVAL '28 days' FROM all_sales);

-- What is planned for these four weeks: prices, promotions and holidays are known ahead.
CREATE VIEW plan AS
  SELECT store_id, item_id, sale_date, price, promo, holiday FROM all_sales
  WHERE sale_date > (SELECT max(sale_date) FROM sales);

CREATE VIEW products AS SELECT DISTINCT item_id, category, description FROM all_sales;

-- Look before you train: columns and their roles, series, gaps, memory, time. Nothing is trained yet.
EXPLAIN TRAIN FORECAST MODEL units_28 ON sales
  TARGET units
  PARTITION BY store_id, item_id ORDER BY sale_date
  KNOWN price, promo, holiday STATIC category
  HORIZON 28;

-- One model for all series: it learns what they have in common.
TRAIN FORECAST MODEL units_28 ON sales
  TARGET units
  PARTITION BY store_id, item_id ORDER BY sale_date
  KNOWN price, promo, holiday STATIC category
  HORIZON 28
  WITH (epochs = 5, seed = 7);

-- The next week of one shop, with the range that holds 9 of 10 outcomes, beside the product's text.
SELECT f.sale_date, p.description, f.forecast, f.lower_bound, f.upper_bound
FROM forecast(units_28, future => plan, level => 90) f JOIN products p ON p.item_id = f.item_id
WHERE f.store_id = 1 AND f.step <= 7
ORDER BY f.item_id, f.sale_date
LIMIT 7;

-- How good is it? On the weeks that training held out, beside simply repeating last week ...
SELECT n_series, wape, mase, coverage, naive_mae, skill FROM evaluate(units_28);

-- ... and on the four weeks that we kept aside.
SELECT wape(units, forecast) AS wape, coverage(units, lower_bound, upper_bound) AS coverage
FROM forecast(units_28, future => plan, level => 90) f JOIN all_sales a USING (store_id, item_id, sale_date);

-- What if everything were on promotion, 20 % cheaper?
SELECT category, round(sum(p.forecast)) AS as_planned, round(sum(c.forecast)) AS on_promotion
FROM forecast(units_28, future => plan) p
JOIN forecast(units_28, future => plan, set => (promo = true, price = price * 0.8)) c
  USING (store_id, item_id, sale_date)
JOIN products r ON r.item_id = p.item_id
GROUP BY category ORDER BY category;
