"""Mechanism of action by nearest neighbor: a slow twin, and the measured figures on real well profiles."""

import numpy as np
import pandas as pd
import pytest

from phenoscale.benchmarks.moa import make_treatments, moa_rows, nearest_neighbors
from phenoscale.errors import UserError
from phenoscale.mapping.center import fit_center
from phenoscale.mapping.config import CenterScaleStep, CenterStep
from phenoscale.schema.embeddings import EmbeddingTable


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
    clear, noise = (moa_rows(_table(signal=signal))[0] for signal in (6.0, 0.0))
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
    with pytest.raises(UserError, match="needs `moa` filled"):
        moa_rows(EmbeddingTable(table.frame.drop(columns="moa"), table.embeddings, "well"))
    with pytest.raises(UserError, match="needs `moa` filled"):
        moa_rows(_table(is_negative_control=True))


@pytest.fixture
def well_profiles(real_data):
    """632 CellProfiler well profiles of BBBC021 with treatment and mechanism, z-scored."""
    folder = real_data("bbbc021_singlecell_crops")
    profiles = pd.read_csv(folder / "well_profiles_ljosa2013.csv.gz")
    images = pd.read_csv(folder / "BBBC021_v1_image.csv.gz")
    moa = pd.read_csv(folder / "BBBC021_v1_moa.csv")
    moa.columns = ["perturbation", "concentration_um", "moa"]
    wells = images[
        [
            "Image_Metadata_Plate_DAPI",
            "Image_Metadata_Well_DAPI",
            "Image_Metadata_Compound",
            "Image_Metadata_Concentration",
        ]
    ].drop_duplicates()
    wells.columns = ["plate", "well", "perturbation", "concentration_um"]
    keys = profiles[["Image_Metadata_Plate", "Image_Metadata_Well"]].set_axis(["plate", "well"], axis=1)
    frame = keys.merge(wells, how="left", validate="1:1").merge(moa, how="left")
    frame["experiment"] = frame["plate"].str.split("_").str[0]
    frame["is_negative_control"] = frame["perturbation"] == "DMSO"
    vectors = profiles.drop(columns=["Image_Metadata_Plate", "Image_Metadata_Well"]).to_numpy(np.float64)
    vectors = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    return EmbeddingTable(frame, vectors, "well")


# BASELINES.md (c), in percent: NSC over mean and median of the wells, NSCB over mean and median.
_MEASURED = {
    "none": (86, 88, 70, 72),
    "plate center": (87, 83, 68, 68),
    "plate center, pooled scale": (87, 82, 70, 64),
}
_STEPS = {
    "plate center": CenterStep(batch_key="plate"),
    "plate center, pooled scale": CenterScaleStep(batch_key="plate", scale="pooled"),
}


@pytest.mark.parametrize("name", list(_MEASURED))
def test_real_well_profiles_give_the_measured_accuracies(well_profiles, name):
    table = well_profiles
    if name in _STEPS:
        fitted = fit_center(table.embeddings, table.frame, step=_STEPS[name])
        table = table.with_embeddings(fitted.transform(table.embeddings, table.frame))
    rows = [
        row
        for aggregate in ("mean", "median")
        for row in moa_rows(table, aggregate=aggregate, standardize=False)
    ]
    percent = [round(100 * row.value) for row in (rows[0], rows[2], rows[1], rows[3])]
    assert tuple(percent) == pytest.approx(_MEASURED[name], abs=1)
    assert [row.n for row in rows[:2]] == [103, 92]


def test_real_wells_lose_accuracy_when_six_controls_set_the_scale(well_profiles):
    accuracies = {}
    for scale in ("pooled", "batch"):
        step = CenterScaleStep(batch_key="plate", scale=scale)
        fitted = fit_center(well_profiles.embeddings, well_profiles.frame, step=step)
        mapped = fitted.transform(well_profiles.embeddings, well_profiles.frame)
        accuracies[scale] = moa_rows(well_profiles.with_embeddings(mapped), standardize=False)[0].value
    assert accuracies["batch"] < accuracies["pooled"] - 0.03
