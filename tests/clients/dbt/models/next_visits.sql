-- depends_on: {{ ref('visits_by_city') }}
{{ config(materialized='view') }}
SELECT * FROM forecast(visits_28)
