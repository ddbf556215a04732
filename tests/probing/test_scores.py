"""Scores find what is planted, nothing where nothing is, and choose the earliest of the best blocks."""

import numpy as np
import pytest

from phenoscale.probing.config import ProbeTask
from phenoscale.probing.samples import Samples
from phenoscale.probing.scores import (
    Resampling,
    Score,
    best_block,
    score_blocks,
    score_confounds,
    to_row,
)
from phenoscale.stats.intervals import Estimate

RESAMPLING = Resampling(num_resamples=100, seed=0)
TASK = ProbeTask(label="moa", group="plate", inverse_regularization=(1.0, 0.1), with_confounds=True)


def samples_of(labels, *, confound):
    groups = np.arange(len(labels)) % 10
    return Samples(
        rows=np.arange(len(labels)),
        sample_of_row=np.arange(len(labels)),
        labels=labels,
        classes=tuple(f"class {code}" for code in range(labels.max() + 1)),
        groups=groups.astype(str),
        folds=groups % 5,
        centers=np.empty(0, dtype=np.intp),
        confounds=(confound[:, None] == np.unique(confound)).astype(float),
        excluded={"no label": 3},
        excluded_classes=(),
        num_unseen=0,
    )


@pytest.fixture(scope="module")
def planted():
    """Three blocks: noise, a weak and a strong copy of the class; the confound tells two pairs apart."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(600) % 4)
    centers = np.eye(4)[labels] @ generator.normal(size=(4, 8))
    noise = generator.normal(size=(3, 600, 8))
    blocks = noise + np.array([0.0, 0.4, 2.0])[:, None, None] * centers
    return blocks, samples_of(labels, confound=labels // 2)


@pytest.fixture(scope="module")
def scores(planted):
    blocks, samples = planted
    return score_blocks(blocks, samples=samples, task=TASK, resampling=RESAMPLING)


def values(scores, features, *, strength=1.0):
    return [s.estimate.value for s in scores if s.features == features and s.strength == strength]


def test_every_block_is_scored_at_every_strength_alone_and_with_the_confounds(scores):
    assert [(s.features, s.block, s.strength) for s in scores] == [
        (features, block, strength)
        for features in ("embedding", "embedding+confounds")
        for block in (0, 1, 2)
        for strength in (1.0, 0.1)
    ]


def test_accuracy_rises_from_chance_with_the_planted_signal(scores):
    noise, weak, strong = values(scores, "embedding")
    assert abs(noise - 0.25) < 0.07
    assert noise + 0.1 < weak < strong - 0.1
    assert strong > 0.95


def test_confounds_alone_reach_what_they_give_away(planted):
    _, samples = planted
    found = score_confounds(samples=samples, task=TASK, resampling=RESAMPLING)
    assert [(s.features, s.strength) for s in found] == [
        ("chance", None),
        ("confounds", 1.0),
        ("confounds", 0.1),
    ]
    assert found[0].estimate.value == 0.25
    assert abs(found[1].estimate.value - 0.5) < 0.06


def test_an_embedding_of_noise_adds_nothing_to_the_confounds(scores):
    assert abs(values(scores, "embedding+confounds")[0] - 0.5) < 0.08


def test_without_confounds_only_chance_is_stated(planted):
    _, samples = planted
    task = TASK.model_copy(update={"confounds": (), "with_confounds": False})
    found = score_confounds(samples=samples, task=task, resampling=RESAMPLING)
    assert [score.features for score in found] == ["chance"]


def test_intervals_hold_the_value(scores):
    assert all(s.estimate.low <= s.estimate.value <= s.estimate.high for s in scores)


def test_the_best_block_is_the_earliest_of_equals_at_the_choosing_strength():
    values = {(0, 1.0): 0.9, (0, 0.1): 0.3, (1, 1.0): 0.1, (1, 0.1): 0.5, (2, 1.0): 0.2, (2, 0.1): 0.5}
    scores = [
        Score("embedding", block, strength, Estimate(value, value, value))
        for (block, strength), value in values.items()
    ]
    scores.append(Score("embedding+confounds", 0, 0.1, Estimate(1.0, 1.0, 1.0)))
    assert best_block(scores, strength=0.1).block == 1
    assert best_block(scores, strength=1.0).block == 0


def test_a_row_says_everything_that_the_number_depends_on(planted, scores):
    _, samples = planted
    row = to_row(scores[0], samples=samples, task=TASK, encoder="trained", chosen=True, seed=7)
    assert (row.benchmark, row.source, row.metric) == ("probe", "perturbation", "balanced_accuracy")
    assert (row.n, row.excluded, row.seed, row.encoder) == (600, 3, 7, "trained")
    assert row.settings == {
        "block": 0,
        "chosen": True,
        "features": "embedding",
        "folds": 5,
        "group": "plate",
        "inverse_regularization": 1.0,
        "label": "moa",
        "level": "well",
        "num_classes": 4,
        "num_groups": 10,
        "split": "stratified_group_kfold",
        "where": "",
    }
