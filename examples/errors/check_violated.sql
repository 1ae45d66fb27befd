-- The table refuses what its rule forbids.
-- ERROR: units
CREATE TABLE sales (item_id TEXT NOT NULL, units BIGINT CHECK (units >= 0));
INSERT INTO sales VALUES ('A1', -3);
