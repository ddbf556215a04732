"""Known-relationship recall of five sources against the algorithm of EFAAR_benchmarking 2248f40.

The reference is written here from the published description: a float64 frame of all cosines, a copy of its
upper triangle, a full sort, and one look-up by name for each pair. Both sides start with the same map and
the same pairs in memory; the pairs are found in the map inside the clock. `equal` compares the recalls.
Shapes: N perturbations, D dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics.pairwise import cosine_similarity

from phenoscale.benchmarks.relations.annotations import AnnotationSource, make_source, read_annotations
from phenoscale.benchmarks.relations.recall import score_pairs
from phenoscale.stats.threads import num_blas_threads

NUM_PERTURBATIONS = 17_063
DIMENSIONS = (128, 1664)
TAILS = [(0.05, 0.95)]
SOURCES = ("CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB")
SYNTHETIC_PAIRS = {"CORUM": 37_649, "HuMAP": 58_538, "Reactome": 18_565, "SIGNOR": 11_617, "StringDB": 58_059}

Vectors = npt.NDArray[np.float32]
Recalls = dict[str, float]


def make_map(num_dimensions: int, *, names: Sequence[str], seed: int) -> tuple[npt.NDArray[np.str_], Vectors]:
    """A map of so many genes, the annotated ones first: families of similar vectors, no zero, no tie."""
    generator = np.random.default_rng(seed)
    filled = [*names, *(f"GENE{index:05d}" for index in range(NUM_PERTURBATIONS))][:NUM_PERTURBATIONS]
    centers = generator.standard_normal((NUM_PERTURBATIONS // 10, num_dimensions))
    vectors = generator.standard_normal((NUM_PERTURBATIONS, num_dimensions))
    vectors += 0.5 * centers[generator.integers(0, len(centers), NUM_PERTURBATIONS)]
    return np.array(filled), vectors.astype(np.float32)


def make_sources(folder: str | Path | None) -> list[AnnotationSource]:
    """The shipped annotation files where they are, else as many random pairs."""
    if folder:
        return [read_annotations(Path(folder) / f"{name}.txt") for name in SOURCES]
    generator = np.random.default_rng(0)
    genes = np.array([f"GENE{index:05d}" for index in range(NUM_PERTURBATIONS)])
    return [
        make_source(name, genes[generator.integers(0, len(genes), (count, 2))])
        for name, count in SYNTHETIC_PAIRS.items()
    ]


def recall_by_sorting(
    names: npt.NDArray[np.str_], vectors_ND: Vectors, *, sources: Sequence[AnnotationSource]
) -> Recalls:
    """Recall as EFAAR computes it: every cosine is held, and all of them are sorted."""
    features = pd.DataFrame(vectors_ND.astype(np.float64), index=names)
    cosines = pd.DataFrame(cosine_similarity(features, features), index=names, columns=names)
    null = np.sort(cosines.to_numpy()[np.triu_indices(len(names), 1)])
    lower, upper = TAILS[0]
    found: Recalls = {}
    for source in sources:
        inside = np.isin(source.pairs, names).all(axis=1)
        query = np.array([cosines.loc[left, right] for left, right in source.pairs[inside]])
        below = np.searchsorted(null, query, side="left") / len(null)
        at_most = np.searchsorted(null, query, side="right") / len(null)
        found[source.name] = float(np.mean((at_most <= lower) | (below >= upper)))
    return found


def recall_by_ranks(
    names: npt.NDArray[np.str_], vectors_ND: Vectors, *, sources: Sequence[AnnotationSource]
) -> Recalls:
    """Recall as phenoscale computes it."""
    scores = score_pairs(names, vectors_ND, sources=sources, tails=TAILS)
    return {source.source: float(np.mean(source.hits[TAILS[0]])) for source in scores.sources}


_ALGORITHMS: Mapping[str, Callable[..., Recalls]] = {"ours": recall_by_ranks, "reference": recall_by_sorting}


def run(
    annotations: str | Path | None = None, *, dimensions: Sequence[int] = DIMENSIONS
) -> list[dict[str, Any]]:
    """One row per number of dimensions.

    Args:
        annotations: folder with CORUM.txt, HuMAP.txt, ...; None: as many synthetic pairs.
        dimensions: of the map.
    """
    rows = []
    for num_dimensions in dimensions:
        ours, reference = (
            _measured(name, num_dimensions, annotations=annotations) for name in ("ours", "reference")
        )
        assert ours["recall"] == reference["recall"], f"{ours['recall']} is not {reference['recall']}"
        rows.append(
            {
                "what": f"recall, {NUM_PERTURBATIONS} x {num_dimensions}, {len(SOURCES)} sources",
                "ours_s": ours["seconds"],
                "reference_s": reference["seconds"],
                "ratio": reference["seconds"] / ours["seconds"],
                "ours_cpu_s": ours["cpu_seconds"],
                "reference_cpu_s": reference["cpu_seconds"],
                "ours_mb": ours["mb"],
                "reference_mb": reference["mb"],
                "product_s": ours["product_seconds"],
                "equal": True,
                "threads": ours["threads"],
                "dtype": "float32 screen, float64 where it decides; reference float64",
            }
        )
    return rows


def _measured(name: str, num_dimensions: int, *, annotations: str | Path | None) -> dict[str, Any]:
    """Each algorithm in a process of its own, so that the peak of memory is its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (name, num_dimensions), {"annotations": annotations})


def _measure(name: str, num_dimensions: int, *, annotations: str | Path | None) -> dict[str, Any]:
    sources = make_sources(annotations)
    annotated = np.unique(np.concatenate([source.pairs for source in sources]))
    names, vectors = make_map(num_dimensions, names=annotated.tolist(), seed=num_dimensions)
    _warm_up(name)
    before = _begin_peak_mb()
    started, processor = time.perf_counter(), time.process_time()
    recall = _ALGORITHMS[name](names, vectors, sources=sources)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - processor,
        "mb": _peak_mb() - before,
        "recall": recall,
        "threads": num_blas_threads(),
        "product_seconds": _product_seconds(vectors) if name == "ours" else None,
    }


def _warm_up(name: str) -> None:
    """Load what is loaded lazily, on a map of 30."""
    small = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    names = np.array([f"G{index}" for index in range(30)])
    _ALGORITHMS[name](names, small, sources=[make_source("s", names[:4].reshape(2, 2))])


def _product_seconds(vectors_ND: Vectors) -> float:
    """The limit: seconds for the float32 product of half of all pairs, at the rate of a large product."""
    rows = vectors_ND[:4096]
    out = np.empty((4096, 4096), np.float32)
    best = np.inf
    for _ in range(3):
        started = time.perf_counter()
        np.matmul(rows, vectors_ND[4096:8192].T, out=out)
        best = min(best, time.perf_counter() - started)
    return float(best * len(vectors_ND) ** 2 / 2 / 4096**2)


def _begin_peak_mb() -> float:
    """Forget the peak so far: Linux then counts from what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak_mb()


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
