"""Words and rules that the settings of several benchmarks share."""

from __future__ import annotations

from typing import Final

from phenoscale.errors import UserError

A_MAP: Final = "map folder, or a Parquet with `perturbation` and `embedding`"
WELL_TABLE: Final = "wells: output of `embed` or `map`, or any embedding table"
PAIRS: Final = "CSV with entity1,entity2; may be repeated"
GENE_ARMS: Final = "CSV with gene and arm"
SEED: Final = "seed of everything that is drawn"
MIN_RESAMPLES: Final = 100
RESAMPLES: Final = "bootstrap resamples behind each interval; 0: no intervals"
ENOUGH_RESAMPLES: Final = (
    f"bootstrap resamples behind each interval, at least {MIN_RESAMPLES}; 0: no intervals"
)


def refuse_crossed_tails(lower: float, upper: float) -> None:
    """Refuse tails that overlap."""
    if lower >= upper:
        raise UserError(
            f"lower is {lower} and upper {upper}, but the tails must not meet; choose lower < upper, such "
            "as .05, .95"
        )


def refuse_unusable_curve(curve: tuple[float, ...]) -> None:
    """Refuse tails p for which (p, 1 - p) leaves no middle."""
    wrong = [tail for tail in curve if not 0 < tail < 0.5]
    if wrong:
        raise UserError(
            f"curve holds {wrong}, but each p is scored at (p, 1 - p), so it lies between 0 and 0.5; try 0.1"
        )


def refuse_few_resamples(num_resamples: int) -> None:
    """Refuse resamples that are too few for the ends of a 95 % interval."""
    if 0 < num_resamples < MIN_RESAMPLES:
        raise UserError(
            f"num_resamples is {num_resamples}, but a 95 % interval needs at least {MIN_RESAMPLES}; give "
            "more, or 0 for no intervals"
        )
