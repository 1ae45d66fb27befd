"""Imports the checkpoints that make.py made and compares what `foretell` says with what the public packages said."""

import csv
import json
import subprocess
import sys
from pathlib import Path

folder, binary = Path(sys.argv[1]), sys.argv[2]


def rows(sql, header):
    """The rows of the result whose header begins so."""
    run = subprocess.run(
        [binary, "run", "--format", "csv", "-"], input=sql, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    first = max(i for i, line in enumerate(lines) if line.startswith(header))
    return list(csv.DictReader(lines[first:]))


def quoted(text):
    return "'" + str(text).replace("'", "''") + "'"


def forecasts(checkpoint, columns, roles, expected):
    sql = f"""
        CREATE EXTERNAL TABLE loaded STORED AS CSV LOCATION {quoted(folder / "series.csv")};
        CREATE TABLE history AS SELECT item, day::date AS day, y::double AS y, price::double AS price,
          visits::double AS visits FROM loaded;
        IMPORT MODEL published FROM {quoted(folder / checkpoint)};
        SELECT item, step, q10, q50, q90 FROM forecast(published, data => (SELECT {columns} FROM history), target => y, by => item,
          time => day, every => day, gaps => null, horizon => 40, quantiles => (0.1, 0.5, 0.9){roles}) ORDER BY item, step;
    """
    found = rows(sql, "item,step,")
    known = list(csv.DictReader(open(folder / expected)))
    assert len(found) == len(known), (checkpoint, len(found), len(known))
    worst = 0.0
    for ours, theirs in zip(found, known):
        assert (ours["item"], ours["step"]) == (theirs["item"], theirs["step"])
        for column in ("q10", "q50", "q90"):
            a, b = float(ours[column]), float(theirs[column])
            worst = max(worst, abs(a - b) / (1 + abs(b)))
    print(f"{expected}: {3 * len(found)} quantiles, largest relative difference {worst:.1e}")
    assert worst < 1e-4, worst


def texts():
    known = json.loads((folder / "texts.json").read_text())
    values = ", ".join(f"({i}, {quoted(text)})" for i, text in enumerate(known["texts"]))
    path = (folder / "minilm.path").read_text()
    sql = f"""
        CREATE TABLE texts (i int, text text);
        INSERT INTO texts VALUES {values};
        IMPORT MODEL minilm FROM {quoted(path)};
        SELECT i, embed('minilm', text)::text AS vector FROM texts ORDER BY i;
    """
    found = rows(sql, "i,vector")
    assert len(found) == len(known["texts"])
    worst = 0.0
    for row, vector in zip(found, known["vectors"]):
        ours = [float(x) for x in row["vector"].strip("{}[]").split(",")]
        assert len(ours) == len(vector)
        worst = max(worst, max(abs(a - b) for a, b in zip(ours, vector)))
    print(f"minilm: {len(found)} texts, largest difference {worst:.1e}")
    assert worst < 1e-5, worst


forecasts("chronos2", "item, day, y", "", "chronos2.csv")
forecasts("chronos2", "*", ", known => price, past => visits", "chronos2_covariates.csv")
forecasts("bolt", "item, day, y", "", "bolt.csv")
texts()
