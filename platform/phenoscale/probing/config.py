"""Settings of `probe`: the labelled tasks, how they are split, and which of them chooses the block."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, runtime, setting
from phenoscale.errors import UserError
from phenoscale.inference.config import Layout
from phenoscale.schema.keys import PLATE_KEY

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ProbeTask(Config):
    """One label to predict from embeddings, with groups that no fold splits.

    `plate` stands for the plate of an experiment, and as a group `well` for the well of a plate. Rows without
    a label, classes that are too small and classes that occur in one group only are left out and counted.
    """

    name: str = setting("perturbation", min_length=1, help="name of the task in rows and reports")
    label: str = setting("perturbation", help="column to predict")
    group: str = setting("experiment", help="column whose groups are trained on or tested on, never both")
    level: Literal["field", "well"] = setting("well", help="one sample per field (or cell crop), or per well")
    where: str = setting(
        "", help="pandas query over the fields: perturbation != 'DMSO'; empty: all of the manifest"
    )
    split: Literal["stratified_group_kfold", "leave_one_group_out"] = setting(
        "stratified_group_kfold", help="how groups become folds"
    )
    num_folds: int = setting(5, ge=2, help="folds of stratified_group_kfold; never more than groups")
    inverse_regularization: tuple[float, ...] = setting(
        (1.0, 0.01), min_length=1, help="strengths C of the probes, each reported"
    )
    min_class_size: int = setting(2, ge=1, help="classes with fewer samples are left out")
    center_by: str = setting(
        "",
        help="subtract the mean of all samples that share a value of this column (plate, experiment): "
        "needs no label, wants a randomized layout; empty: nothing is subtracted",
    )
    confounds: tuple[str, ...] = setting(
        PLATE_KEY[1:], help="columns that alone make the confound baseline; none: no such baseline"
    )
    with_confounds: bool = setting(False, help="also probe the embedding together with the confounds")
    chooses_block: bool = setting(False, help="the best block is chosen by this task")
    chooses_with: float | None = setting(
        None, help="strength C whose accuracies choose the block; none: the last of inverse_regularization"
    )

    @property
    def choosing_strength(self) -> float:
        """The C by which this task compares blocks."""
        return self.inverse_regularization[-1] if self.chooses_with is None else self.chooses_with

    @model_validator(mode="after")
    def _is_consistent(self) -> ProbeTask:
        strengths = list(self.inverse_regularization)
        if min(strengths) <= 0 or len(set(strengths)) < len(strengths):
            raise UserError(
                f"task {self.name}: inverse_regularization is {strengths}, but strengths must be positive "
                "and different; give each C once, such as [1.0, 0.01]"
            )
        if self.choosing_strength not in strengths:
            raise UserError(
                f"task {self.name}: chooses_with is {self.chooses_with}, but must be one of "
                f"inverse_regularization {strengths}; choose one of them or add it there"
            )
        if self.with_confounds and not self.confounds:
            raise UserError(
                f"task {self.name}: with_confounds needs `confounds`, but there are none; name the columns, "
                "or leave with_confounds out"
            )
        return self


class ProbeConfig(Config):
    """Measure every block of an encoder with linear probes, and keep the encoder up to its best block.

    All blocks come out of one forward pass; all probes of a task are trained together. Baselines go through
    the same door. Writes `encoder/` (the candidate), `baselines/NAME/` (each cut at its own best block), the
    rows, and `probe.json` with the chosen blocks and why.
    """

    encoder: str = location("", help="encoder folder, or the output of `pretrain` or `import`")
    baselines: dict[str, str] = location(default_factory=dict, help="encoders to compare with: name=folder")
    manifest: str = location("", help="manifest folder, output of `curate`; all its splits can be used")
    name: str = setting("trained", help="name of the encoder in rows and reports")
    tasks: tuple[ProbeTask, ...] = setting(
        (ProbeTask(),), min_length=1, help="the tasks, as YAML: [{name: moa, label: moa, group: plate}, ...]"
    )
    crop_layout: Layout = setting(
        "grid",
        help="grid: all crops of a field; inner: without the outer ring; center: the one in the middle",
    )
    num_resamples: int = setting(400, ge=10, help="resamples of groups behind each interval")
    seed: int = setting(0, ge=0, help="seed of the folds and of the resamples")
    minibatch_size: int = runtime(0, ge=0, help="crops embedded at once; 0: 64 on a CPU, 512 on a GPU")
    runtime: Runtime = Runtime()

    @property
    def choosing_task(self) -> ProbeTask:
        """The task that chooses the block: the one that says so, else the first."""
        return next((task for task in self.tasks if task.chooses_block), self.tasks[0])

    @model_validator(mode="after")
    def _is_consistent(self) -> ProbeConfig:
        names = [task.name for task in self.tasks]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UserError(
                f"task {repeated[0]!r} occurs {names.count(repeated[0])} times, but names must differ; "
                "rename one"
            )
        choosing = [task.name for task in self.tasks if task.chooses_block]
        if len(choosing) > 1:
            raise UserError(
                f"the tasks {choosing} all say chooses_block, but one task chooses; leave it at one of them"
            )
        for name in (self.name, *self.baselines):
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"encoder name {name!r} must be letters, digits, `_`, `-` or `.`, as it becomes a "
                    "folder; rename it"
                )
        if self.name in self.baselines:
            raise UserError(f"a baseline is called {self.name!r}, as the encoder itself; rename one of them")
        return self
