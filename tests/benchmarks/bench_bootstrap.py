"""Seconds and extra memory of all scores with their intervals, on one thread. Prints a Markdown table.

Predictions are simulated: people with some eight images each.
"""

import os
import resource
import subprocess
import sys
import time

SIZES = ((1_000, 10_000), (10_000, 10_000), (100_000, 1_000))


def measure(rows: int, resamples: int) -> None:
    """One row of the table, on stdout."""
    import numpy as np
    import pandas as pd

    from gender_cls.evaluation.metrics import score_rows

    rng = np.random.default_rng(0)
    person = rng.integers(0, rows // 8, rows)
    label = np.where(person * 7919 % 100 < 42, "FEMALE", "MALE")
    p_female = 1 / (1 + np.exp(-(1.5 * rng.normal(size=rows) + np.where(label == "FEMALE", 1, -1))))
    table = pd.DataFrame({"label": label, "identity": [f"p{number}" for number in person], "p_FEMALE": p_female})
    table["prediction"] = np.where(p_female >= 0.5, "FEMALE", "MALE")
    score_rows(table[:100], 10)  # imports and first calls
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    score_rows(table, resamples)
    seconds = time.perf_counter() - began
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"| {rows:,} | {resamples:,} | {seconds:.2f} | {extra:.0f} |", flush=True)


def main() -> None:
    """All sizes, each in a process of its own."""
    print("| rows | resamples | seconds | extra MiB |\n| --- | --- | --- | --- |", flush=True)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for rows, resamples in SIZES:
        subprocess.run([sys.executable, __file__, "measure", str(rows), str(resamples)], check=True, env=one_thread)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", rows, resamples]:
            measure(int(rows), int(resamples))
        case _:
            main()
