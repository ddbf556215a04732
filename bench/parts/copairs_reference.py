"""copairs 0.5.5 on given wells, in a Python that has it: `python copairs_reference.py WORK ANSWER`.

Needs numpy, pandas and copairs only; `bench/parts/jump.py` calls it. WORK is an npz of what to do, ANSWER
gets the results, the seconds of the calls and the peak of memory above what was held before them.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

PINNED = "0.5.5"


def detect(work: dict) -> dict:
    """Average precision and p-value of each query, as the JUMP benchmark calls copairs."""
    from copairs.map import average_precision
    from copairs.map.average_precision import p_values

    is_control = work["is_control"]
    frame = pd.DataFrame(
        {
            "plate": work["plates"],
            "name": work["names"],
            "control": np.where(is_control, 1, 0),
            # wells that are no control have numbers of their own, so that they are nobody's negatives
            "side": np.where(is_control, -1, np.arange(len(is_control))),
        }
    )
    frame.loc[is_control, "name"] = "negcon"
    found = average_precision(
        frame,
        work["vectors"],
        pos_sameby=["name"],
        pos_diffby=[],
        neg_sameby=["plate"],
        neg_diffby=["control"],
        batch_size=20_000,
        progress_bar=False,
    )
    found = found[found["control"] == 0].reset_index(drop=True)
    p = p_values(found, null_size=int(work["null_size"]), seed=int(work["seed"]), progress_bar=False)
    columns = ("average_precision", "n_pos_pairs", "n_total_pairs", "name")
    return {"p": p, **{name: found[name].to_numpy() for name in columns}}


def draw_null(work: dict) -> dict:
    """One null distribution."""
    from copairs.compute import random_ap

    size, num_positives, num_total = (int(work[name]) for name in ("null_size", "num_positives", "num_total"))
    return {"null": random_ap(size, num_positives, num_total, int(work["seed"]))}


def peak_mb() -> float:
    """Most memory that the process has held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main() -> None:
    """Warm up on few wells, then measure."""
    assert version("copairs") == PINNED, f"copairs is {version('copairs')}, but the bench is of {PINNED}"
    work = dict(np.load(sys.argv[1]))
    if "vectors" in work:
        small = {**work, "null_size": 100}
        for name in ("plates", "names", "is_control", "vectors"):
            small[name] = np.concatenate([work[name][:20], work[name][384:404], work[name][-20:]])
        small["plates"] = np.full(60, "a")
        small["is_control"] = np.arange(60) >= 40
        detect(small)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started, processor = peak_mb(), time.perf_counter(), time.process_time()
    answer = detect(work) if "vectors" in work else draw_null(work)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    answer = {name: np.asarray(values) for name, values in answer.items()}
    if "name" in answer:
        answer["name"] = answer["name"].astype(str)
    np.savez(sys.argv[2], seconds=seconds, cpu_seconds=processor, mb=peak_mb() - before, **answer)


if __name__ == "__main__":
    main()
