"""The chain: each step is fitted on the output of those before it, and `apply` refits nothing."""

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.mapping.chain import digest_array, fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterStep, fit_center
from phenoscale.mapping.steps.pca import PcaStep, fit_pca
from tests.support.map_chains import every_step
from tests.support.null_screens import ScreenSpec, simulate_screen
from tests.support.wells import make_wells, shifted_by

_STEPS = every_step(num_components=8, min_num_genes=2)


def _screen(seed=0):
    return simulate_screen(
        ScreenSpec(num_modules=6, num_unexpressed=20, num_negative_controls=24, dimensions=12, seed=seed)
    )


def test_a_map_is_kept_after_every_step_from_none_on():
    screen = _screen()
    fitted = fit_map(screen.table, config=MapConfig(steps=_STEPS), genes=screen.genes)
    assert list(fitted.after_step) == [
        "0_none",
        "1_center",
        "2_position",
        "3_pca",
        "4_tvn",
        "5_arm_correction",
    ]
    assert np.array_equal(fitted.after_step["5_arm_correction"].embeddings, fitted.map.embeddings)
    assert [len(one.steps) for one in fitted.after_step.values()] == [0, 1, 2, 3, 4, 6]
    assert [step["name"] for step in fitted.map.steps] == [step.name for step in _STEPS]


def test_each_step_sees_the_output_of_the_one_before():
    table = shifted_by(make_wells(dimensions=6), ["experiment"], length=5)
    config = MapConfig(steps=(CenterStep(), PcaStep(num_components=3), AggregateStep()))
    centered = fit_center(table.embeddings, table.frame, step=CenterStep()).transform(
        table.embeddings, table.frame
    )
    rotated = fit_pca(centered, table.frame, step=PcaStep(num_components=3)).transform(centered, table.frame)
    assert np.allclose(fit_map(table, config=config).corrected.embeddings, rotated)


def test_applying_the_fitted_steps_gives_the_map_and_refits_nothing():
    screen = _screen()
    fitted = fit_map(screen.table, config=MapConfig(steps=_STEPS), genes=screen.genes)
    assert np.allclose(fitted.apply(screen.table).embeddings, fitted.map.embeddings, atol=1e-12)
    assert fitted.apply(screen.table).frame.equals(fitted.map.frame)
    # Half of the wells: with refitted statistics the corrected wells would move.
    half = np.arange(len(screen.table)) % 2 == 0
    expected = fitted.corrected.embeddings[half]
    assert np.allclose(fitted.correct(screen.table.select(half)).embeddings, expected, atol=1e-12)


def test_the_records_hold_a_digest_of_every_fitted_parameter():
    screen = _screen()
    first = fit_map(screen.table, config=MapConfig(steps=_STEPS), genes=screen.genes)
    again = fit_map(screen.table, config=MapConfig(steps=_STEPS), genes=screen.genes)
    assert first.map.steps == again.map.steps
    tvn = first.map.steps[3]
    assert set(tvn["parameters"]) == {"mean", "whitening", "shifts", "rotations"}
    assert tvn["parameters"]["mean"] == digest_array(first.steps[3].fitted.parameters()["mean"])
    other = _screen(seed=1)
    changed = fit_map(other.table, config=MapConfig(steps=_STEPS), genes=other.genes)
    assert changed.map.steps[3]["parameters"] != tvn["parameters"]


def test_intermediate_maps_are_left_out_when_not_wanted():
    config = MapConfig(steps=(CenterStep(), AggregateStep()), keep_steps=False)
    assert fit_map(make_wells(), config=config).after_step == {}


def test_arm_correction_without_a_gene_table_is_refused():
    with pytest.raises(UserError, match="needs a gene table"):
        fit_map(make_wells(), config=MapConfig(steps=(AggregateStep(), ArmCorrectionStep())))
