"""Who ranks whom: slow twins with loops over pairs, on columns and labels drawn at random."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from phenoscale.benchmarks.profiles.average_precision import average_precision
from phenoscale.benchmarks.profiles.rankings import PairRule, rank_labels, rank_rows
from phenoscale.errors import UserError
from phenoscale.stats.cosines import unit_rows


def _units(seed, num_rows):
    vectors = np.random.default_rng(seed).standard_normal((num_rows, 4))
    vectors[num_rows // 2 :: 5] = vectors[0]  # equal profiles tie
    return unit_rows(vectors)[0]


def _twin(units, pairs):
    """Sorted (group, AP, k, n) of queries given as (group, query, positives, negatives)."""
    cosines = (units @ units.T).astype(np.float32)
    found = []
    for group, query, positives, negatives, is_absolute in pairs:
        if positives and negatives:
            similar = abs(cosines[query]) if is_absolute else cosines[query]
            assume(np.ptp(similar[[*positives, *negatives]]) > 1e-6)  # else refused, below
            ap = average_precision(similar[positives], sorted_negatives=np.sort(similar[negatives]))
            found.append((group, round(ap, 6), len(positives), len(positives) + len(negatives)))
    return sorted(found)


def _listed(ranked):
    return sorted(
        (str(ranked.groups[group]), round(ap, 6), int(k), int(n))
        for group, ap, k, n in zip(
            ranked.group, ranked.average_precision, ranked.num_positives, ranked.num_total, strict=True
        )
    )


@given(st.integers(0, 10_000), st.booleans())
def test_ranked_rows_equal_loops_over_all_pairs(seed, is_absolute):
    generator = np.random.default_rng(seed)
    num_rows = 40
    columns = {name: generator.integers(0, size, num_rows).astype(str) for name, size in
               (("name", 6), ("plate", 3), ("batch", 2), ("lab", 3))}  # fmt: skip
    is_control, units = generator.random(num_rows) < 0.4, _units(seed, num_rows)

    def agree(first, second, *, same, different):
        return all(columns[name][first] == columns[name][second] for name in same) and all(
            columns[name][first] != columns[name][second] for name in different
        )

    rules = {"positives": (["name", "batch"], ["lab"]), "negatives": (["plate"], ["batch"])}
    pairs = []
    for query in np.flatnonzero(~is_control):
        chosen = {
            kind: [
                other
                for other in range(num_rows)
                if other != query
                and is_control[other] == (kind == "negatives")
                and agree(query, other, same=same, different=different)
            ]
            for kind, (same, different) in rules.items()
        }
        pairs.append((columns["name"][query], query, chosen["positives"], chosen["negatives"], is_absolute))
    expected = _twin(units, pairs)
    ranked = rank_rows(
        units,
        columns["name"],
        is_query=~is_control,
        is_absolute=is_absolute,
        **{
            kind: PairRule(
                same=[columns[name] for name in same],
                different=[columns[name] for name in different],
                is_candidate=is_control if kind == "negatives" else ~is_control,
            )
            for kind, (same, different) in rules.items()
        },
    )
    assert _listed(ranked) == expected


@given(st.integers(0, 10_000), st.booleans())
def test_ranked_labels_equal_loops_over_all_pairs(seed, has_sides):
    generator = np.random.default_rng(seed)
    num_rows = 30
    labels = [
        frozenset(generator.choice(list("abcdefgh"), generator.integers(0, 4), replace=False).tolist())
        for _ in range(num_rows)
    ]
    side, units = generator.integers(0, 2, num_rows).astype(str), _units(seed, num_rows)
    pairs = []
    for query, held in enumerate(labels):
        others = [o for o in range(num_rows) if o != query and (not has_sides or side[o] != side[query])]
        negatives = [o for o in others if labels[o] and not labels[o] & held]
        for label in sorted(held):
            pairs.append((label, query, [o for o in others if label in labels[o]], negatives, True))
    sides = [side] if has_sides else []
    expected = _twin(units, pairs)
    ranked = rank_labels(units, labels, positive_different=sides, negative_different=sides, is_absolute=True)
    assert _listed(ranked) == expected


@pytest.mark.parametrize("is_absolute", [False, True])
def test_opposite_profiles_are_alike_by_absolute_cosine_only(is_absolute):
    units = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    labels = [frozenset("x"), frozenset("x"), frozenset("y"), frozenset("z")]
    ranked = rank_labels(units, labels, is_absolute=is_absolute)
    assert ranked.average_precision[0] == (1.0 if is_absolute else pytest.approx(1 / 3))


def test_profiles_that_are_all_equally_similar_are_refused_and_some_that_tie_are_not():
    units = np.array([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8]])
    names, is_control = np.array(["a", "a", "", ""]), np.array([False, False, True, True])
    rules = {
        "positives": PairRule(same=[names], different=[], is_candidate=~is_control),
        "negatives": PairRule(same=[], different=[], is_candidate=is_control),
    }
    with pytest.raises(
        UserError, match="all 3 profiles that one profile is compared with are equally similar"
    ):
        rank_rows(units, names, is_query=~is_control, **rules)
    units[3] = [0.0, 1.0]
    # The positive ties with one negative and stands before it, as published.
    assert rank_rows(units, names, is_query=~is_control, **rules).average_precision.tolist()[0] == 1.0
