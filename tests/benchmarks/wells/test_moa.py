"""Mechanism of action by nearest neighbor: a slow twin, and the measured figures on real well profiles."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.wells.config import MoaConfig
from phenoscale.benchmarks.wells.moa import make_treatments, moa_rows, nearest_neighbors
from phenoscale.errors import UserError
from phenoscale.mapping.steps.center import CenterScaleStep, CenterStep, fit_center
from phenoscale.schema.embeddings import EmbeddingTable
from tests.support.bbbc021 import crop_statistics, well_profiles
from tests.support.wells import in_two_screens


def _table(seed=0, *, signal=0.0, level="well", **columns):
    """6 mechanisms x 3 compounds x 2 doses x 2 wells in two weeks, and DMSO."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"c{moa}{compound}", dose, f"m{moa}", f"w{1 + (compound + well) % 3}", f"p{well}")
        for moa in range(6)
        for compound in range(3)
        for dose in (1.0, 10.0)
        for well in range(2)
    ]
    rows += [("DMSO", 0.0, "DMSO", f"w{1 + index % 3}", "p0") for index in range(12)]
    frame = pd.DataFrame(rows, columns=["perturbation", "concentration_um", "moa", "experiment", "plate"])
    frame["well"] = [f"A{index:03d}" for index in range(len(frame))]
    frame["is_negative_control"] = frame["perturbation"] == "DMSO"
    centers = generator.standard_normal((6, 8))
    codes = np.array([int(name[1]) if name != "DMSO" else 0 for name in frame["moa"]])
    noise = generator.standard_normal((len(frame), 8))
    return EmbeddingTable(frame.assign(**columns), signal * centers[codes] + noise, level)


def _slow_neighbors(table, *, forbid_batch):
    """The protocol with dictionaries and loops."""
    frame = table.frame
    treatments = {}
    for (compound, dose), rows in frame[~frame["is_negative_control"]].groupby(
        ["perturbation", "concentration_um"]
    ):
        treatments[compound, dose] = (
            table.embeddings[rows.index].mean(axis=0),
            rows["moa"].iloc[0],
            set(rows["experiment"]),
        )
    right = []
    for (compound, _), (vector, moa, weeks) in treatments.items():
        best, best_moa, mine = -2.0, "", False
        for (other, _), (candidate, other_moa, other_weeks) in treatments.items():
            if other == compound or (forbid_batch and weeks & other_weeks):
                continue
            mine |= other_moa == moa
            cosine = vector @ candidate / np.linalg.norm(vector) / np.linalg.norm(candidate)
            if cosine > best:
                best, best_moa = cosine, other_moa
        if mine or not forbid_batch:
            right.append(best_moa == moa)
    return right


@pytest.mark.parametrize("signal", [0.0, 0.5, 2.0])
def test_both_accuracies_equal_their_slow_twin(signal):
    table = _table(signal=signal)
    treatments = make_treatments(table)
    for exclude, forbid_batch in (("compound", False), ("compound_and_batch", True)):
        found = nearest_neighbors(treatments, exclude=exclude)
        assert found.is_right.tolist() == _slow_neighbors(table, forbid_batch=forbid_batch)


def test_a_clear_mechanism_is_found_and_noise_is_chance():
    clear, noise = (
        moa_rows(_table(signal=signal), config=MoaConfig(standardize=False))[0] for signal in (6.0, 0.0)
    )
    assert clear.value > 0.95
    assert noise.value < 0.4
    assert np.isclose(noise.settings["chance"], 4 / 34, atol=1e-6)
    assert noise.low < noise.value < noise.high
    assert (noise.n, noise.excluded) == (36, 0)


def test_wells_are_averaged_before_treatments():
    # One well with three crops, one with one: the treatment is the mean of the two wells.
    table = _table(level="field")
    extra = table.select(np.array([0, 0]))
    frame = pd.concat([table.frame, extra.frame], ignore_index=True)
    vectors = np.concatenate([table.embeddings, extra.embeddings + 3])
    found = make_treatments(EmbeddingTable(frame, vectors, "field"), min_crops=1)
    expected = ((table.embeddings[0] + 2) + table.embeddings[1]) / 2
    assert np.allclose(found.vectors[0], expected)
    assert found.frame.loc[0, ["num_wells", "num_crops"]].tolist() == [2, 4]


