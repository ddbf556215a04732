"""The BBBC021 single-cell crops: counts, labels and pixels of the real data, and of a small set like it."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from phenoscale.errors import UserError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.readers.bbbc021 import plan_bbbc021
from phenoscale.screens.ingest.stage import build_store
from phenoscale.screens.store import open_screen
from phenoscale.stages import Output


def _write_small(folder):
    rng = np.random.default_rng(0)
    rows, stacks = [], {}
    for week, plate, number in (("Week1", "Week1_1", 4), ("Week2", "Week2_7", 3)):
        stacks[plate] = rng.integers(0, 2**16, (number, 3, 20, 20), dtype=np.uint16)
        (folder / "stacks").mkdir(exist_ok=True)
        tifffile.imwrite(
            folder / "stacks" / f"{plate}.tif",
            stacks[plate],
            compression="zlib",
            predictor=True,
            photometric="minisblack",
        )
        for item in range(number):
            is_control = int(item == 0)
            rows.append(
                {
                    "path": f"stacks/{plate}.tif",
                    "index": item,
                    "plate": plate,
                    "batch": week,
                    "well": "B02",
                    "site": 1,
                    "cell_index": item + 5,
                    "channels": "DNA|F-actin|B-tubulin",
                    "perturbation": "DMSO" if is_control else "taxol",
                    "concentration_um": 0.0 if is_control else 0.3,
                    "moa": "DMSO" if is_control else "Microtubule stabilizers",
                    "is_control": is_control,
                }
            )
    pd.DataFrame(rows).to_csv(folder / "index.csv.gz", index=False)
    return stacks


def test_crops_become_objects_of_their_fields(tmp_path):
    stacks = _write_small(tmp_path)
    build_store(Output(tmp_path / "store"), config=IngestConfig(source="bbbc021", path=str(tmp_path)))
    store = open_screen(tmp_path / "store")
    assert store.channels == ("DNA", "F-actin", "B-tubulin")
    assert store.header.intensity_scale == 65535.0
    assert [(plate.experiment, plate.plate) for plate in store.header.plates] == [
        ("Week1", "Week1_1"),
        ("Week2", "Week2_7"),
    ]
    for well in store.wells.itertuples():
        assert (store.read(well.plate_index, well.field_index) == stacks[well.plate][well.object - 5]).all()
    assert store.wells["is_negative_control"].tolist() == [True, False, False, False, True, False, False]
    assert store.wells["perturbation_type"].tolist()[:2] == ["control", "compound"]
    assert store.wells["moa"].tolist()[1] == "Microtubule stabilizers"


def test_channels_may_be_chosen_and_reordered(tmp_path):
    stacks = _write_small(tmp_path)
    config = IngestConfig(source="bbbc021", path=str(tmp_path), channels=["B-tubulin", "DNA"])
    build_store(Output(tmp_path / "store"), config=config)
    assert (open_screen(tmp_path / "store").read(0, 2) == stacks["Week1_1"][2][[2, 0]]).all()


def test_a_folder_without_the_index_or_with_another_one_is_refused(tmp_path):
    config = IngestConfig(source="bbbc021", path=str(tmp_path))
    with pytest.raises(UserError, match=r"index\.csv\.gz"):
        plan_bbbc021(config)
    pd.DataFrame({"batch": ["Week1"], "cell_index": [1]}).to_csv(tmp_path / "index.csv.gz", index=False)
    with pytest.raises(UserError, match="no column 'path'"):
        plan_bbbc021(config)


def test_the_real_index_has_the_published_counts(real_data):
    folder = real_data("bbbc021_singlecell_crops")
    wells = plan_bbbc021(IngestConfig(source="bbbc021", path=str(folder))).wells.frame
    assert len(wells) == 5869
    assert wells.groupby(["experiment", "plate"]).ngroups == 55
    assert wells["experiment"].nunique() == 10
    assert wells.groupby(["experiment", "plate", "well"]).ngroups == 488
    assert wells["compound"].nunique() == 39
    assert wells.groupby(["compound", "concentration_um"]).ngroups == 104
    assert wells["moa"].nunique() == 13
    assert wells["is_negative_control"].sum() == (wells["moa"] == "DMSO").sum() == 2345
    assert wells["field_id"].is_unique


def test_real_crops_are_stored_as_they_lie_in_their_stacks(real_data, tmp_path):
    folder = real_data("bbbc021_singlecell_crops")
    config = IngestConfig(source="bbbc021", path=str(folder))
    summary = build_store(Output(tmp_path), config=config)
    assert summary["num_fields"] == 5869
    assert summary["num_plates"] == 55
    assert summary["num_quarantined"] == 0
    store = open_screen(tmp_path)
    assert {(plate.height, plate.width) for plate in store.header.plates} == {(68, 68)}
    for well in store.wells.iloc[::700].itertuples():
        file, _, item = well.image[0].partition("#index=")
        expected = tifffile.imread(folder / file)[int(item)]
        assert (store.read(well.plate_index, well.field_index) == expected).all()
