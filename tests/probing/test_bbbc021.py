"""Reference figures of BBBC021 cell crops: pixel statistics and the week alone, through the real ingest."""

import pytest

from phenoscale.probing.config import ProbeConfig
from phenoscale.probing.stage import run_probe
from phenoscale.schema.rows import read_rows
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from tests.support.embedding import save_pixel_statistics
from tests.support.screens import make_tiny_manifest

CHANNELS = ("DNA", "F-actin", "B-tubulin")
MECHANISM = {
    "name": "mechanism",
    "label": "moa",
    "group": "plate",
    "level": "field",
    "confounds": ["experiment"],
    "with_confounds": True,
}
IN_ONE_WEEK = {
    "name": "mechanism_in_one_week",
    "label": "moa",
    "group": "plate",
    "level": "field",
    "split": "leave_one_group_out",
    "inverse_regularization": [1.0],
    "confounds": [],
    "where": "plate in ['Week4_27801', 'Week4_27821', 'Week4_27861'] and "
    "(moa == 'Protein synthesis' or (moa == 'DMSO' and well == 'B02'))",
}

PLATE = {
    "name": "plate",
    "label": "plate",
    "group": "well",
    "level": "field",
    "inverse_regularization": [1.0],
    "min_class_size": 20,
    "confounds": [],
}
WEEK_OF_TAXOL = {
    "name": "week_of_taxol",
    "label": "experiment",
    "group": "plate",
    "level": "field",
    "inverse_regularization": [1.0],
    "confounds": [],
    "where": "perturbation == 'taxol' and 0.25 < concentration_um < 0.35",
}


@pytest.fixture(scope="module")
def rows(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bbbc021")
    runtime = {"workspace": str(folder / "workspace"), "device": "cpu"}
    source = real_data("bbbc021_singlecell_crops")
    store = run_ingest(IngestConfig(source="bbbc021", path=str(source), runtime=runtime)).path
    config = ProbeConfig(
        encoder=str(save_pixel_statistics(folder / "statistics", channels=CHANNELS, crop_size=64)),
        name="pixel_statistics",
        manifest=str(make_tiny_manifest(folder / "manifest", store)),
        tasks=[MECHANISM, IN_ONE_WEEK, PLATE, WEEK_OF_TAXOL],
        runtime=runtime,
    )
    return read_rows(run_probe(config).path)


def found(rows, task, features, strength):
    wanted = (task, features, strength)
    matching = [
        row
        for row in rows
        if (row.source, row.settings["features"], row.settings["inverse_regularization"]) == wanted
    ]
    assert len(matching) == 1
    return matching[0]


@pytest.mark.parametrize(
    ("task", "features", "strength", "reference"),
    [
        ("mechanism", "confounds", 1.0, 0.462),
        ("mechanism", "confounds", 0.01, 0.462),
        ("mechanism", "embedding", 1.0, 0.406),
        ("mechanism", "embedding", 0.01, 0.417),
        ("mechanism", "embedding+confounds", 1.0, 0.671),
        ("mechanism", "embedding+confounds", 0.01, 0.651),
        ("mechanism_in_one_week", "embedding", 1.0, 0.956),
        ("plate", "embedding", 1.0, 0.209),
        ("week_of_taxol", "embedding", 1.0, 0.359),
        ("mechanism", "chance", None, 1 / 13),
        ("mechanism_in_one_week", "chance", None, 0.5),
    ],
)
def test_balanced_accuracy_is_that_of_the_reference_within_two_hundredths(
    rows, task, features, strength, reference
):
    assert found(rows, task, features, strength).value == pytest.approx(reference, abs=0.02)


def test_intervals_from_resampled_plates_agree_with_the_reference(rows):
    row = found(rows, "mechanism", "embedding", 1.0)
    assert (row.low, row.high) == pytest.approx((0.35, 0.45), abs=0.02)
    week = found(rows, "mechanism", "confounds", 1.0)
    assert (week.low, week.high) == pytest.approx((0.38, 0.52), abs=0.02)


def test_all_crops_and_mechanisms_take_part(rows):
    row = found(rows, "mechanism", "embedding", 1.0)
    assert (row.n, row.excluded) == (5869, 0)
    assert (row.settings["num_classes"], row.settings["num_groups"], row.settings["folds"]) == (13, 55, 5)
    assert found(rows, "mechanism_in_one_week", "embedding", 1.0).n == 1141 + 2460
    assert found(rows, "week_of_taxol", "embedding", 1.0).n == 499


def test_crops_of_plates_with_fewer_than_twenty_are_left_out_and_counted(rows):
    row = found(rows, "plate", "embedding", 1.0)
    assert (row.n, row.excluded, row.settings["num_classes"]) == (5615, 5869 - 5615, 27)
