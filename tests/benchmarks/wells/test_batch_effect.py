"""Batch effects: what is planted is found, what is not is chance, and nothing leaks between folds."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.wells.batch_effect import arm_rows, well_rows
from phenoscale.benchmarks.wells.config import BatchEffectConfig
from phenoscale.mapping.chain import fit_map
from phenoscale.mapping.config import MapConfig
from phenoscale.mapping.genes import arm_lookup
from phenoscale.mapping.steps.aggregate import AggregateStep
from phenoscale.mapping.steps.arm_correction import ArmCorrectionStep
from phenoscale.mapping.steps.center import CenterStep, fit_center
from phenoscale.mapping.steps.position import PositionStep, plate_places
from phenoscale.mapping.steps.tvn import TvnStep
from phenoscale.schema.embeddings import EmbeddingTable
from tests.support.null_screens import ScreenSpec, simulate_screen
from tests.support.wells import make_wells, shifted_by, without_controls

_CONFIG = BatchEffectConfig(num_resamples=50)


def _rows(table, *, config=_CONFIG):
    return {(row.source, row.settings["wells"]): row for row in well_rows(table, config=config)}


def _wells(**sizes):
    return make_wells(num_experiments=3, num_plates=2, num_controls=40, num_genes=12, **sizes)


def test_without_any_effect_every_target_is_at_chance():
    for (target, _), row in _rows(_wells()).items():
        chance = {"plate": 1 / 6, "experiment": 1 / 3, "quadrant": 1 / 4, "edge": 1 / 2}[target]
        assert row.settings["chance"] == pytest.approx(chance, abs=1e-6)
        assert abs(row.value - chance) < 0.13, (target, row)
        assert row.low <= row.value <= row.high


@pytest.mark.parametrize(
    ("columns", "target"), [(["experiment", "plate"], "plate"), (["experiment"], "experiment")]
)
def test_a_planted_batch_is_read_and_centering_hides_it(columns, target):
    table = shifted_by(_wells(), columns, length=5)
    centered = fit_center(table.embeddings, table.frame, step=CenterStep(batch_key="plate", statistics="all"))
    after = table.with_embeddings(centered.transform(table.embeddings, table.frame))
    assert _rows(table)[target, "all"].value > 0.95
    assert _rows(after)[target, "all"].value < _rows(after)[target, "all"].settings["chance"] + 0.08


def test_a_planted_position_is_read_across_experiments():
    table = _wells()
    places = plate_places(table.frame)
    shift = np.outer((places[:, 0] > 3).astype(float), np.array([3.0, 0, 0, 0, 0]))
    shift += np.outer((places[:, 1] > 5).astype(float), np.array([0, 3.0, 0, 0, 0]))
    found = _rows(table.with_embeddings(table.embeddings + shift))
    assert found["quadrant", "all"].value > 0.7
    assert found["quadrant", "negative_controls"].value > 0.7
    assert found["quadrant", "all"].settings["folds"] == "leave one experiment out, perturbations apart"


def test_a_position_is_not_read_from_the_gene_that_always_stands_there():
    # The same layout in every experiment and strong genes: without keeping genes apart this would be near 1.
    table = make_wells(num_experiments=1, num_plates=1, num_controls=30, num_genes=20, replicates=3)
    frame = pd.concat([table.frame.assign(experiment=f"e{index}") for index in range(3)], ignore_index=True)
    codes = frame.groupby("perturbation").ngroup().to_numpy()
    generator = np.random.default_rng(0)
    vectors = 5 * generator.standard_normal((21, 30))[codes] + generator.standard_normal((len(frame), 30))
    row = _rows(EmbeddingTable(frame, vectors, "well"))["quadrant", "all"]
    assert row.value < 0.45


def test_a_plate_is_not_read_from_the_genes_that_are_only_there():
    # Each plate has genes of its own, far apart, and no batch effect.
    tables = [
        make_wells(num_experiments=1, num_plates=1, num_genes=6, dimensions=30, seed=i) for i in range(4)
    ]
    frames = [
        table.frame.assign(plate=f"p{i}", perturbation=table.frame["perturbation"] + f"_{i}")
        for i, table in enumerate(tables)
    ]
    frame = pd.concat(frames, ignore_index=True)
    frame["perturbation"] = frame["perturbation"].where(~frame["is_negative_control"], "neg")
    codes = frame.groupby("perturbation").ngroup().to_numpy()
    centers = 5 * np.random.default_rng(0).standard_normal((codes.max() + 1, 30))
    centers[codes[frame["is_negative_control"].to_numpy(dtype=bool)][0]] = 0
    vectors = centers[codes] + np.concatenate([table.embeddings for table in tables])
    row = _rows(EmbeddingTable(frame, vectors, "well"))["plate", "all"]
    assert row.value < 0.45


def test_a_plate_without_controls_is_no_class_for_controls():
    table = without_controls(_wells(), experiment="e1", plate="p1")
    found = _rows(table)
    assert found["plate", "negative_controls"].settings["num_classes"] == 5
    assert (found["plate", "negative_controls"].n, found["plate", "negative_controls"].excluded) == (200, 0)
    assert found["plate", "all"].settings["num_classes"] == 6


def test_plates_with_few_wells_are_counted_as_excluded():
    table = _wells()
    on_plate = ((table.frame["experiment"] == "e1") & (table.frame["plate"] == "p1")).to_numpy(dtype=bool)
    kept = ~on_plate
    kept[np.flatnonzero(on_plate)[:4]] = True
    found = _rows(table.select(kept))["plate", "all"]
    assert found.settings["num_classes"] == 5
    assert found.excluded == 4


def test_controls_on_which_a_correction_was_fitted_do_not_fall_below_chance():
    table = shifted_by(_wells(), ["experiment", "plate"], length=5)
    centered = fit_center(table.embeddings, table.frame, step=CenterStep(batch_key="plate"))
    after = table.with_embeddings(centered.transform(table.embeddings, table.frame))
    assert _rows(table)["plate", "negative_controls"].value > 0.95
    assert 0.05 < _rows(after)["plate", "negative_controls"].value < 0.35


def test_a_single_plate_has_no_plate_to_tell_and_says_so():
    table = make_wells(num_experiments=1, num_plates=1)
    for row in _rows(table).values():
        if row.source in ("plate", "experiment", "quadrant"):
            assert (row.value, row.n) == (None, 0)
            assert row.settings["chance"] is None


def test_a_screen_without_controls_is_answered_from_all_wells_only():
    table = _wells()
    genes = table.select(~table.frame["is_negative_control"].to_numpy(dtype=bool))
    found = _rows(genes)
    assert found["plate", "negative_controls"].value is None
    assert found["plate", "all"].value is not None


def test_large_tables_are_sampled_and_the_rest_is_counted():
    row = _rows(_wells(), config=BatchEffectConfig(max_wells=150, num_resamples=10))["plate", "all"]
    assert row.n <= 150
    assert row.n + row.excluded == len(_wells())


def test_the_full_correction_brings_every_effect_of_a_simulated_screen_towards_chance():
    screen = simulate_screen(ScreenSpec(num_unexpressed=100, arm_effect=4.0, position_effect=2.0))
    steps = (
        CenterStep(batch_key="plate"),
        # Fitted on the controls alone, the error of the fit is itself a position effect that can be read.
        PositionStep(terms=("row", "column", "ring"), statistics="all"),
        TvnStep(),
        AggregateStep(),
        ArmCorrectionStep(),
    )
    fitted = fit_map(screen.table, config=MapConfig(steps=steps), genes=screen.genes)
    before, after = _rows(screen.table), _rows(fitted.corrected)
    for target in ("plate", "experiment", "quadrant", "edge"):
        chance = before[target, "all"].settings["chance"]
        gap_before = before[target, "all"].value - chance
        gap_after = after[target, "all"].value - chance
        assert gap_after < 0.45 * gap_before, target
    arms = arm_lookup(screen.genes)
    uncorrected = arm_rows(fitted.after_step["3_tvn"], genes=arms, config=_CONFIG)[0]
    corrected = arm_rows(fitted.map, genes=arms, config=_CONFIG)[0]
    assert uncorrected.value > 0.8
    assert corrected.value < 0.36
    assert corrected.settings["chance"] == 0.25
