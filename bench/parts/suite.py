"""`benchmark suite` on a map of 735 genes x 384 dimensions with five sources, as a user starts it.

There is no reference: the row says how long the command takes, imports and reading included, and how much
processor time and memory. `equal` holds that its recall is that of `benchmark recall`.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from parts.recall import make_sources
from phenoscale.schema.maps import parse_map, write_bare_map
from phenoscale.stats.threads import num_blas_threads

NUM_GENES, DIMENSIONS = 735, 384


def run(annotations: str | Path | None = None) -> list[dict[str, Any]]:
    """One row; the genes are those with the most annotated pairs."""
    sources = make_sources(annotations)
    names, counts = np.unique(
        np.concatenate([source.pairs.ravel() for source in sources]), return_counts=True
    )
    genes = np.sort(names[np.argsort(-counts, kind="stable")[:NUM_GENES]])
    vectors = np.random.default_rng(0).standard_normal((NUM_GENES, DIMENSIONS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        frame = pd.DataFrame({"perturbation": genes, "perturbation_type": "crispr"})
        write_bare_map(folder / "map.parquet", parse_map(frame, vectors, source="drawn"))
        words = ["--map", str(folder / "map.parquet")]
        for source in sources:
            file = folder / f"{source.name}.csv"
            pd.DataFrame(source.pairs, columns=["entity1", "entity2"]).to_csv(file, index=False)
            words += ["--annotations", str(file)]
        started = time.perf_counter()
        rows, used = _ask("suite", words)
        seconds = time.perf_counter() - started
        single, _ = _ask("recall", words)
    known = [
        row for row in rows if row["benchmark"] == "recall" and row["source"] in {s.name for s in sources}
    ]
    assert [row for row in known if row["metric"] == "recall"] == single, "the suite's recall is another"
    return [
        {
            "what": f"benchmark suite, {NUM_GENES} x {DIMENSIONS}, {len(sources)} sources",
            "ours_s": seconds,
            "ours_cpu_s": used.ru_utime + used.ru_stime,
            "ours_mb": used.ru_maxrss / 1024,
            "equal": True,
            "threads": num_blas_threads(),
            "dtype": "float32 screen, float64 where it decides",
        }
    ]


def _ask(verb: str, words: list[str]) -> tuple[list[dict[str, Any]], resource.struct_rusage]:
    """Rows of a benchmark in a process of its own, and what that process took."""
    command = [
        sys.executable,
        "-m",
        "phenoscale",
        "benchmark",
        verb,
        *words,
        "--json",
        "--log-level",
        "ERROR",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"benchmark {verb} ended with {process.returncode}"
    return json.loads(said), used
