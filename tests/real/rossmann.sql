-- Drug stores: the last 48 days are held out, known covariates are passed for them.
-- Run from a folder whose ../shared/data holds the file:  foretell run tests/real/rossmann.sql
CREATE EXTERNAL TABLE rossmann STORED AS PARQUET LOCATION '../shared/data/rossmann.parquet';
CREATE VIEW cut AS SELECT max("Date") - INTERVAL '48 days' AS day FROM rossmann;
CREATE TABLE known AS SELECT * FROM rossmann WHERE "Date" <= (SELECT day FROM cut);
CREATE VIEW future AS SELECT * FROM rossmann WHERE "Date" > (SELECT day FROM cut);

TRAIN FORECAST MODEL tide ON known TARGET "Sales" PARTITION BY "Store" ORDER BY "Date"
  KNOWN "Open", "Promo", "StateHoliday", "SchoolHoliday" STATIC "StoreType", "Assortment", "CompetitionDistance"
  HORIZON 48;
TRAIN FORECAST MODEL naive ON known TARGET "Sales" PARTITION BY "Store" ORDER BY "Date" HORIZON 48 IGNORE "Open"
  USING seasonal_naive;

CREATE VIEW scales AS
  SELECT "Store", seasonal_scale("Sales", 7 ORDER BY "Date") AS scale FROM known GROUP BY "Store";

SELECT 'tide' AS model, mase(a."Sales", f.forecast, s.scale) AS mase, wape(a."Sales", f.forecast) AS wape,
       coverage(a."Sales", f.lower_bound, f.upper_bound) AS coverage
FROM forecast(tide, future => future, level => 90) f
JOIN future a USING ("Store", "Date") JOIN scales s USING ("Store");
SELECT 'seasonal naive' AS model, mase(a."Sales", f.forecast, s.scale) AS mase, wape(a."Sales", f.forecast) AS wape
FROM forecast(naive) f JOIN future a USING ("Store", "Date") JOIN scales s USING ("Store");
