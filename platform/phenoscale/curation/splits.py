"""Splits by whole experiment or plate, and sampling weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from phenoscale.curation.config import CurateConfig
from phenoscale.curation.rules import hashed, share_of
from phenoscale.errors import UserError
from phenoscale.schema.keys import EXPERIMENT_KEY, KEY_OF
from phenoscale.schema.labels import key_labels


def split_fields(fields: pd.DataFrame, *, config: CurateConfig) -> np.ndarray:
    """Return the split of every field; all fields of a group (experiment or plate) have the same one.

    Named groups go where the config says. Otherwise the given share of the groups is drawn, in the order of a
    hash of (seed, group): a new group does not change the order of the others.

    Raises:
        UserError: a named group does not exist, or no group would be left for training.
    """
    key = KEY_OF[config.split_by]
    labels, owners = key_labels(fields, key[1:]), key_labels(fields, key)
    groups = dict(zip(owners, labels, strict=True))
    assigned: dict[str, str] = {}
    for split, names in (("validation", config.validation_groups), ("test", config.test_groups)):
        for group in _named(names, groups=groups, split_by=config.split_by):
            if assigned.setdefault(group, split) != split:
                raise UserError(f"{groups[group]} is named for validation and for testing; name it once")
    drawn = sorted(set(groups) - set(assigned), key=lambda group: (hashed(config.seed, group), group))
    for split, names, fraction in (
        ("validation", config.validation_groups, config.validation_fraction),
        ("test", config.test_groups, config.test_fraction),
    ):
        number = share_of(fraction, len(groups)) if fraction > 0 and not names else 0
        assigned.update(dict.fromkeys(drawn[:number], split))
        drawn = drawn[number:]
    if not drawn:
        raise UserError(
            f"splitting {len(groups)} {config.split_by}s leaves none for training; "
            + ("split by plate, " if config.split_by == "experiment" else "")
            + "name fewer groups, or set validation_fraction and test_fraction 0"
        )
    return np.array([assigned.get(owner, "train") for owner in owners], dtype=object)


def weigh_fields(fields: pd.DataFrame, *, split: np.ndarray, weighting: str) -> np.ndarray:
    """Return sampling weights, mean 1 in every split, equal for fields, perturbations or experiments."""
    weights = np.ones(len(fields))
    if weighting == "uniform":
        return weights
    named = key_labels(fields, EXPERIMENT_KEY) if weighting == "experiment" else fields[weighting]
    groups = pd.DataFrame({"name": named, "split": split}).groupby(["name", "split"])["name"]
    weights = 1.0 / groups.transform("size").to_numpy(dtype=float)
    for name in np.unique(split.astype(str)):
        weights[split == name] /= weights[split == name].mean()
    return weights


def _named(names: Sequence[str], *, groups: dict[str, str], split_by: str) -> list[str]:
    """Return the groups with these names; a name may begin with the screen."""
    found: list[str] = []
    for name in names:
        matches = [group for group, label in groups.items() if name in (group, label)]
        if not matches:
            known = sorted(set(groups.values()))
            raise UserError(
                f"{split_by} {name!r} has no field left to select; there are {', '.join(known[:20])}"
                f"{' ...' if len(known) > 20 else ''}: name one of these"
            )
        found += matches
    return found
