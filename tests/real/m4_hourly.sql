-- Published Naive2 forecasts of M4 hourly, scored by our metrics: sMAPE 18.383, MASE 2.395.
-- Run from a folder whose ../shared/data holds the files:  foretell run tests/real/m4_hourly.sql
CREATE EXTERNAL TABLE m4 STORED AS PARQUET LOCATION '../shared/data/m4_hourly.parquet';
CREATE EXTERNAL TABLE published STORED AS PARQUET LOCATION '../shared/data/m4_hourly_published_forecasts.parquet';
CREATE VIEW scales AS
  SELECT unique_id, seasonal_scale(y, 24 ORDER BY t) AS scale FROM m4 WHERE split = 'train' GROUP BY unique_id;
CREATE VIEW actuals AS
  SELECT unique_id, y, row_number() OVER (PARTITION BY unique_id ORDER BY t) AS step FROM m4 WHERE split = 'test';
CREATE VIEW naive2 AS
  SELECT unique_id, s.step, forecast[s.step] AS forecast
  FROM published CROSS JOIN (SELECT value AS step FROM generate_series(1, 48)) AS s
  WHERE method = 'Naive2';
SELECT smape(a.y, n.forecast) AS smape, mase(a.y, n.forecast, s.scale) AS mase
FROM naive2 n JOIN actuals a USING (unique_id, step) JOIN scales s USING (unique_id);
