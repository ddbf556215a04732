"""Settings of the benchmarks of single perturbations: is there a signal, and how large is it?"""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting

_EMBEDDINGS = "wells: output of `embed` or `map`, or any embedding table"
_OUTPUT = "Parquet file for one row per perturbation; empty: none is written"
_THRESHOLD = "p or q below which a perturbation counts as significant"
_RESAMPLES = "bootstrap resamples of perturbations behind each interval; 0: no intervals"
_SEED = "seed of everything that is drawn"
_NULL_PERTURBATIONS = "perturbations that do nothing, for null: control_perturbations"
_GENES = "CSV with gene and zfpkm: unexpressed genes are perturbations that do nothing"


class SignalConsistencyConfig(Config):
    """Signal consistency: are the wells of a perturbation more alike than wells drawn at random?

    The mean cosine over all pairs of a perturbation's wells. `random_wells` compares it with as many wells of
    any perturbations (of the same batches with --match), `control_perturbations`, as published, with
    perturbations that do nothing. p = (b + 1) / (B + 1) where b of the B null values are as large or larger;
    q after Benjamini-Hochberg.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
    null: Literal["random_wells", "control_perturbations"] = setting(
        "random_wells", help="what a mean cosine is compared with"
    )
    match: Literal["none", "experiment", "plate"] = setting(
        "none", help="draw random wells from the perturbation's own experiments or plates, as many from each"
    )
    num_null: int = setting(10_000, ge=1, help="random groups of wells, shared by perturbations of a size")
    null_perturbations: tuple[str, ...] = setting((), help=_NULL_PERTURBATIONS)
    genes: str = location("", help=_GENES)
    max_zfpkm: float = setting(-3.0, help="zFPKM below which a gene counts as unexpressed")
    min_wells: int = setting(2, ge=2, help="wells that a perturbation needs")
    threshold: float = setting(0.05, gt=0, lt=1, help=_THRESHOLD)
    num_resamples: int = setting(1000, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    output: str = location("", help=_OUTPUT)
    runtime: Runtime = Runtime()


class SignalMagnitudeConfig(Config):
    """Signal magnitude: how far are the wells of a perturbation from the negative controls?

    Energy distance with V-statistics to at most `max_controls` negative controls of the same cell type and
    time point. `control_subsets` compares it with as many controls against the other controls (both
    comparisons of equal sizes), `control_perturbations`, as published, with perturbations that do nothing.
    p = (b + 1) / (B + 1) where b of the B null values are as large or larger; q after Benjamini-Hochberg.

    With `control_subsets` the wells must not be corrected by what was fitted on the controls: give the output
    of `embed`, or of `map` with statistics: all and without TVN. Controls that a correction was fitted on are
    closer to each other than any other well is to them, and far too many perturbations have a small p.
    """

    embeddings: str = location("", help=_EMBEDDINGS)
    null: Literal["control_subsets", "control_perturbations"] = setting(
        "control_subsets", help="what an energy distance is compared with"
    )
    max_controls: int = setting(1000, ge=2, help="negative controls used; more are sampled")
    num_null: int = setting(1000, ge=1, help="subsets of controls, shared by perturbations of a size")
    null_perturbations: tuple[str, ...] = setting((), help=_NULL_PERTURBATIONS)
    genes: str = location("", help=_GENES)
    max_zfpkm: float = setting(-3.0, help="zFPKM below which a gene counts as unexpressed")
    min_wells: int = setting(5, ge=2, help="wells that a perturbation needs")
    threshold: float = setting(0.05, gt=0, lt=1, help=_THRESHOLD)
    num_resamples: int = setting(1000, ge=0, help=_RESAMPLES)
    seed: int = setting(0, ge=0, help=_SEED)
    output: str = location("", help=_OUTPUT)
    runtime: Runtime = Runtime()
