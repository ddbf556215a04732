"""Settings of `curate`: which fields of which stores make a data set, and how it is split."""

from __future__ import annotations

from typing import Literal

from phenoscale.config import Config, Runtime, location, setting


class QualityConfig(Config):
    """When a field is empty, saturated or out of focus (see `curation.flags`); `none` turns a rule off."""

    min_relative_contrast: float | None = setting(
        0.1, ge=0, help="a field is empty below this share of its plate's contrast, in every channel"
    )
    max_saturated_fraction: float | None = setting(
        0.02, ge=0, le=1, help="a field is saturated with more saturated pixels than this in any channel"
    )
    max_focus_deviation: float | None = setting(
        5.0, gt=0, help="out of focus: this many robust standard deviations less fine detail than the plate"
    )
    min_focus_loss: float = setting(
        1.0, ge=0, help="and at least this many octaves (1 = half the power of fine detail) less"
    )
    min_fields_per_plate: int = setting(
        8, ge=1, help="plates with fewer fields than this are not judged for focus"
    )


class CurateConfig(Config):
    """Select fields of screen stores into a manifest: quality, replicates, controls, splits, weights."""

    stores: list[str] = location(default_factory=list, in_place=True, help="screen stores to select from")
    channels: Literal["common", "union"] = setting(
        "common",
        help="common: all stores must have the same channels; union: each may have its own, for encoders "
        "that read any",
    )
    quality: QualityConfig = QualityConfig()
    require_perturbation: bool = setting(True, help="leave out fields whose perturbation is not named")
    require_negative_controls: bool = setting(True, help="stop when a plate has no negative control")
    min_wells: int = setting(1, ge=1, help="wells that a perturbation needs (controls are exempt)")
    min_experiments: int = setting(
        1, ge=1, help="experiments that a perturbation needs (controls are exempt)"
    )
    negative_control_fraction: float = setting(
        1.0, ge=0, le=1, help="share of the negative-control wells of a plate that is kept"
    )
    positive_control_fraction: float = setting(
        1.0, ge=0, le=1, help="share of the positive-control wells of a plate that is kept"
    )
    split_by: Literal["experiment", "plate"] = setting(
        "experiment", help="wells that stay together: those of an experiment, or of a plate"
    )
    validation_fraction: float = setting(0.2, ge=0, lt=1, help="share of the groups used for validation")
    test_fraction: float = setting(0.0, ge=0, lt=1, help="share of the groups used for testing")
    validation_groups: list[str] = setting(
        default_factory=list,
        help="groups for validation by name, EXPERIMENT or EXPERIMENT/PLATE, in place of the fraction",
    )
    test_groups: list[str] = setting(
        default_factory=list,
        help="groups for testing by name, EXPERIMENT or EXPERIMENT/PLATE, in place of the fraction",
    )
    weighting: Literal["uniform", "perturbation", "experiment"] = setting(
        "uniform", help="equal sampling weight for every field, every perturbation or every experiment"
    )
    seed: int = setting(0, help="decides which controls are kept and which groups are drawn")
    runtime: Runtime = Runtime()
