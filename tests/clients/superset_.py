"""Superset's REST interface, as its pages call it."""
import os

from superset.app import create_app

URI = "postgresql+psycopg2://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ)
client = create_app().test_client()


def call(method, path, body=None, headers=None):
    answer = getattr(client, method)(path, json=body, headers=headers)
    assert answer.status_code in (200, 201), (path, answer.status_code, answer.get_data(as_text=True)[:2000])
    return answer.get_json()


token = call("post", "/api/v1/security/login",
             {"username": "admin", "password": "admin", "provider": "db", "refresh": False})["access_token"]
HEADERS = {"Authorization": f"Bearer {token}"}


def api(method, path, body=None):
    return call(method, f"/api/v1/{path}", body, HEADERS)


api("post", "database/test_connection/", {"database_name": "shop", "sqlalchemy_uri": URI})
database = api("post", "database/", {"database_name": "shop", "sqlalchemy_uri": URI, "expose_in_sqllab": True})["id"]
schemas = api("get", f"database/{database}/schemas/?q=(force:!t)")["result"]
assert {"public", "forecasts"} <= set(schemas), schemas
tables = api("get", f"database/{database}/tables/?q=(force:!t,schema_name:public)")["result"]
assert {"orders", "products", "sales", "daily"} <= {table["value"] for table in tables}, tables
models = api("get", f"database/{database}/tables/?q=(force:!t,schema_name:forecasts)")["result"]
assert "weekly" in {table["value"] for table in models}, models
columns = api("get", f"database/{database}/table_metadata/?name=orders&schema=public")["columns"]
assert len(columns) == 10, columns


def sql_lab(sql, limit=1000):
    return api("post", "sqllab/execute/", {"database_id": database, "sql": sql, "schema": "public", "runAsync": False,
                                           "queryLimit": limit, "tab": "a", "sql_editor_id": "1", "client_id": os.urandom(5).hex()})


found = sql_lab("SELECT * FROM orders WHERE qty > 3", 5)
assert len(found["data"]) == 5, found["query"]
made = sql_lab("SELECT * FROM train_forecast_model('monthly', on => 'sales', target => 'units', order_by => 'day', "
               "horizon => 28, using => 'seasonal_naive')")
assert made["data"][0]["model"] == "monthly", made["data"]
assert len(sql_lab("SELECT * FROM forecasts.monthly")["data"]) == 28


def dataset(schema, table):
    made = api("post", "dataset/", {"database": database, "schema": schema, "table_name": table})
    return made["id"]


def chart(source, query):
    answer = api("post", "chart/data", {"datasource": {"id": source, "type": "table"}, "force": True, "queries": [query],
                                        "result_format": "json", "result_type": "full"})
    result = answer["result"][0]
    assert not result["error"], result["error"]
    return result["data"]


TOTAL = {"expressionType": "SIMPLE", "aggregate": "SUM", "label": "total"}
orders = dataset("public", "orders")
for grain, rows in (("P1D", 21), ("P1W", 3), ("P1M", 1), ("PT1H", 500)):
    days = chart(orders, {
        "columns": [{"columnType": "BASE_AXIS", "expressionType": "SQL", "label": "ordered_at", "sqlExpression": "ordered_at",
                     "timeGrain": grain}],
        "metrics": [{**TOTAL, "column": {"column_name": "qty"}}], "orderby": [], "row_limit": 1000,
        "filters": [{"col": "ordered_at", "op": "TEMPORAL_RANGE", "val": "2024-01-01 : 2024-02-01"}]})
    assert len(days) == rows, (grain, len(days))
by_channel = chart(orders, {"columns": ["channel"], "metrics": ["count"], "orderby": [["count", False]], "row_limit": 10,
                            "filters": [{"col": "channel", "op": "IN", "val": ["web", "store"]}]})
assert {row["channel"]: row["count"] for row in by_channel} == {"web": 250, "store": 250}, by_channel
forecast = chart(dataset("forecasts", "weekly"), {
    "columns": ["day"], "metrics": [{**TOTAL, "column": {"column_name": "forecast"}}], "orderby": [["day", True]], "row_limit": 100})
assert len(forecast) == 7 and all(row["total"] > 0 for row in forecast), forecast
