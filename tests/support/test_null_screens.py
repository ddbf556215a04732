"""Simulated screens: planted truth is found, null screens are silent through every mapping step."""

import numpy as np
import pytest

from phenoscale.benchmarks.relations.recall import score_pairs
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from tests.support.map_chains import every_step
from tests.support.null_screens import ScreenSpec, simulate_screen

_TAILS = (0.05, 0.95)
_CHAIN = MapConfig(steps=every_step(num_components=24, min_num_genes=4))
# As many unexpressed genes per arm as the smallest screen we ship has: the hardest case for arm correction.
_FEW_UNEXPRESSED = {"num_unexpressed": 20, "num_arms": 4}


def _recalls(spec, config=_CHAIN):
    """Recall after each step."""
    screen = simulate_screen(spec)
    maps = fit_map(screen.table, config=config, genes=screen.genes).after_step
    found = {}
    for name, each in maps.items():
        scores = score_pairs(each.entities, each.embeddings, sources=[screen.pairs], tails=[_TAILS])
        found[name] = float(scores.sources[0].hits[_TAILS].mean())
    return found


def test_the_same_spec_gives_the_same_screen_and_another_seed_another():
    first, again, other = (simulate_screen(ScreenSpec(seed=seed)).table for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest


def test_a_screen_is_laid_out_as_it_says():
    spec = ScreenSpec()
    screen = simulate_screen(spec)
    frame = screen.table.frame
    guides = frame[~frame["is_negative_control"]].groupby(["experiment", "guide"]).size()
    assert set(guides) == {1}
    assert frame.groupby(["experiment", "plate"])["is_negative_control"].sum().unique().tolist() == [48]
    assert not frame.duplicated(["experiment", "plate", "well"]).any()
    assert len(screen.pairs) == 20 * 10
    assert 200 / (140 * 139 / 2) < 0.03


def test_planted_modules_are_recalled_and_correction_helps():
    found = _recalls(ScreenSpec())
    assert found["5_arm_correction"] > 0.8 > 0.7 > found["0_none"]
    screen = simulate_screen(ScreenSpec())
    oracle = score_pairs(
        screen.oracle.entities, screen.oracle.embeddings, sources=[screen.pairs], tails=[_TAILS]
    )
    assert oracle.sources[0].hits[_TAILS].mean() == 1.0


def test_a_null_screen_plants_no_module_but_keeps_every_nuisance():
    screen = simulate_screen(ScreenSpec(null=True))
    assert not screen.oracle.embeddings.any()
    frame, vectors = screen.table.frame, screen.table.embeddings
    within = vectors - np.stack(
        [
            vectors[(frame["experiment"] == name).to_numpy(dtype=bool)].mean(axis=0)
            for name in frame["experiment"]
        ]
    )
    assert within.var() < 0.5 * vectors.var()


def test_a_few_null_screens_are_recalled_at_chance_through_all_steps():
    recalls = [_recalls(ScreenSpec(null=True, seed=seed, **_FEW_UNEXPRESSED)) for seed in range(5)]
    # One screen of 200 pairs deviates by .02; the mean of five by .01.
    assert np.mean([found["5_arm_correction"] for found in recalls]) == pytest.approx(0.1, abs=0.04)


@pytest.mark.acceptance
@pytest.mark.parametrize("sizes", [_FEW_UNEXPRESSED, {"num_unexpressed": 100, "num_arms": 4}])
def test_the_mean_recall_of_twenty_null_screens_is_a_tenth_after_every_step(sizes):
    recalls = [_recalls(ScreenSpec(null=True, seed=seed, **sizes)) for seed in range(20)]
    for step in recalls[0]:
        assert np.mean([found[step] for found in recalls]) == pytest.approx(0.1, abs=0.02), step
