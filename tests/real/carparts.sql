-- Monthly spare parts, NULLs kept: the last 12 months are held out. Seasonal naive: 1.2015.
-- Run from a folder whose ../shared/data holds the file:  foretell run tests/real/carparts.sql
CREATE EXTERNAL TABLE carparts STORED AS PARQUET LOCATION '../shared/data/carparts.parquet';
CREATE TABLE known AS
  SELECT * FROM carparts WHERE date <= (SELECT max(date) - INTERVAL '12 months' FROM carparts);
CREATE VIEW future AS SELECT * FROM carparts WHERE date > (SELECT max(date) FROM known);
TRAIN FORECAST MODEL naive ON known TARGET y PARTITION BY unique_id ORDER BY date EVERY MONTH
  HORIZON 12 USING seasonal_naive;
TRAIN FORECAST MODEL tide ON known TARGET y PARTITION BY unique_id ORDER BY date EVERY MONTH HORIZON 12;
CREATE VIEW scales AS
  SELECT unique_id, seasonal_scale(y, 12 ORDER BY date) AS scale FROM known GROUP BY unique_id;
SELECT 'seasonal naive' AS model, mase(a.y, f.forecast, s.scale) AS mase
FROM forecast(naive) f JOIN future a USING (unique_id, date) JOIN scales s USING (unique_id);
SELECT 'tide' AS model, mase(a.y, f.forecast, s.scale) AS mase,
       coverage(a.y, f.lower_bound, f.upper_bound) AS coverage
FROM forecast(tide) f JOIN future a USING (unique_id, date) JOIN scales s USING (unique_id);
