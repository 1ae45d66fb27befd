"""Forecasts of a window by other libraries, as a practitioner would set them up.

The folder given holds task.json, history.parquet (what training sees; covariates known ahead go on) and actual.parquet
(keys and times to forecast). For each model a Parquet file with its forecasts goes in, and a JSON line with its name
and seconds comes out, or one with its name and why it has no forecasts. Every model has a process of its own and
`FORETELL_PEERS_SECONDS` of time (900).
"""

import contextlib
import json
import logging
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time
import warnings

os.environ.setdefault("NIXTLA_ID_AS_COL", "1")
# Waiting threads sleep: spinning ones would take the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import numpy as np
import pandas as pd
from utilsforecast.preprocessing import fill_gaps

LEVELS = [20, 40, 60, 80, 95]
QUANTILES = {"q025": "lo-95", "q10": "lo-80", "q20": "lo-60", "q30": "lo-40", "q40": "lo-20"} | {
    "q60": "hi-20", "q70": "hi-40", "q80": "hi-60", "q90": "hi-80", "q975": "hi-95"
}


class Task:
    """The window's rows in the libraries' own shape: unique_id, ds, y."""

    def __init__(self, folder):
        told = json.loads((folder / "task.json").read_text())
        self.horizon, self.season, self.keys = told["horizon"], told["season"], told["keys"]
        roles = dict(re.findall(r"(KNOWN|PAST|STATIC) (.*?)(?= KNOWN| PAST| STATIC|$)", told["clauses"]))
        names = {role: re.split(r",\s*", columns.strip()) for role, columns in roles.items()}
        self.known, self.static = names.get("KNOWN", []), names.get("STATIC", [])
        self.actual = self.shaped(pd.read_parquet(folder / "actual.parquet"))
        history = self.shaped(pd.read_parquet(folder / "history.parquet"))
        for name in self.known + self.static:
            if not pd.api.types.is_numeric_dtype(history[name]):
                history[name] = history[name].astype("category").cat.codes
            history[name] = history[name].astype(float).fillna(0)
        self.freq = frequency(history["ds"])
        origin = history["unique_id"].map(self.actual.groupby("unique_id")["ds"].min())
        self.past = self.filled(history[history["ds"] < origin], origin)
        self.future = history.loc[history["ds"] >= origin, ["unique_id", "ds", *self.known]]

    def shaped(self, rows):
        rows["unique_id"] = rows[self.keys].astype(str).agg("|".join, axis=1)
        whole = pd.api.types.is_integer_dtype(rows["t"])
        return rows.assign(ds=rows["t"] if whole else pd.to_datetime(rows["t"])).sort_values(["unique_id", "ds"])

    def filled(self, past, origin):
        """Every series without holes, from its first actual to the step before the window."""
        columns = ["unique_id", "ds", "y", *self.known, *self.static]
        last = self.actual.groupby("unique_id")["ds"].min().rename("ds").reset_index()
        last["ds"] -= 1 if self.freq == 1 else pd.tseries.frequencies.to_offset(self.freq)
        past = pd.concat([past[columns], last]).drop_duplicates(["unique_id", "ds"])
        past = fill_gaps(past.sort_values(["unique_id", "ds"]), freq=self.freq, end="per_serie")
        for name in ["y", *self.known]:
            past[name] = past.groupby("unique_id")[name].transform(lambda c: repaired(c, self.season)).astype(float)
        past = past.dropna(subset="y")
        for name in self.known + self.static:
            past[name] = past.groupby("unique_id")[name].transform(lambda c: c.ffill().bfill()).fillna(0)
        return past.reset_index(drop=True)


def repaired(values, season):
    """Holes longer than a season repeat the season before them, shorter ones the value before."""
    missing = values.isna()
    run = missing.groupby((~missing).cumsum()).transform("sum")
    y = values.to_numpy(dtype=float, copy=True)
    for at in np.flatnonzero(missing & (run > season)):
        y[at] = y[at - season] if at >= season else np.nan
    return pd.Series(y, index=values.index).ffill()


def frequency(times):
    """1 for whole numbers, else what pandas calls the distance of dates."""
    if pd.api.types.is_integer_dtype(times):
        return 1
    return pd.infer_freq(pd.DatetimeIndex(sorted(times.unique())))


def statistical(task, name):
    """AutoETS and AutoTheta, series by series."""
    import statsforecast
    from statsforecast import models

    model = getattr(models, name)(season_length=task.season)
    fallback = models.SeasonalNaive(season_length=task.season)
    forecaster = statsforecast.StatsForecast([model], freq=task.freq, n_jobs=-1, fallback_model=fallback)
    found = forecaster.forecast(df=task.past[["unique_id", "ds", "y"]], h=task.horizon, level=LEVELS)
    return found.rename(columns={name: "forecast"} | {f"{name}-{level}": q for q, level in QUANTILES.items()})


