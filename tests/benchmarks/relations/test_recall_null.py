"""The permutation test of recall: exact by enumeration, silent on chance, loud on planted pairs."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.relations.annotations import make_source
from phenoscale.benchmarks.relations.recall import Bootstrap, recall_rows
from phenoscale.benchmarks.relations.recall_null import Permutations, permute_recall, recall_p_values
from phenoscale.errors import UserError
from phenoscale.schema.maps import parse_map
from tests.support.null_screens import ScreenSpec, simulate_screen

_TAILS = (0.05, 0.95)


def _names(count):
    return np.array([f"G{index:05d}" for index in range(count)])


def _map(vectors, **columns):
    return parse_map(pd.DataFrame({"perturbation": _names(len(vectors)), **columns}), vectors, source="test")


def _recall_of(perturbation_map, source, tails=_TAILS):
    rows = recall_rows(perturbation_map, sources=[source], tails=[tails], bootstrap=Bootstrap(0, 0))
    return rows[0].value


def test_the_value_is_that_of_recall_at_any_tails_and_with_ties():
    generator = np.random.default_rng(0)
    for seed, tails in enumerate([_TAILS, (0.0, 0.9), (0.3, 1.0), (0.0, 1.0), (0.5, 0.500001)]):
        vectors = generator.choice([-1.0, 1.0], (40, 4)) if seed % 2 else generator.standard_normal((40, 6))
        names = _names(40)
        source = make_source("s", names[generator.integers(0, 40, (60, 2))])
        found = permute_recall(_map(vectors), sources=[source], tails=tails, permutations=Permutations(3, 0))[
            0
        ]
        assert found.value == _recall_of(_map(vectors), source, tails)


def test_the_null_is_that_of_all_exchanges_of_the_annotated_genes():
    """Five annotated genes have 120 exchanges: the drawn null must have their mean, and their values only."""
    vectors = np.random.default_rng(3).standard_normal((60, 3))
    names = _names(60)
    members, pairs = [4, 9, 17, 30, 55], [(0, 1), (1, 2), (0, 3), (3, 4)]
    source = make_source("s", [(names[members[a]], names[members[b]]) for a, b in pairs])
    expected = []
    for order in permutations(members):
        moved = make_source("s", [(names[order[a]], names[order[b]]) for a, b in pairs])
        expected.append(_recall_of(_map(vectors), moved, (0.3, 0.7)))
    found = permute_recall(
        _map(vectors), sources=[source], tails=(0.3, 0.7), permutations=Permutations(20_000, 0)
    )[0]
    assert set(found.permuted_B) == set(expected)
    assert abs(found.permuted_B.mean() - np.mean(expected)) < 4 * np.std(expected) / np.sqrt(20_000)
    exact = np.mean(np.array(expected) >= found.value)
    assert abs(found.p_value - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000) + 1e-4


def test_inside_arms_genes_change_places_with_genes_of_their_arm_only():
    """Two arms in opposite directions: inside an arm every cosine is 1, so no exchange can change recall."""
    vectors = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 15, axis=0) + 1e-6 * np.arange(30)[:, None]
    names = _names(30)
    arms = {str(name): "1p" if index < 15 else "1q" for index, name in enumerate(names)}
    source = make_source("s", [(names[0], names[1]), (names[2], names[3]), (names[20], names[21])])
    inside, anywhere = (
        permute_recall(
            _map(vectors),
            sources=[source],
            tails=(0.0, 0.5),
            arms=given,
            permutations=Permutations(200, 0),
        )[0]
        for given in (arms, None)
    )
    assert inside.value == anywhere.value
    assert inside.permuted_B.std() < anywhere.permuted_B.std()
    assert (inside.p_value, inside.permuted_B.min()) == (1.0, inside.value)


def test_planted_modules_have_the_smallest_p_that_there_is():
    screen = simulate_screen(ScreenSpec())
    row = recall_p_values(screen.oracle, sources=[screen.pairs], permutations=Permutations(999, 0))[0]
    assert (row.metric, row.value, row.n) == ("recall_p_value", 1 / 1000, len(screen.pairs))


def test_special_genes_with_random_pairs_are_recalled_and_not_significant():
    """A strong direction shared by all annotated genes raises recall above .10 and tells nothing of pairs."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((300, 20))
    vectors[:60] += 0.8
    names = _names(300)
    source = make_source("s", names[generator.integers(0, 60, (120, 2))])
    p, permuted = recall_p_values(_map(vectors), sources=[source], permutations=Permutations(999, 1))
    recall = _recall_of(_map(vectors), source)
    assert recall > 0.3
    assert permuted.low < recall < permuted.high and p.value > 0.05


def test_a_source_draws_the_same_whatever_else_is_scored():
    screen = simulate_screen(ScreenSpec(null=True))
    noise = _map(np.random.default_rng(1).standard_normal((140, 8)))
    names = dict(zip(screen.genes["gene"], noise.entities, strict=True))
    source = make_source("m", [(names[left], names[right]) for left, right in screen.pairs.pairs])
    other = make_source("o", [(noise.entities[0], noise.entities[9])])
    alone = permute_recall(noise, sources=[source], permutations=Permutations(50, 4))[0]
    together = permute_recall(noise, sources=[other, source], permutations=Permutations(50, 4))[1]
    assert (alone.permuted_B == together.permuted_B).all()
    again = permute_recall(noise, sources=[source], permutations=Permutations(50, 5))[0]
    assert (alone.permuted_B != again.permuted_B).any()


def test_a_source_without_a_pair_has_no_p_among_others_and_is_refused_alone():
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    inside, outside = make_source("in", [("G00001", "G00002")]), make_source("out", [("X", "Y")])
    rows = recall_p_values(_map(vectors), sources=[inside, outside], permutations=Permutations(10, 0))
    assert [(row.source, row.value is None, row.n, row.excluded) for row in rows[2:]] == [
        ("out", True, 0, 1),
        ("out", True, 0, 1),
    ]
    with pytest.raises(UserError, match="no pair of out"):
        recall_p_values(_map(vectors), sources=[outside])
