"""Signal consistency and magnitude of 17,063 perturbations x 50 wells x 128 dimensions against EFAAR's way.

The references are written here from the algorithm of EFAAR_benchmarking 2248f40: for each perturbation a
look-up of its wells by name, all cosines (or all distances to 1,000 controls, and those of the controls with
each other), and their mean. They run on `num_reference` perturbations, and the seconds are multiplied up: a
perturbation more is as much work. Where the row says so, the wells are at hand and nothing is looked up.
Seconds are processor time, each side in a process of its own, its memory beyond the data counted from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity
from threadpoolctl import threadpool_info

from phenoscale.stats.energy_distance import control_sample, energy_distances
from phenoscale.stats.mean_cosines import (
    directions,
    draw_distinct,
    group_mean_cosines,
    null_mean_cosines,
)
from phenoscale.stats.p_values import upper_p_values

NUM_PERTURBATIONS, NUM_WELLS, DIMENSIONS = 17_063, 50, 128
NUM_NULL, NUM_CONTROLS = 10_000, 1_000

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.intp]
Found = dict[str, Any]


def make_wells(num_perturbations: int) -> tuple[Vectors, Codes]:
    """Wells in random order; every third perturbation has a direction of its own."""
    generator = np.random.default_rng(0)
    codes = generator.permutation(np.repeat(np.arange(num_perturbations), NUM_WELLS))
    vectors = generator.standard_normal((len(codes), DIMENSIONS), dtype=np.float32)
    own = 0.3 * generator.standard_normal((num_perturbations, DIMENSIONS), dtype=np.float32)
    own[np.arange(num_perturbations) % 3 > 0] = 0
    vectors += own[codes]
    return vectors, codes.astype(np.intp)


def null_rows(num_wells: int) -> Codes:
    """Wells of the random groups of the null, the same for both sides."""
    pool = np.arange(num_wells)
    generator = np.random.default_rng(1)
    return draw_distinct(pool, size=NUM_WELLS, num_draws=NUM_NULL, generator=generator)


def consistency_by_sums(vectors_ND: Vectors, codes_N: Codes, *, num_reference: int) -> Found:
    """Signal consistency as phenoscale computes it: drawing, null, values and p-values."""
    del num_reference
    generator = np.random.default_rng(1)
    pool = np.arange(len(codes_N))

    def draw(num_draws: int) -> Codes:
        return draw_distinct(pool, size=NUM_WELLS, num_draws=num_draws, generator=generator)

    vectors = directions(vectors_ND)
    found = group_mean_cosines(vectors, codes_N, num_groups=int(codes_N.max()) + 1)
    (null,) = null_mean_cosines(vectors, draw, sizes=[NUM_WELLS], num_draws=NUM_NULL)
    return {"value": found.mean, "p": upper_p_values(found.mean, null_B=null), "null": null}


def consistency_by_cosines(vectors_ND: Vectors, codes_N: Codes, *, num_reference: int) -> Found:
    """Signal consistency as EFAAR computes it, on a part of the perturbations and of the null.

    Its null are perturbations of the same table: here the random groups are appended to it under new names.
    """
    num_groups, drawn = int(codes_N.max()) + 1, null_rows(len(codes_N))
    names = np.concatenate([codes_N, np.repeat(np.arange(len(drawn)) + num_groups, NUM_WELLS)])
    frame = pd.DataFrame(np.concatenate([vectors_ND, vectors_ND[drawn.reshape(-1)]]), index=names)
    frame.loc[0]  # builds the index of names once
    chosen = [*range(num_reference), *range(num_groups, num_groups + num_reference)]
    started = time.process_time()
    wells = [np.array(frame.loc[code]) for code in chosen]
    looked_up = time.process_time()
    values = np.array([_mean_cosine(each) for each in wells])
    finished = time.process_time()
    repeats = (num_groups + len(drawn)) / len(chosen)
    return {
        "value": values[:num_reference],
        "null": values[num_reference:],
        "seconds": repeats * (finished - started),
        "seconds_at_hand": repeats * (finished - looked_up),
    }


def magnitude_in_blocks(vectors_ND: Vectors, codes_N: Codes, *, num_reference: int) -> Found:
    """Energy distances as phenoscale computes them."""
    del num_reference
    sample = control_sample(_controls())
    num_groups = int(codes_N.max()) + 1
    return {"value": energy_distances(vectors_ND, codes_N, num_groups=num_groups, controls=sample).to_all}


def magnitude_by_pairs(vectors_ND: Vectors, codes_N: Codes, *, num_reference: int) -> Found:
    """Energy distances by plain pairwise distances, on a part of the perturbations."""
    frame, controls = pd.DataFrame(vectors_ND, index=codes_N), _controls()
    frame.loc[0]
    groups, started = int(codes_N.max()) + 1, time.process_time()
    values, own = [], 0.0
    for code in range(num_reference):
        wells = np.array(frame.loc[code])
        across, within = cdist(wells, controls).mean(), cdist(wells, wells).mean()
        before = time.process_time()
        values.append(2 * across - within - cdist(controls, controls).mean())
        own += time.process_time() - before
    seconds = (time.process_time() - started) / num_reference
    return {
        "value": np.array(values),
        "seconds": groups * seconds,
        "seconds_at_hand": groups * (seconds - own / num_reference),
    }


def _controls() -> Vectors:
    return np.random.default_rng(2).standard_normal((NUM_CONTROLS, DIMENSIONS), dtype=np.float32)


def _mean_cosine(wells_nD: Vectors) -> float:
    cosines = np.clip(cosine_similarity(wells_nD.astype(np.float64)), -1, 1)
    return float(cosines[np.tril_indices(len(cosines), -1)].mean())


_ALGORITHMS: Mapping[str, tuple[Callable[..., Found], Callable[..., Found]]] = {
    "signal consistency": (consistency_by_sums, consistency_by_cosines),
    "signal magnitude": (magnitude_in_blocks, magnitude_by_pairs),
}
_AT_HAND = {
    "signal consistency": "wells at hand, no look-up by name",
    "signal magnitude": "wells looked up by name, distances among the controls computed once",
}


def run(*, num_perturbations: int = NUM_PERTURBATIONS, num_reference: int = 200) -> list[dict[str, Any]]:
    """Two rows per benchmark: against the published algorithm, and against a kinder one."""
    rows = []
    for what, (ours, reference) in _ALGORITHMS.items():
        first, second = (
            _measured(function, num_perturbations=num_perturbations, num_reference=num_reference)
            for function in (ours, reference)
        )
        for name in ("value", "null"):
            if name in first:
                gap = float(np.abs(first[name][: len(second[name])] - second[name]).max())
                assert gap < 1e-6, f"{what}: {name} differs by {gap}"
        size = f"{num_perturbations} x {NUM_WELLS} x {DIMENSIONS}"
        null = f", null of {NUM_NULL}" if "null" in first else f", {NUM_CONTROLS} controls"
        kinds = {"as published": second["seconds"], _AT_HAND[what]: second["seconds_at_hand"]}
        rows += [
            {
                "what": f"{what}, {size}{null}; reference {kind}, {num_reference} of them multiplied up",
                "ours_s": first["cpu_seconds"],
                "reference_s": seconds,
                "ratio": seconds / first["cpu_seconds"],
                "ours_mb": first["mb"],
                "reference_mb": second["mb"],
                "equal": True,
                "threads": first["threads"],
                "dtype": "float32 data, float64 sums; reference float64",
            }
            for kind, seconds in kinds.items()
        ]
    return rows


def _measured(function: Callable[..., Found], *, num_perturbations: int, num_reference: int) -> Found:
    """Each algorithm in a process of its own, so that the peak of memory is its own."""
    sizes = {"num_perturbations": num_perturbations, "num_reference": num_reference}
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (function,), sizes)


def _measure(function: Callable[..., Found], *, num_perturbations: int, num_reference: int) -> Found:
    vectors, codes = make_wells(num_perturbations)
    function(vectors[:1000], codes[:1000] % 5, num_reference=2)  # loads what is loaded lazily
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, started = _peak_mb(), time.process_time()
    found = function(vectors, codes, num_reference=num_reference)
    seconds = time.process_time() - started
    threads = max((entry["num_threads"] for entry in threadpool_info()), default=1)
    return {**found, "cpu_seconds": seconds, "mb": _peak_mb() - before, "threads": threads}


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
