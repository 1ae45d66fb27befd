-- Every day occurs once for each series, and nobody said which column tells them apart.
-- ERROR: series key not given and sale_date repeats: add PARTITION BY
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
TRAIN FORECAST MODEL m ON sales TARGET units ORDER BY sale_date;
