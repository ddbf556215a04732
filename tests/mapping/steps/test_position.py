"""Position correction: removes a planted smooth effect, keeps genes, refuses what it cannot tell apart."""

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.mapping.steps.position import (
    PositionStep,
    fit_position,
    plate_places,
    position_terms,
    used_extent,
)
from tests.support.wells import make_wells, shifted_by

_TERMS = ("row", "row_squared", "column", "column_squared", "ring", "edge")


def _with_effect(table, *, strength=3.0, terms=_TERMS):
    shape = position_terms(table.frame, terms=terms, extent=used_extent(table.frame))
    effect = strength * np.random.default_rng(3).standard_normal((len(terms), table.dimensions))
    return table.with_embeddings(table.embeddings + shape @ effect)


def _apply(table, step):
    return fit_position(table.embeddings, table.frame, step=step).transform(table.embeddings, table.frame)


@pytest.mark.parametrize("statistics", ["negative_controls", "all"])
def test_a_planted_position_effect_is_removed_although_plates_differ(statistics):
    clean = make_wells(num_experiments=3, num_plates=4)
    clean = shifted_by(clean, ["experiment", "plate"], length=5)
    step = PositionStep(terms=_TERMS, statistics=statistics)
    # The fit also removes what the noise has by chance, so the clean table goes through the same step.
    mapped, expected = _apply(_with_effect(clean), step), _apply(clean, step)
    assert np.allclose(mapped - mapped.mean(axis=0), expected - expected.mean(axis=0))


def test_a_gene_effect_is_kept_when_the_fit_is_on_controls():
    table = make_wells(num_experiments=3, num_plates=4)
    is_gene = (table.frame["perturbation"] == "G1").to_numpy(dtype=bool)
    planted = table.with_embeddings(table.embeddings + 4.0 * is_gene[:, None])
    step = PositionStep()
    assert np.allclose(_apply(planted, step)[is_gene], _apply(table, step)[is_gene] + 4.0)


def test_terms_run_from_minus_one_to_one_over_the_used_wells():
    table = make_wells()
    shape = position_terms(table.frame, terms=_TERMS, extent=used_extent(table.frame))
    places = plate_places(table.frame)
    assert np.allclose(shape[:, 0], 2 * places[:, 0] / 7 - 1)
    assert np.allclose(shape[:, 2], 2 * places[:, 1] / 11 - 1)
    on_edge = (places[:, 0] % 7 == 0) | (places[:, 1] % 11 == 0)
    assert np.array_equal(shape[:, 5], on_edge.astype(float))
    assert np.allclose(shape[on_edge, 4], 1)


def test_controls_in_one_column_cannot_tell_the_terms_apart():
    table = make_wells()
    controls = table.frame["is_negative_control"].to_numpy(dtype=bool)
    in_first = table.frame["well"].str.endswith("01").to_numpy(dtype=bool)
    table = table.select(~controls | in_first)
    with pytest.raises(UserError, match="cannot tell the terms"):
        fit_position(table.embeddings, table.frame, step=PositionStep())


def test_wells_without_an_address_are_refused():
    table = make_wells()
    with pytest.raises(UserError, match="plate positions need `well`"):
        fit_position(table.embeddings, table.frame.drop(columns="well"), step=PositionStep())
    with pytest.raises(UserError, match="'Z99' is not an address"):
        fit_position(table.embeddings, table.frame.assign(well="Z99"), step=PositionStep())
