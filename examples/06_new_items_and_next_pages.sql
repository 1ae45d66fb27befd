-- Items that never sold, pages that come next, and models that stay fresh and small.
-- Run it:  cargo run --release -- run examples/06_new_items_and_next_pages.sql

CREATE TABLE products AS
SELECT 'P' || n AS item, thing || ' no ' || n AS title, 'brand ' || n % 4 AS brand, price
FROM generate_series(1, 80) s(n)
JOIN (VALUES (0, 'red glass lamp', 25.0), (1, 'small paper bag', 2.0), (2, 'large paper bag', 4.0), (3, 'blue glass vase', 18.0))
  t(i, thing, price) ON n % 4 = t.i;

CREATE TABLE sales AS
SELECT item, DATE '2026-01-05' + d::int AS day, title, brand, price,
  round(120 / (price + 1) * (1 + 0.3 * CASE WHEN d % 7 > 4 THEN 1 ELSE 0 END) + (d * 7 + length(item) * 3) % 5)::int AS units
FROM products CROSS JOIN generate_series(0, 83) t(d);

-- Texts become numbers by the weights of their words; ENCODER m reads them with a text model.
TRAIN FORECAST MODEL demand ON sales TARGET units PARTITION BY item ORDER BY day
STATIC brand, price TEXT title HORIZON 14 USING gbt WITH (trees = 50);

-- What is told of new items speaks for them.
SELECT item, status, round(avg(forecast), -1) AS units
FROM forecast(demand, items => (SELECT * FROM (VALUES
  ('N1', 'green glass lamp', 'brand 1', 24.0), ('N2', 'tiny paper bag', 'brand 2', 2.0)) v(item, title, brand, price)))
GROUP BY item, status ORDER BY item;

-- Two weeks later: the model goes on with the new rows, and stands where it is better on them.
INSERT INTO sales
SELECT item, DATE '2026-01-05' + d::int, title, brand, price,
  round(180 / (price + 1) * (1 + 0.3 * CASE WHEN d % 7 > 4 THEN 1 ELSE 0 END) + (d * 7 + length(item) * 3) % 5)::int
FROM products CROSS JOIN generate_series(84, 97) t(d);

SELECT model, version, promoted, value < value_before AS better FROM refresh_model(demand);

-- Half of the trees: bytes, seconds and scores before and after.
SELECT model, version, bytes < bytes_before AS smaller FROM compress_model(demand, prune => 0.5);

-- What visitors look at next: a network that learnt to fill in hidden pages is taught to go on.
CREATE TABLE visits AS
SELECT v AS visitor, s AS step, 'page ' || CASE WHEN v % 2 = 0 THEN (v / 2 + s) % 12 ELSE (v / 2 + 240 - s) % 12 END AS page
FROM generate_series(1, 240) visits(v) CROSS JOIN generate_series(0, 9) steps(s);

PRETRAIN SEQUENCE MODEL walks ON visits TARGET page PARTITION BY visitor ORDER BY step
OBJECTIVE masked_item WITH (dim = 16, layers = 1, epochs = 12, batch_size = 32, learning_rate = 0.005, context = 8);

TRAIN CLASSIFICATION MODEL next_page FROM walks ON visits TARGET page PARTITION BY visitor ORDER BY step
WITH (epochs = 20, batch_size = 32, learning_rate = 0.005, dropout = 0);

SELECT visitor, rank, prediction FROM predict(next_page, visits, top => 2) WHERE visitor IN (2, 3) AND rank = 1 ORDER BY visitor;
