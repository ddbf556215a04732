"""Balanced accuracies of a task: every block and strength, the confounds alone, chance.

Shapes: R blocks, S strengths, N samples, D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from phenoscale.logs import get_logger, key_values
from phenoscale.probing.config import ProbeTask
from phenoscale.probing.samples import Samples
from phenoscale.schema.rows import BALANCED_ACCURACY, CHANCE, PROBE, Row, canonical_setting
from phenoscale.stats.classification import Predictions, balanced_accuracy_interval
from phenoscale.stats.intervals import Estimate
from phenoscale.stats.softmax import predict_out_of_fold

Features = Literal["embedding", "embedding+confounds", "confounds", "chance"]
logger = get_logger(__name__)


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: groups resampled so often, from this seed."""

    num_resamples: int
    seed: int


@dataclass(frozen=True)
class Score:
    """The balanced accuracy of one block at one strength."""

    features: Features
    block: int | None
    strength: float | None
    estimate: Estimate


def score_blocks(
    blocks_RND: npt.NDArray[Any], *, samples: Samples, task: ProbeTask, resampling: Resampling
) -> list[Score]:
    """Probe every block of an encoder at every strength, with the confounds beside it if the task says so."""
    scores = _scores(blocks_RND, "embedding", samples=samples, task=task, resampling=resampling)
    if task.with_confounds:
        joined = (np.hstack([block_ND, samples.confounds]) for block_ND in blocks_RND)
        scores += _scores(joined, "embedding+confounds", samples=samples, task=task, resampling=resampling)
    return scores


def score_confounds(*, samples: Samples, task: ProbeTask, resampling: Resampling) -> list[Score]:
    """Predict the label from the confounds alone, and state the level of chance."""
    chance = 1.0 / len(samples.classes)
    scores = [Score(CHANCE, None, None, Estimate(chance, np.nan, np.nan))]
    if task.confounds:
        alone = _scores([samples.confounds], "confounds", samples=samples, task=task, resampling=resampling)
        scores += [Score("confounds", None, score.strength, score.estimate) for score in alone]
    return scores


def _scores(
    designs: Iterable[npt.NDArray[Any]],
    features: Features,
    *,
    samples: Samples,
    task: ProbeTask,
    resampling: Resampling,
) -> list[Score]:
    out = predict_out_of_fold(
        designs,
        labels_N=samples.labels,
        folds_N=samples.folds,
        inverse_regularization=task.inverse_regularization,
        num_classes=len(samples.classes),
    )
    if not out.converged.all():
        line = key_values(task=task.name, features=features, unconverged_probes=int((~out.converged).sum()))
        logger.warning("%s", line)
    rows = np.arange(len(samples.labels))
    return [
        Score(
            features,
            block,
            strength,
            balanced_accuracy_interval(
                Predictions(samples.labels, out.predictions[block, index], rows),
                groups_N=samples.groups,
                num_resamples=resampling.num_resamples,
                seed=resampling.seed,
            ),
        )
        for block in range(len(out.predictions))
        for index, strength in enumerate(task.inverse_regularization)
    ]


def best_block(scores: Iterable[Score], *, strength: float) -> Score:
    """The score of the block with the highest accuracy at a strength; the earliest one of equals."""
    candidates = [s for s in scores if s.features == "embedding" and s.strength == strength]
    return max(candidates, key=lambda score: score.estimate.value)


def to_row(score: Score, *, samples: Samples, task: ProbeTask, encoder: str, chosen: bool, seed: int) -> Row:
    """A score as a row of the report's long table."""
    setting = canonical_setting(
        block=score.block,
        chosen=chosen,
        features=score.features,
        folds=int(samples.folds.max()) + 1,
        group=task.group,
        inverse_regularization=score.strength,
        label=task.label,
        level=task.level,
        num_classes=len(samples.classes),
        num_groups=len(np.unique(samples.groups)),
        split=task.split,
        where=task.where,
    )
    return Row(
        benchmark=PROBE,
        source=task.name,
        metric=BALANCED_ACCURACY,
        setting=setting,
        **score.estimate.as_fields,
        n=len(samples.labels),
        excluded=samples.num_excluded,
        seed=seed,
        encoder=encoder,
    )