def lightgbm(task, _):
    """One LightGBM for all series on lags, rolling means, the calendar and covariates; conformal intervals where the
    shortest series leaves room for their two windows."""
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean
    from mlforecast.target_transforms import Differences, LocalStandardScaler
    from mlforecast.utils import PredictionIntervals

    season, name = task.season, "LGBMRegressor"
    shortest = task.past.groupby("unique_id").size().min()
    lags = sorted({*range(1, min(season, 28) + 1), season, 2 * season, 7 * season})
    smooth = bool(shortest > 3 * season and (task.past["y"] > 0).all() and not task.known)
    calendar = {"D": ["dayofweek", "day", "month", "week"], "W": ["week", "month"], "M": ["month", "quarter"]}

    def step_of_season(t):
        return t % season

    dates = [step_of_season] if task.freq == 1 else calendar[task.freq[0]]
    forecaster = MLForecast(
        models=LGBMRegressor(objective="l1", n_estimators=500, learning_rate=0.05, verbosity=-1),
        freq=task.freq,
        lags=lags,
        lag_transforms={1: [RollingMean(w, min_samples=1) for w in sorted({4, season, 4 * season})]},
        date_features=dates,
        target_transforms=[Differences([season])] * smooth + [LocalStandardScaler()],
    )
    windows = min(2, (shortest - 1) // task.horizon - 1)
    intervals = PredictionIntervals(n_windows=windows, h=task.horizon) if windows > 1 else None
    forecaster.fit(task.past, static_features=task.static, dropna=False, prediction_intervals=intervals)
    future = {"X_df": task.future} if task.known else {}
    found = forecaster.predict(task.horizon, level=LEVELS if intervals else None, **future)
    return found.rename(columns={name: "forecast"} | {f"{name}-{level}": q for q, level in QUANTILES.items()})


def network(task, name):
    """NHITS with quantiles; network, learning rate and number of steps (1000) are the defaults. A step takes 256 windows,
    a quarter of the default, since one of 1024 takes half a CPU second; Adam runs in one kernel, which is the same
    arithmetic. Series are standardised, since a window in which hardly anything was sold has no scale of its own;
    windows are scaled too where there are no known covariates: flags hardly vary in a window, and its robust scale of
    them would be next to nothing. As many threads as there are cores."""
    import torch
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import NHITS

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = NHITS(
        h=task.horizon,
        input_size=max(2 * task.horizon, 2 * min(task.season, 28)),
        loss=MQLoss(level=LEVELS),
        max_steps=1000,
        windows_batch_size=256,
        scaler_type="identity" if task.known else "robust",
        optimizer=torch.optim.Adam,
        optimizer_kwargs={"fused": True},
        start_padding_enabled=True,
        futr_exog_list=task.known or None,
        stat_exog_list=task.static or None,
        enable_progress_bar=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
    )
    static = task.past.groupby("unique_id")[task.static].first().reset_index() if task.static else None
    forecaster = NeuralForecast([model], freq=task.freq, local_scaler_type="standard")
    forecaster.fit(task.past.drop(columns=task.static), static_df=static)
    found = forecaster.predict(futr_df=task.future if task.known else None)
    return found.rename(columns={f"{name}-median": "forecast"} | {f"{name}-{l}": q for q, l in QUANTILES.items()})


MODELS = {"AutoETS": statistical, "AutoTheta": statistical, "LightGBM": lightgbm, "NHITS": network}


def cpu_seconds():
    """Of this process and of those that it waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(s.ru_utime + s.ru_stime for s in spent)


def forecast(folder, name):
    """Writes the forecasts of one model and tells its seconds."""
    task = Task(folder)
    wall, cpu = time.perf_counter(), cpu_seconds()
    found = MODELS[name](task, name)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    known = list(dict.fromkeys(["unique_id", "ds", *task.keys, "t"]))
    rows = task.actual[known].merge(found, on=["unique_id", "ds"])
    rows["q50"] = rows["forecast"]
    for quantile in QUANTILES:
        # A model without intervals is a point everywhere.
        rows[quantile] = rows.get(quantile, rows["forecast"])
    columns = [*task.keys, "t", "forecast", *sorted([*QUANTILES, "q50"])]
    numbers = rows[columns[len(task.keys) + 1 :]].astype(np.float64)
    rows[columns].assign(**numbers).to_parquet(folder / f"{name}.parquet", index=False)
    print(json.dumps({"model": name, "wall_seconds": wall, "cpu_seconds": cpu}), flush=True)


def answer(folder, name, seconds):
    """The line of one model, which may fail or take too long."""
    command = [sys.executable, __file__, folder, "--only", name]
    # A group of its own, so that the processes which a model starts end with it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, told = process.communicate(timeout=seconds)
        why = (told.strip().splitlines() or [f"status {process.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        out, why = "", f"no forecast in {seconds:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    lines = [line for line in out.splitlines() if line.startswith('{"model"')]
    return lines[-1] if lines else json.dumps({"model": name, "error": why})


def main():
    folder, wanted = sys.argv[1], sys.argv[2:] or list(MODELS)
    if wanted[0] == "--only":
        return forecast(pathlib.Path(folder), wanted[1])
    seconds = float(os.environ.get("FORETELL_PEERS_SECONDS", 900))
    for name in wanted:
        print(answer(folder, name, seconds), flush=True)


if __name__ == "__main__":
    main()
