"""Curation rules: each keeps or removes fields, and leaves one step of the funnel."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from phenoscale.curation.config import CurateConfig
from phenoscale.errors import UserError
from phenoscale.schema.keys import EXPERIMENT_KEY, PLATE_KEY, WELL_KEY
from phenoscale.schema.manifest import FunnelStep

PLATE: Final = list(PLATE_KEY)
WELL: Final = list(WELL_KEY)
_SHOWN_PLATES: Final = 5


@dataclass(frozen=True)
class Rule:
    """A named rule with its setting in words; `keep` says which rows of a table of fields remain."""

    name: str
    setting: str
    keep: Callable[[pd.DataFrame], np.ndarray]


def quality_rules(config: CurateConfig) -> list[Rule]:
    """The rules on the flags that `curation.flags` gave, in order; one that is off is left out."""
    quality = config.quality
    rules = [
        ("empty", "min_relative_contrast", quality.min_relative_contrast),
        ("saturated", "max_saturated_fraction", quality.max_saturated_fraction),
        ("out_of_focus", "max_focus_deviation", quality.max_focus_deviation),
    ]
    return [
        Rule(name.replace("_", " "), f"{option} {value:g}", keep=_unflagged(f"is_{name}"))
        for name, option, value in rules
        if value is not None
    ]


def metadata_rules(config: CurateConfig) -> list[Rule]:
    """The rule on what is written about a field."""
    if not config.require_perturbation:
        return []
    return [
        Rule(
            "perturbation missing",
            "require_perturbation true",
            keep=lambda f: _array(f["perturbation"] != ""),
        )
    ]


def selection_rules(config: CurateConfig) -> list[Rule]:
    """The rules on replicates and controls, in order."""
    rules = []
    if config.min_wells > 1:
        keep = _replicated(WELL, at_least=config.min_wells)
        rules.append(Rule("too few wells", f"min_wells {config.min_wells}", keep=keep))
    if config.min_experiments > 1:
        keep = _replicated(list(EXPERIMENT_KEY), at_least=config.min_experiments)
        rules.append(Rule("too few experiments", f"min_experiments {config.min_experiments}", keep=keep))
    for kind in ("negative", "positive"):
        fraction: float = getattr(config, f"{kind}_control_fraction")
        if fraction < 1:
            keep = _undersampled(f"is_{kind}_control", fraction=fraction, seed=config.seed)
            rules.append(Rule(f"{kind} controls", f"{kind}_control_fraction {fraction:g}", keep=keep))
    return rules


def apply_rules(fields: pd.DataFrame, rules: Sequence[Rule]) -> tuple[pd.DataFrame, list[FunnelStep]]:
    """Apply rules one after the other; return the fields that remain and what each rule did."""
    steps = []
    for rule in rules:
        keep = rule.keep(fields)
        kept, removed = fields[keep], fields[~keep]
        steps.append(funnel_step(rule.name, rule.setting, kept=kept, removed=removed))
        fields = kept
    return fields, steps


def funnel_step(rule: str, setting: str, *, kept: pd.DataFrame, removed: pd.DataFrame) -> FunnelStep:
    """Count what a rule kept and removed, by perturbation type."""
    return FunnelStep(
        rule=rule,
        setting=setting,
        kept=len(kept),
        removed=len(removed),
        kept_per_type=_per_type(kept),
        removed_per_type=_per_type(removed),
    )


def stop_if_empty(fields: pd.DataFrame, steps: Sequence[FunnelStep]) -> None:
    """Stop when no field remains, naming the rule that removed the most.

    Raises:
        UserError: there is no field left.
    """
    if len(fields):
        return
    worst = max(steps, key=lambda step: step.removed)
    total = steps[0].kept + steps[0].removed
    raise UserError(
        f"curation leaves no field: of {total}, the rule {worst.rule!r} ({worst.setting}) removed the most, "
        f"{worst.removed}; loosen it"
    )


def stop_if_plates_lack_negative_controls(fields: pd.DataFrame, *, when: str) -> None:
    """Stop when a plate has no negative control.

    Args:
        fields: fields with their well columns.
        when: says in the error at which point of the curation this is so.

    Raises:
        UserError: names up to five such plates.
    """
    has_controls = fields.groupby(PLATE, sort=False)["is_negative_control"].any()
    lacking = [
        f"{experiment}/{plate}" for _, experiment, plate in has_controls.index[~has_controls.to_numpy()]
    ]
    if not lacking:
        return
    more = f" and {len(lacking) - _SHOWN_PLATES} more" if len(lacking) > _SHOWN_PLATES else ""
    raise UserError(
        f"{len(lacking)} of {len(has_controls)} plates have no negative control {when}: "
        f"{', '.join(lacking[:_SHOWN_PLATES])}{more}; mark negative controls with `is_negative_control`, "
        "leave these plates out, or set require_negative_controls false (no correction per plate then)"
    )


def _unflagged(flag: str) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda fields: ~_array(fields[flag])


def _replicated(units: list[str], *, at_least: int) -> Callable[[pd.DataFrame], np.ndarray]:
    def keep(fields: pd.DataFrame) -> np.ndarray:
        pairs = fields[["perturbation_type", "perturbation", *units]].drop_duplicates()
        counts = pairs.groupby(["perturbation_type", "perturbation"]).size().rename("num_units")
        found = fields.join(counts, on=["perturbation_type", "perturbation"])["num_units"]
        return _is_control(fields) | (found.to_numpy() >= at_least)

    return keep


def _undersampled(flag: str, *, fraction: float, seed: int) -> Callable[[pd.DataFrame], np.ndarray]:
    """Keep the given share of the flagged wells of every plate, rounded up, in the order of a hash."""

    def keep(fields: pd.DataFrame) -> np.ndarray:
        wells = fields.loc[_array(fields[flag]), WELL].drop_duplicates()
        wells = wells.assign(order=[hashed(seed, flag, *well) for well in wells.itertuples(index=False)])
        rank = wells.groupby(PLATE)["order"].rank(method="first")
        size = wells.groupby(PLATE)["order"].transform("size")
        kept = wells[_array(rank <= np.ceil(fraction * size))]
        is_kept = pd.MultiIndex.from_frame(fields[WELL]).isin(pd.MultiIndex.from_frame(kept[WELL]))
        return ~_array(fields[flag]) | is_kept

    return keep


def hashed(*parts: Any) -> int:
    """Return a number that depends on the parts alone: an order that no other row or run changes."""
    joined = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(joined.encode()).digest()[:6])


def _is_control(fields: pd.DataFrame) -> np.ndarray:
    return _array(fields["is_negative_control"] | fields["is_positive_control"])


def _array(values: pd.Series[Any]) -> np.ndarray:
    return values.to_numpy(dtype=bool)


def _per_type(fields: pd.DataFrame) -> dict[str, int]:
    counts = fields["perturbation_type"].value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)}


def share_of(fraction: float, total: int) -> int:
    """Return a share of a number of things, rounded, but at least one of them."""
    return max(1, math.floor(fraction * total + 0.5))
