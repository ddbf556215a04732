"""Proximity bias: scipy's U statistic, half without arms, high where an arm effect is planted."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from phenoscale.benchmarks.relations.config import ProximityConfig
from phenoscale.benchmarks.relations.proximity import probability_above, proximity_rows
from phenoscale.errors import UserError
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterStep
from phenoscale.schema.maps import parse_map
from tests.support.null_screens import ScreenSpec, simulate_screen


def _map(vectors):
    names = [f"G{index:04d}" for index in range(len(vectors))]
    return parse_map(pd.DataFrame({"perturbation": names}), vectors, source="test"), names


def test_the_probability_is_scipys_u_over_the_number_of_pairs_with_ties_and_weights():
    generator = np.random.default_rng(0)
    for _ in range(20):
        first, second = (
            generator.integers(0, 9, 30).astype(float),
            generator.integers(2, 12, 40).astype(float),
        )
        weights = [generator.integers(0, 4, (1, count)) for count in (30, 40)]
        found = probability_above(first, second, weights_Bn=weights[0], weights_Bm=weights[1])
        repeated = np.repeat(first, weights[0][0]), np.repeat(second, weights[1][0])
        expected = mannwhitneyu(*repeated).statistic / (len(repeated[0]) * len(repeated[1]))
        assert found[0] == pytest.approx(expected, abs=1e-12)


def test_all_pairs_inside_arms_are_scored_where_they_are_few():
    generator = np.random.default_rng(1)
    found, names = _map(generator.standard_normal((60, 5)))
    arms = {name: f"{index % 4}p" for index, name in enumerate(names)}
    config = ProximityConfig(max_pairs=200_000, num_resamples=0)
    row = proximity_rows(found, genes=arms, config=config)[0]
    units = found.embeddings / np.linalg.norm(found.embeddings, axis=1, keepdims=True)
    left, right = np.triu_indices(60, 1)
    cosines, same = (units @ units.T)[left, right], left % 4 == right % 4
    exact = mannwhitneyu(cosines[same], cosines[~same]).statistic / (same.sum() * (~same).sum())
    assert row.n == same.sum()
    # Pairs across are drawn: 200,000 of them leave a standard error of about .001.
    assert row.value == pytest.approx(exact, abs=0.005)


def test_random_genes_show_no_bias_and_a_planted_arm_effect_is_seen_until_it_is_corrected():
    screen = simulate_screen(ScreenSpec(null=True, num_unexpressed=100))
    arms = dict(zip(screen.genes["gene"], screen.genes["arm"], strict=True))
    steps = (CenterStep(batch_key="plate"), AggregateStep(), ArmCorrectionStep(min_num_genes=4))
    maps = fit_map(screen.table, config=MapConfig(steps=steps), genes=screen.genes).after_step
    before, after = (
        proximity_rows(maps[name], genes=arms, config=ProximityConfig())[0]
        for name in ("1_center", "2_arm_correction")
    )
    assert before.low > 0.7
    assert after.value == pytest.approx(0.5, abs=0.05)
    noise, names = _map(np.random.default_rng(0).standard_normal((200, 16)))
    random = proximity_rows(
        noise, genes={name: f"{index % 5}q" for index, name in enumerate(names)}, config=ProximityConfig()
    )
    assert random[0].low < 0.5 < random[0].high
    assert [row.source for row in random] == ["arms", "0q", "1q", "2q", "3q", "4q"]


def test_a_map_without_two_arms_is_refused():
    found, names = _map(np.random.default_rng(0).standard_normal((30, 4)))
    with pytest.raises(UserError, match="needs two arms with at least 6 genes"):
        proximity_rows(found, genes=dict.fromkeys(names, "1p"), config=ProximityConfig())
