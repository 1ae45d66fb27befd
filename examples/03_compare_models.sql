-- Which model is worth its time? Train several on the same rows and read their scores side by side.
-- Run it:  cargo run --release -- run examples/03_compare_models.sql

CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 20, days => 500, seed => 3);

-- Last week again: free, and what every other model has to beat.
TRAIN FORECAST MODEL naive ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 14 USING seasonal_naive;

-- Exponential smoothing, series by series: level, trend and season.
TRAIN FORECAST MODEL smooth ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 14 USING ets;

-- One network over all series, which also sees prices, promotions and holidays.
TRAIN FORECAST MODEL network ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  KNOWN price, promo, holiday STATIC category
  HORIZON 14 WITH (epochs = 5, seed = 3);

-- All on the same two weeks, which none of them has seen.
SELECT model, wape, mase, coverage, skill FROM evaluate((naive, smooth, network)) ORDER BY wape;

-- Where is a model good, and where not? Scores by any key.
EVALUATE MODEL smooth BY store_id;

-- Was that luck? Four fortnights of the past, each forecast by what was known before it.
SELECT model, cutoff, wape(actual, forecast) AS wape, coverage(actual, lower_bound, upper_bound) AS coverage
FROM backtest((smooth, naive), windows => 4) GROUP BY model, cutoff ORDER BY model, cutoff;

-- The list of models, and how one of them came about.
SHOW MODELS;
DESCRIBE MODEL network;

-- A second version of the same model; the first is kept until it is dropped.
TRAIN OR REPLACE FORECAST MODEL naive ON sales TARGET units PARTITION BY store_id, item_id ORDER BY sale_date
  HORIZON 28 USING seasonal_naive;
SHOW MODEL VERSIONS naive;
ALTER MODEL naive ROLLBACK;
