"""pgAdmin's own application, asked what its pages ask."""
import builtins
import os
import sys
import time
from importlib.util import find_spec

builtins.SERVER_MODE = False
root = next(iter(find_spec("pgadmin4").submodule_search_locations))
sys.path.insert(0, root)
import config  # noqa: E402

room = os.environ["PGADMIN_ROOM"]
for name in ("DATA_DIR", "SQLITE_PATH", "SESSION_DB_PATH", "STORAGE_DIR", "LOG_FILE", "TEST_SQLITE_PATH", "AZURE_CREDENTIAL_CACHE_DIR"):
    setattr(config, name, os.path.join(room, name.lower()))
config.WTF_CSRF_ENABLED = False
config.MASTER_PASSWORD_REQUIRED = False
config.UPGRADE_CHECK_ENABLED = False
config.CONSOLE_LOG_LEVEL = 40

from pgadmin import create_app  # noqa: E402
from pgadmin.setup import check_db_tables, create_app_data_directory, db_upgrade  # noqa: E402

create_app_data_directory(config)
app = create_app("pgAdmin4")
app.PGADMIN_INT_KEY = ""
app.PGADMIN_RUNTIME = False
with app.app_context():
    db_upgrade(app)
    check_db_tables()
app.run_before_app_start()
client = app.test_client()


def call(method, path, body=None):
    answer = getattr(client, method)(path, json=body)
    assert answer.status_code == 200, (path, answer.status_code, answer.get_data(as_text=True)[:1500])
    return answer.get_json()


client.get("/browser/", follow_redirects=True)
env = os.environ
server = call("post", "/browser/server/obj/1/", {
    "name": "shop", "host": env["PGHOST"], "port": int(env["PGPORT"]), "username": env["PGUSER"], "db": env["PGDATABASE"],
    "maintenance_db": env["PGDATABASE"], "password": env["PGPASSWORD"], "connect_now": True, "save_password": False,
    "connection_params": [{"name": "sslmode", "keyword": "sslmode", "value": "prefer"}], "gid": 1})["node"]["_id"]


def nodes(kind, *numbers):
    """Children of a node of the tree, by name."""
    path = "/".join(str(number) for number in (1, server, *numbers))
    found = call("get", f"/browser/{kind}/nodes/{path}/")["data"]
    return {node["label"]: node["_id"] for node in found}


def properties(kind, *numbers):
    path = "/".join(str(number) for number in (1, server, *numbers))
    answer = client.get(f"/browser/{kind}/obj/{path}")
    assert answer.status_code == 200, (kind, answer.get_data(as_text=True)[:1500])
    return answer.get_json()


database = nodes("database")[env["PGDATABASE"]]
call("post", f"/browser/database/connect/1/{server}/{database}")
assert env["PGUSER"] in nodes("role"), "roles"
nodes("tablespace")
# The first page that is seen after connecting, and the sessions under State.
charts = "session_stats,tps_stats,ti_stats,to_stats,bio_stats"
for of in (str(server), f"{server}/{database}"):
    graphs = call("get", f"/dashboard/dashboard_stats/{of}?chart_names={charts}")
    assert set(graphs) == set(charts.split(",")) and graphs["session_stats"]["Total"] >= 1, graphs
    assert call("get", f"/dashboard/activity/{of}"), of
schemas = nodes("schema", database)
assert {"public", "forecasts"} <= set(schemas), schemas
public = schemas["public"]
tables = nodes("table", database, public)
assert {"orders", "products", "sales"} <= set(tables), tables
assert "daily" in nodes("view", database, public)
assert "weekly" in nodes("view", database, schemas["forecasts"])
columns = nodes("column", database, public, tables["orders"])
assert len(columns) == 10, columns
properties("table", database, public, tables["orders"])
for kind in ("index", "check_constraint", "trigger", "rule", "index_constraint", "primary_key", "foreign_key"):
    if client.get(f"/browser/{kind}/module.js").status_code == 500:
        raise AssertionError(kind)
for kind in ("sequence", "function", "type", "domain", "collation", "foreign_table", "mview"):
    nodes(kind, database, public)


def query(sql, number):
    call("post", f"/sqleditor/initialize/sqleditor/{number}/1/{server}/{database}",
         {"user": env["PGUSER"], "dbname": env["PGDATABASE"], "password": env["PGPASSWORD"]})
    call("post", f"/sqleditor/query_tool/start/{number}", {"sql": sql, "explain_plan": None})
    for _ in range(100):
        data = call("get", f"/sqleditor/poll/{number}")["data"]
        if data["status"] not in ("Busy", "NotConnected"):
            return data
        time.sleep(0.1)
    raise AssertionError(f"no answer to {sql}")


done = query("SELECT * FROM orders WHERE order_id <= 5 ORDER BY order_id", 1001)
assert done["status"] == "Success" and done["rows_fetched_to"] == 5, done
done = query("SELECT * FROM forecasts.weekly", 1002)
assert done["status"] == "Success" and done["rows_fetched_to"] == 7, done
try:
    query("SELECT * FROM ordres", 1003)
    raise RuntimeError("no error")
except AssertionError as error:
    # pgAdmin answers a statement that fails with a failure of its own, which tells what the server said.
    assert "did you mean orders" in str(error), error
done = query("TRAIN FORECAST MODEL pgadmin ON sales TARGET units ORDER BY day HORIZON 7 USING seasonal_naive", 1004)
assert done["status"] == "Success", done
properties("schema", database, public)
properties("database", database)
