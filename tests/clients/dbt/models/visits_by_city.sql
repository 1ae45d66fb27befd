{{ config(
    materialized='table',
    post_hook="TRAIN OR REPLACE FORECAST MODEL visits_28 ON {{ this }} TARGET visits PARTITION BY city ORDER BY day HORIZON 28 USING seasonal_naive"
) }}
SELECT s.city, v.day, sum(v.visits) AS visits
FROM {{ ref('visits') }} AS v JOIN {{ ref('stores') }} AS s ON s.store = v.store
GROUP BY s.city, v.day
