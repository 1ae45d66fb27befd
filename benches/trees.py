"""LightGBM on the rows that trees.rs wrote into a folder: a line of parameters as JSON comes in; CPU and wall seconds of
the bins and of the fit go out, and predictions of the held-out rows into a file."""

import json
import pathlib
import sys
import time

import lightgbm
import numpy as np


def seconds():
    """CPU and wall seconds so far."""
    return np.array([time.process_time(), time.perf_counter()])


def main():
    """Answers until the input ends."""
    folder = pathlib.Path(sys.argv[1])
    categories = json.loads((folder / "categories.json").read_text())
    rows = {name: np.fromfile(folder / name, np.float32) for name in ("train_x", "train_y", "held_x")}
    width = rows["train_x"].size // rows["train_y"].size
    train, held = rows["train_x"].reshape(-1, width), rows["held_x"].reshape(-1, width)
    for line in sys.stdin:
        parameters = json.loads(line)
        trees = parameters.pop("trees")
        begin = seconds()
        data = lightgbm.Dataset(train, rows["train_y"], categorical_feature=categories, params=parameters)
        data.construct()
        binned = seconds()
        booster = lightgbm.train(parameters, data, trees)
        fitted = seconds()
        booster.predict(held).astype(np.float32).tofile(folder / "predicted")
        print(*(binned - begin), *(fitted - binned), flush=True)


if __name__ == "__main__":
    main()
