-- What the clients find: two tables, a view, and a model.
CREATE TABLE products (product_id INT NOT NULL, name VARCHAR(50) NOT NULL, category TEXT, listed DATE);
COMMENT ON TABLE products IS 'what is sold';
COMMENT ON COLUMN products.name IS 'as on the shelf';
INSERT INTO products VALUES
  (1, 'shoe', 'sport', DATE '2024-01-01'), (2, 'hat', NULL, DATE '2024-02-01'), (3, 'Größe', 'winter', NULL);
CREATE TABLE orders (
  order_id BIGINT NOT NULL, product_id INT, ordered_at TIMESTAMPTZ NOT NULL, qty INT, price NUMERIC(10,2),
  channel VARCHAR(20), is_promo BOOLEAN, weight REAL, score DOUBLE PRECISION, tags TEXT[]);
INSERT INTO orders
SELECT g, g % 3 + 1, TIMESTAMPTZ '2024-01-01 00:00:00+00' + g * INTERVAL '1 hour', g % 7, (1.5 * g)::numeric(10,2),
  CASE WHEN g % 2 = 0 THEN 'web' ELSE 'store' END, g % 5 = 0, 0.5, 0.25, CASE WHEN g % 4 = 0 THEN NULL ELSE ARRAY['a', 'b'] END
FROM generate_series(1, 500) AS t(g);
CREATE VIEW daily AS
SELECT product_id, CAST(date_trunc('day', ordered_at) AS date) AS day, sum(qty) AS units FROM orders GROUP BY 1, 2;
CREATE TABLE sales AS
SELECT DATE '2024-01-01' + n::int AS day, (20 + n % 7)::bigint AS units FROM generate_series(0, 120) AS t(n);
TRAIN FORECAST MODEL weekly ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive;
