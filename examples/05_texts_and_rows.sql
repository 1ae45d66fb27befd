-- Words that describe products, and what is told of customers from their rows.
-- Run it:  cargo run --release -- run examples/05_texts_and_rows.sql

CREATE TABLE products AS
SELECT n AS id, color || ' ' || thing AS title, 'A ' || thing || ' ' || purpose || ', in ' || color || '.' AS description
FROM generate_series(1, 96) s(n)
JOIN (VALUES (0, 'red'), (1, 'blue'), (2, 'green'), (3, 'white')) c(i, color) ON n % 4 = c.i
JOIN (VALUES (0, 'mug', 'for hot drinks'), (1, 'shoe', 'for running'), (2, 'lamp', 'for reading'), (3, 'rug', 'for floors'))
  t(j, thing, purpose) ON n / 4 % 4 = t.j;

-- A vocabulary and an encoder from these texts alone; OBJECTIVE sentence_order also learns which part comes first.
PRETRAIN TEXT MODEL words ON products TEXT title, description || ' No ' || id || '.'
OBJECTIVE masked_lm WITH (steps = 60, dim = 32, layers = 1, vocabulary = 300);

SELECT title, round(max(cosine_similarity(embed('words', title), embed('words', 'a red mug'))), 2) AS likeness
FROM products GROUP BY title ORDER BY likeness DESC, title LIMIT 3;

CREATE TABLE customers AS
SELECT n AS customer_id, (n * 7919) % 61 AS visits, CASE n % 2 WHEN 0 THEN 'DE' ELSE 'US' END AS country,
  CASE WHEN (n * 7919) % 61 > 30 THEN 'quick delivery, will come again' ELSE 'late and broken' END AS notes,
  (n * 7919) % 61 <= 30 <> (n % 20 = 0) AS churned
FROM generate_series(1, 600) s(n);

-- Linear models, trees and machines of support vectors tell it, and are combined by how well they do on rows held out.
TRAIN CLASSIFICATION MODEL churn ON customers TARGET churned FEATURES visits, country TEXT notes;

SELECT family, auc > 0.8 AS good FROM leaderboard(churn) ORDER BY family;

SELECT country, round(avg((prediction = churned)::int), 1) AS right, round(log_loss(churned::int, CASE WHEN prediction THEN probability ELSE 1 - probability END), 1) AS loss
FROM predict(churn, customers) GROUP BY country ORDER BY country;