def test_treatments_with_too_few_crops_are_counted_as_excluded():
    counted = _table(num_crops=1)
    assert make_treatments(counted, min_crops=2).num_excluded == 0
    with pytest.raises(UserError, match="none of the 36 treatments has 3 crops"):
        make_treatments(counted, min_crops=3)
    crops = np.where(_table().frame["perturbation"] == "c00", 1, 5)
    found = make_treatments(_table(num_crops=crops), min_crops=3)
    assert (len(found.frame), found.num_excluded) == (34, 2)
    # A well table that does not count crops keeps every treatment.
    assert len(make_treatments(_table(), min_crops=3).frame) == 36


def test_a_table_without_mechanisms_is_refused():
    table = _table()
    with pytest.raises(UserError, match="the wells have no `moa` column"):
        moa_rows(
            EmbeddingTable(table.frame.drop(columns="moa"), table.embeddings, "well"), config=MoaConfig()
        )
    with pytest.raises(UserError, match="needs `moa` of treatments"):
        moa_rows(_table(is_negative_control=True), config=MoaConfig())


# BASELINES.md (c), in percent: NSC over mean and median of the wells, NSCB over mean and median.
_MEASURED_WELLS = {
    "none": (86, 88, 70, 72),
    "plate center": (87, 83, 68, 68),
    "plate center, pooled scale": (87, 82, 70, 64),
}
# The same for raw pixel statistics of the crops: NSC and NSCB.
_MEASURED_CROPS = {"none": (30, 12), "plate center, pooled scale": (40, 32)}
_STEPS = {
    "plate center": CenterStep(batch_key="plate", min_controls=1, fallback="pooled"),
    "plate center, pooled scale": CenterScaleStep(
        batch_key="plate", scale="pooled", min_controls=1, fallback="pooled"
    ),
    "plate center, own scale": CenterScaleStep(batch_key="plate"),
}


def _corrected(table, name):
    if name not in _STEPS:
        return table
    fitted = fit_center(table.embeddings, table.frame, step=_STEPS[name])
    return table.with_embeddings(fitted.transform(table.embeddings, table.frame))


@pytest.mark.parametrize("name", list(_MEASURED_WELLS))
def test_real_well_profiles_give_the_measured_accuracies(real_data, name):
    table = _corrected(well_profiles(real_data("bbbc021_singlecell_crops")), name)
    rows = [
        row
        for aggregate in ("mean", "median")
        for row in moa_rows(table, config=MoaConfig(aggregate=aggregate, standardize=False))
    ]
    percent = [round(100 * row.value) for row in (rows[0], rows[2], rows[1], rows[3])]
    assert tuple(percent) == pytest.approx(_MEASURED_WELLS[name], abs=1)
    assert [row.n for row in rows[:2]] == [103, 92]


def test_real_wells_lose_accuracy_when_six_controls_set_the_scale(real_data):
    table = well_profiles(real_data("bbbc021_singlecell_crops"))
    own, pooled = (
        moa_rows(_corrected(table, f"plate center, {scale} scale"), config=MoaConfig(standardize=False))[
            0
        ].value
        for scale in ("own", "pooled")
    )
    assert own < pooled - 0.03


def test_real_crops_give_the_measured_accuracies_of_raw_pixel_statistics(real_data):
    table = crop_statistics(real_data("bbbc021_singlecell_crops"))
    scaled = table.with_embeddings(
        (table.embeddings - table.embeddings.mean(axis=0)) / table.embeddings.std(axis=0)
    )
    for name, measured in _MEASURED_CROPS.items():
        rows = moa_rows(_corrected(scaled, name), config=MoaConfig(standardize=name == "none"))
        assert [row.n for row in rows] == [81, 73]
        assert [100 * row.value for row in rows] == pytest.approx(measured, abs=2)


def test_weeks_of_equal_names_in_two_screens_are_two_batches_and_their_wells_other_wells():
    table = in_two_screens(_table())
    one, both = make_treatments(_table()), make_treatments(table)
    assert both.in_batch.shape[1] == 2 * one.in_batch.shape[1] == 6
    assert both.frame["num_wells"].tolist() == (2 * one.frame["num_wells"]).tolist()
    assert np.allclose(both.vectors, one.vectors)
