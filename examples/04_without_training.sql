-- Forecasts before any training: a pretrained network reads the history of each series and goes on from it.
-- Run it:  cargo run --release -- run examples/04_without_training.sql

CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 20, days => 500, seed => 3);

-- foretell_base ships with the binary. It was pretrained on made-up series and has seen no row of this table.
SELECT sale_date, step, forecast, lower_bound, upper_bound
FROM forecast(foretell_base, data => sales, target => units, by => (store_id, item_id), time => sale_date, horizon => 14)
WHERE store_id = 1 AND step <= 3 ORDER BY item_id, sale_date;

-- Rows without a target tell what is known of the future: a promotion on two of the days.
WITH plan AS (
  SELECT sale_date, units, promo FROM sales WHERE store_id = 1 AND item_id = (SELECT min(item_id) FROM sales)
  UNION ALL
  SELECT (SELECT max(sale_date) FROM sales) + n::int, NULL, n IN (3, 4) FROM generate_series(1, 7) AS d(n)
)
SELECT sale_date, forecast FROM forecast(foretell_base, data => plan, target => units, time => sale_date, known => promo, horizon => 7);

-- Order lines become weeks first.
SELECT * FROM forecast(foretell_base, data => sales, target => sum(units), time => sale_date, every => week, horizon => 4);

-- How good is that? As a family of models it is scored on days that it is not shown, like any other.
TRAIN FORECAST MODEL compared ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  KNOWN price, promo, holiday HORIZON 14 USING foundation, ets, seasonal_naive;
SELECT family, mase, weight FROM leaderboard(compared);

-- A network of your own, from your series and made-up ones; many more steps make it good.
PRETRAIN FORECAST MODEL own_base ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  OBJECTIVE masked_patch WITH (steps = 5, dim = 64, layers = 2, batch_size = 8192);
SELECT count(*) AS rows
FROM forecast(own_base, data => sales, target => units, by => (store_id, item_id), time => sale_date, horizon => 14);
