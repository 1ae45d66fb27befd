-- The table is misspelled.
-- ERROR: sale
CREATE TABLE sales AS SELECT * FROM synthetic_sales(series => 2, days => 60, seed => 1);
SELECT * FROM sale;
