"""JUMP-CP detection on a set of 384-well plates against copairs 0.5.5, and the null of a long ranking.

copairs runs in a Python of its own, as it pins other packages: the first argument, or $COPAIRS_PYTHON, or
this one where it is installed. Its null cache is empty at the start. Equal means: the same positives and
negatives, the same average precision of each query within float32, p-values within their sampling error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parts.copairs_reference import peak_mb
from phenoscale.benchmarks.profiles.average_precision import judge, null_average_precisions, query_p_values
from phenoscale.benchmarks.profiles.config import JumpColumns, Significance
from phenoscale.benchmarks.profiles.jump import rank_replicates
from phenoscale.benchmarks.profiles.profile_tables import Profiles
from phenoscale.stats.threads import num_blas_threads

NUM_PLATES, NUM_FEATURES, NUM_CONTROLS, NUM_WELLS = 4, 904, 64, 384
NULL_SIZE = 100_000
LONG_RANKING = {"num_positives": 10, "num_total": 10_000}
_SCRIPT = Path(__file__).with_name("copairs_reference.py")

Work = dict[str, Any]


def make_plates(*, seed: int) -> Work:
    """Plates of one layout: 320 perturbations of uneven strength and 64 negative controls on each."""
    generator = np.random.default_rng(seed)
    num_tested = NUM_WELLS - NUM_CONTROLS
    effects = generator.standard_normal((num_tested, NUM_FEATURES)) * generator.random((num_tested, 1)) * 0.5
    means = np.concatenate([effects, np.zeros((NUM_CONTROLS, NUM_FEATURES))])
    noise = generator.standard_normal((NUM_PLATES, NUM_WELLS, NUM_FEATURES))
    names = np.array([*(f"compound {number:03d}" for number in range(num_tested)), *[""] * NUM_CONTROLS])
    return {
        "vectors": (means + noise).reshape(-1, NUM_FEATURES).astype(np.float32),
        "names": np.tile(names, NUM_PLATES),
        "plates": np.repeat([f"plate {number}" for number in range(NUM_PLATES)], NUM_WELLS),
        "is_control": np.tile(names == "", NUM_PLATES),
        "null_size": NULL_SIZE,
        "seed": seed,
    }


def run(copairs_python: str = "", *, seed: int = 0) -> list[dict[str, Any]]:
    """Detection on four plates, and one null of 100,000 rankings of 10,000."""
    python = copairs_python or os.environ.get("COPAIRS_PYTHON", "") or sys.executable
    rows = []
    null_work = {**LONG_RANKING, "null_size": NULL_SIZE, "seed": seed}
    size = f"{NUM_PLATES} plates x {NUM_WELLS} wells x {NUM_FEATURES}, null {NULL_SIZE}"
    for what, work in (
        (f"JUMP detection, {size}", make_plates(seed=seed)),
        ("null of 10 positives, 100,000 x 10,000", null_work),
    ):
        with get_context("spawn").Pool(1) as pool:  # a process of its own has a peak of its own
            ours = pool.apply(_measure, (work,))
        reference = _ask_copairs(python, work)
        (_check_detection if "vectors" in work else _check_null)(ours, reference)
        rows.append(
            {
                "what": what,
                "ours_s": ours["seconds"],
                "reference_s": float(reference["seconds"]),
                "ratio": float(reference["seconds"]) / ours["seconds"],
                "ours_cpu_s": ours["cpu_seconds"],
                "reference_cpu_s": float(reference["cpu_seconds"]),
                "ours_mb": ours["mb"],
                "reference_mb": float(reference["mb"]),
                "equal": True,
                "threads": f"{ours['threads']}; reference {os.cpu_count()}",
                "dtype": "float64, similarities rounded to float32; reference float32",
            }
        )
    return rows


def _measure(work: Work) -> Work:
    if "vectors" in work:
        _detect({**work, "null_size": 100})
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started, processor = peak_mb(), time.perf_counter(), time.process_time()
    answer = _detect(work) if "vectors" in work else _null(work)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - processor,
        "mb": peak_mb() - before,
        "threads": num_blas_threads(),
        **answer,
    }


def _detect(work: Mapping[str, Any]) -> Work:
    frame = pd.DataFrame(
        {
            "Metadata_Plate": work["plates"],
            "Metadata_broad_sample": work["names"],
            "Metadata_control_type": np.where(work["is_control"], "negcon", ""),
        }
    )
    profiles = Profiles(frame, work["vectors"].astype(np.float64), [], source="the bench")
    significance = Significance(null_size=work["null_size"], seed=work["seed"])
    ranked = rank_replicates(profiles, columns=JumpColumns())
    judged = judge(ranked, significance=significance)
    return {"ranked": ranked, "judged": judged}


def _null(work: Mapping[str, Any]) -> Work:
    null = null_average_precisions(**LONG_RANKING, size=work["null_size"], seed=work["seed"])
    return {"null": null}


def _ask_copairs(python: str, work: Work) -> Work:
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "work.npz", Path(folder) / "answer.npz"
        np.savez(asked, **work)
        environment = {**os.environ, "HOME": folder}  # copairs keeps its null cache there
        # -P: the folder of the script is no place to import from
        subprocess.run([python, "-P", str(_SCRIPT), str(asked), str(answer)], check=True, env=environment)
        return dict(np.load(answer))


def _check_detection(ours: Work, reference: Work) -> None:
    ranked = ours["ranked"]
    sizes = (ranked.num_positives, ranked.num_total)
    mine = np.lexsort([ranked.average_precision, ranked.group])
    groups = np.searchsorted(ranked.groups, reference["name"])
    theirs = np.lexsort([reference["average_precision"], groups])
    assert np.array_equal(ranked.group[mine], groups[theirs]), "not the same queries"
    for size, name in zip(sizes, ("n_pos_pairs", "n_total_pairs"), strict=True):
        assert np.array_equal(size[mine], reference[name][theirs]), f"{name} differ"
    far = np.abs(ranked.average_precision[mine] - reference["average_precision"][theirs]).max()
    assert far < 2e-6, f"average precisions differ by {far}"
    p = query_p_values(ranked, significance=Significance(null_size=NULL_SIZE))[mine]
    error = np.sqrt(2 * p * (1 - p) / NULL_SIZE)
    assert (np.abs(p - reference["p"][theirs]) < 5 * error + 2 / NULL_SIZE).all(), "p-values differ"


def _check_null(ours: Work, reference: Work) -> None:
    error = np.sqrt((ours["null"].var() + reference["null"].var()) / NULL_SIZE)
    far = abs(ours["null"].mean() - reference["null"].mean())
    assert far < 5 * error, f"means of the null differ by {far / error:.1f} standard errors"


if __name__ == "__main__":
    for row in run(*sys.argv[1:2]):
        print(row)
