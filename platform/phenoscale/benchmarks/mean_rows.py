"""Rows of means with intervals, as several benchmarks give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from phenoscale.schema.rows import Row
from phenoscale.stats.intervals import bootstrap_mean


def mean_rows(values: Mapping[str, npt.NDArray[Any]], *, row: Row, num_resamples: int) -> list[Row]:
    """A row per metric: the mean of its values, its interval from resampling them; `row` says the rest."""
    rows = []
    for metric, found in values.items():
        estimate = bootstrap_mean(found.astype(np.float64), num_resamples=num_resamples, seed=row.seed or 0)
        rows.append(replace(row, metric=metric, n=len(found), **estimate.as_fields))
    return rows
