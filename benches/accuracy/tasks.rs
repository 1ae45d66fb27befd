//! The tasks: rows, clauses, and what was published about them.

/// One task.
pub struct Task {
    /// Its name.
    pub name: &'static str,
    /// Parquet files that its rows come from.
    pub files: &'static [&'static str],
    /// Rows with keys, time `t`, actual `y`, covariates, and `ago`, the steps to the end of the series.
    pub rows: &'static str,
    /// What training sees of `y`.
    pub target: &'static str,
    /// Keys of the series.
    pub keys: &'static str,
    /// Clauses of TRAIN.
    pub clauses: &'static str,
    /// True where covariates of the window are known.
    pub known: bool,
    /// Steps of a window.
    pub horizon: usize,
    /// Steps of a season.
    pub season: usize,
    /// Season of the scale of MASE.
    pub scale_season: usize,
    /// Windows that abut the end of the data.
    pub windows: usize,
    /// Published scores.
    pub published: &'static str,
}

/// All tasks.
pub const TASKS: [Task; 9] = [
    Task {
        name: "rossmann",
        files: &["rossmann"],
        // A store without rows (180 of them have none from July to December 2014) was closed.
        rows: r#"WITH days AS (SELECT DISTINCT "Date" FROM rossmann),
            stores AS (SELECT "Store", max("StoreType") AS store_type, max("Assortment") AS assortment,
                           max("CompetitionDistance") AS competition_distance, max("Promo2") AS promo2,
                           max("PromoInterval") AS promo_interval, min("Date") AS first
                       FROM rossmann GROUP BY "Store")
            SELECT s."Store" AS store, d."Date" AS t, r."Sales" AS y, r."Customers" AS customers,
                coalesce(r."Open", 0) AS open, coalesce(r."Promo", 0) AS promo,
                coalesce(r."StateHoliday", '0') AS state_holiday, coalesce(r."SchoolHoliday", 0) AS school_holiday,
                store_type, assortment, competition_distance, promo2, promo_interval,
                (DATE '2015-06-13' - d."Date")::bigint AS ago
            FROM stores AS s JOIN days AS d ON d."Date" >= s.first
            LEFT JOIN rossmann AS r ON r."Store" = s."Store" AND r."Date" = d."Date""#,
        target: "y",
        keys: "store",
        clauses: "KNOWN open, promo, state_holiday, school_holiday PAST customers \
                  STATIC store_type, assortment, competition_distance, promo2, promo_interval",
        known: true,
        horizon: 48,
        season: 7,
        scale_season: 7,
        windows: 10,
        published: "MASE 0.301 best listed, 0.341 LightGBM, 0.356 Chronos-2, 0.789 seasonal naive",
    },
    Task {
        name: "carparts",
        files: &["carparts"],
        rows: "SELECT unique_id AS part, date AS t, y, \
                  (2002 * 12 + 3 - (extract(year FROM date) * 12 + extract(month FROM date)))::bigint AS ago FROM carparts",
        target: "y",
        keys: "part",
        clauses: "",
        known: false,
        horizon: 12,
        season: 12,
        scale_season: 12,
        windows: 1,
        published: "MASE 0.797 best listed, 0.863 Chronos-Bolt tiny, 1.201 seasonal naive",
    },
    Task {
        name: "m3_monthly",
        files: &["m3"],
        rows: "SELECT unique_id, t, y, max(t) OVER (PARTITION BY unique_id) - t AS ago FROM m3 WHERE freq = 'MONTHLY'",
        target: "y",
        keys: "unique_id",
        clauses: "",
        known: false,
        horizon: 18,
        season: 12,
        scale_season: 12,
        windows: 1,
        published: "MASE 0.831 TiRex, 0.855 Theta, 0.863 ETS, 1.146 seasonal naive",
    },
    Task {
        name: "m3_quarterly",
        files: &["m3"],
        rows: "SELECT unique_id, t, y, max(t) OVER (PARTITION BY unique_id) - t AS ago FROM m3 WHERE freq = 'QUARTERLY'",
        target: "y",
        keys: "unique_id",
        clauses: "",
        known: false,
        horizon: 8,
        season: 4,
        scale_season: 4,
        windows: 1,
        published: "none",
    },
    Task {
        name: "m3_yearly",
        files: &["m3"],
        rows: "SELECT unique_id, t, y, max(t) OVER (PARTITION BY unique_id) - t AS ago FROM m3 WHERE freq = 'YEARLY'",
        target: "y",
        keys: "unique_id",
        clauses: "",
        known: false,
        horizon: 6,
        season: 1,
        scale_season: 1,
        windows: 1,
        published: "none",
    },
    Task {
        name: "m4_hourly",
        files: &["m4_hourly"],
        rows: "SELECT unique_id, t, y, max(t) OVER (PARTITION BY unique_id) - t AS ago FROM m4_hourly",
        target: "y",
        keys: "unique_id",
        clauses: "",
        known: false,
        horizon: 48,
        season: 24,
        scale_season: 24,
        windows: 1,
        published: "OWA 0.440 winner of M4 (sMAPE 9.328, MASE 0.893), 0.627 seasonal naive; Naive2 sMAPE 18.383, MASE 2.395",
    },
    Task {
        name: "vn2",
        files: &["vn2", "vn2_master"],
        rows: r#"SELECT s."Store" AS store, s."Product" AS product, s.week AS t, s.sales AS y, s.in_stock,
            m."ProductGroup"::text AS product_group, m."Division"::text AS division, m."Department"::text AS department,
            m."DepartmentGroup"::text AS department_group, m."StoreFormat"::text AS store_format,
            ((DATE '2024-02-12' - s.week) / 7)::bigint AS ago
            FROM vn2 AS s JOIN vn2_master AS m ON s."Store" = m."Store" AND s."Product" = m."Product""#,
        target: "CASE WHEN in_stock THEN y END",
        keys: "store, product",
        clauses: "PAST in_stock STATIC product_group, division, department, department_group, store_format",
        known: false,
        horizon: 8,
        season: 52,
        scale_season: 1,
        windows: 1,
        published: "MASE (m = 1) 0.859 mean of 8 weeks, 1.045 naive",
    },
    Task {
        name: "stallion",
        files: &["stallion"],
        rows: "SELECT agency::text AS agency, sku::text AS sku, date::date AS t, volume AS y, price_regular, price_actual, \
                  discount, avg_max_temp, easter_day, good_friday, new_year, christmas, labor_day, independence_day, \
                  revolution_day_memorial, regional_games, fifa_u_17_world_cup, football_gold_cup, beer_capital, music_fest, \
                  industry_volume, soda_volume, avg_population_2017, avg_yearly_household_income_2017, \
                  (2017 * 12 + 6 - (extract(year FROM date) * 12 + extract(month FROM date)))::bigint AS ago FROM stallion",
        target: "y",
        keys: "agency, sku",
        clauses: "KNOWN price_regular, price_actual, discount, avg_max_temp, easter_day, good_friday, new_year, christmas, \
                  labor_day, independence_day, revolution_day_memorial, regional_games, fifa_u_17_world_cup, \
                  football_gold_cup, beer_capital, music_fest PAST industry_volume, soda_volume \
                  STATIC avg_population_2017, avg_yearly_household_income_2017",
        known: true,
        horizon: 6,
        season: 12,
        scale_season: 12,
        windows: 1,
        published: "none",
    },
    Task {
        name: "etth1",
        files: &["etth1"],
        rows: r#"WITH long AS (
                SELECT date AS t, 'HUFL' AS sensor, "HUFL" AS y FROM etth1 UNION ALL SELECT date, 'HULL', "HULL" FROM etth1
                UNION ALL SELECT date, 'MUFL', "MUFL" FROM etth1 UNION ALL SELECT date, 'MULL', "MULL" FROM etth1
                UNION ALL SELECT date, 'LUFL', "LUFL" FROM etth1 UNION ALL SELECT date, 'LULL', "LULL" FROM etth1
                UNION ALL SELECT date, 'OT', "OT" FROM etth1)
            SELECT sensor, t, y, row_number() OVER (PARTITION BY sensor ORDER BY t DESC) - 1 AS ago FROM long"#,
        target: "y",
        keys: "sensor",
        clauses: "",
        known: false,
        horizon: 96,
        season: 24,
        scale_season: 24,
        windows: 5,
        published: "none",
    },
];
