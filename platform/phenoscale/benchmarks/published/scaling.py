"""A metric against what an encoder took: fit over the logarithm, slope per tenfold and R^2. science.md 8.14.

The axes are crops seen, operations by the rule of the papers, operations counted exactly, and parameters. The
interval of the slope is that of Student's t over the encoders; that of R^2 comes from resampling them and is
centered on the value, as encoders on no line have a smaller R^2 than most of their resamples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from phenoscale.schema.rows import Row, canonical_setting
from phenoscale.stats.intervals import centered_interval

Array = npt.NDArray[np.float64]

AXES: Final = {
    "crops": "crops seen",
    "flops_paper": "training FLOPs by the papers' rule",
    "flops_exact": "training FLOPs, counted",
    "parameters": "encoder parameters",
}
MIN_POINTS: Final = 3


@dataclass(frozen=True, kw_only=True)
class ScalingPoint:
    """One metric of one encoder, and what the encoder took; what is not known is None.

    Attributes:
        encoder: its name.
        measured: the row of the metric.
        crops: crops seen in training.
        flops_paper: operations of the training by the rule of the papers.
        flops_exact: operations of the training, counted.
        parameters: of the encoder with all its blocks.
    """

    encoder: str
    measured: Row
    crops: float | None = None
    flops_paper: float | None = None
    flops_exact: float | None = None
    parameters: float | None = None

    def along(self, axis: str) -> float | None:
        """The place on an axis; None where it is not known, or not above zero."""
        place = getattr(self, axis)
        return float(place) if place is not None and place > 0 else None


@dataclass(frozen=True)
class LogFit:
    """value = intercept + slope log10(x).

    Attributes:
        slope: change of the metric for ten times as much.
        low: lower end of its 95 % interval, NaN with fewer than three points.
        high: upper end.
        intercept: the metric at x = 1.
        r_squared: share of the variance that the line explains.
    """

    slope: float
    low: float
    high: float
    intercept: float
    r_squared: float

    def at(self, x: float) -> float:
        """The metric that the line expects."""
        return self.intercept + self.slope * float(np.log10(x))


def fit_log(x_N: Array, y_N: Array) -> LogFit | None:
    """Least squares of a metric over the decimal logarithm; None with fewer than two different places."""
    places = np.log10(x_N)
    spread = places - places.mean()
    if len(places) < 2 or not (spread @ spread > 0):
        return None
    slope = float(spread @ y_N / (spread @ spread))
    intercept = float(y_N.mean() - slope * places.mean())
    residual = float(((y_N - intercept - slope * places) ** 2).sum())
    total = float(((y_N - y_N.mean()) ** 2).sum())
    freedom = len(places) - 2
    half = np.nan
    if freedom > 0:
        half = float(stats.t.ppf(0.975, freedom) * np.sqrt(residual / freedom / (spread @ spread)))
    return LogFit(slope, slope - half, slope + half, intercept, 1 - residual / total if total else np.nan)


def scaling_rows(points: Iterable[ScalingPoint], *, num_resamples: int = 1000, seed: int = 0) -> list[Row]:
    """Slope and R^2 of every metric along every axis on which at least three encoders stand.

    Args:
        points: of any metrics; those of one benchmark, source, metric and setting are fitted together.
        num_resamples: resamples of the encoders behind the interval of R^2.
        seed: of the resamples.
    """
    rows: list[Row] = []
    for alike in together(points).values():
        for axis in AXES:
            placed = [point for point in alike if point.along(axis) is not None]
            x_N = np.array([point.along(axis) for point in placed], np.float64)
            y_N = np.array([point.measured.value for point in placed], np.float64)
            fit = fit_log(x_N, y_N) if len(np.unique(x_N)) >= MIN_POINTS else None
            if fit is None:
                continue
            resampled = _resampled(x_N, y_N, num_resamples=num_resamples, seed=seed)
            spread = centered_interval(fit.r_squared, resampled_B=resampled, highest=1.0)
            shared = {"against": axis, **_place(placed[0].measured)}
            for metric, ends, interval in (
                ("slope_per_tenfold", (fit.slope, fit.low, fit.high), "student t over encoders"),
                ("r_squared", (fit.r_squared, spread.low, spread.high), "encoders, centered"),
            ):
                rows.append(
                    Row(
                        "scaling",
                        placed[0].measured.source,
                        metric,
                        canonical_setting(interval=interval, **shared),
                        *ends,
                        n=len(placed),
                        excluded=len(alike) - len(placed),
                        seed=seed,
                    )
                )
    return rows


def together(points: Iterable[ScalingPoint]) -> dict[tuple[str, ...], list[ScalingPoint]]:
    """Points of the same benchmark, source, metric and setting; those without a value are left out."""
    found: dict[tuple[str, ...], list[ScalingPoint]] = {}
    for point in points:
        row = point.measured
        if row.value is not None:
            found.setdefault((row.benchmark, row.source, row.metric, row.setting), []).append(point)
    return found


def _place(row: Row) -> Mapping[str, Any]:
    """What was measured, as settings of the fit."""
    setting = {name: value for name, value in row.settings.items() if name not in ("interval", "against")}
    return {"benchmark": row.benchmark, "metric": row.metric, **setting}


def _resampled(x_N: Array, y_N: Array, *, num_resamples: int, seed: int) -> Array:
    """R^2 (the squared correlation) of resampled encoders; NaN with fewer than three different places."""
    generator = np.random.default_rng(seed)
    drawn_BN = generator.integers(0, len(x_N), (num_resamples, len(x_N)))
    x_BN, y_BN = (
        values[drawn_BN] - values[drawn_BN].mean(1, keepdims=True) for values in (np.log10(x_N), y_N)
    )
    spread_B = (x_BN**2).sum(1) * (y_BN**2).sum(1)
    places_B = 1 + (np.diff(np.sort(x_N[drawn_BN], axis=1), axis=1) > 0).sum(1)
    usable = (places_B >= MIN_POINTS) & (spread_B > 0)
    found_B = np.full(num_resamples, np.nan)
    found_B[usable] = (x_BN * y_BN).sum(1)[usable] ** 2 / spread_B[usable]
    return found_B
