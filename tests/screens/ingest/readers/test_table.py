"""Source `table`: columns, channels and locators of a generic screen."""

import pandas as pd
import pytest

from phenoscale.errors import UserError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.foreign_table import read_table
from phenoscale.screens.ingest.readers.table import plan_table
from tests.support.screens import tiny_plate


def _write(folder, frame, name="fields.csv"):
    frame.to_csv(folder / name, index=False)
    return IngestConfig(path=str(folder), table="" if name == "fields.csv" else str(folder / name))


def _frame(**columns):
    return tiny_plate("E1", "P1").assign(**columns)


def test_channels_are_found_by_their_columns_and_ordered_by_the_config(tmp_path):
    config = _write(tmp_path, _frame(image_DNA="d.tif", image_ER="e.tif", image_RNA="r.tif"))
    assert plan_table(config).channels == ("DNA", "ER", "RNA")
    plan = plan_table(config.model_copy(update={"channels": ["RNA", "DNA"]}))
    assert plan.channels == ("RNA", "DNA")
    wells = plan.wells.frame
    assert wells["image"].tolist()[0] == ["r.tif", "d.tif"]
    assert wells["channels"].eq("RNA|DNA").all()
    assert not [name for name in wells.columns if name.startswith("image_")]


def test_an_unknown_channel_is_refused_naming_the_known_ones(tmp_path):
    config = _write(tmp_path, _frame(image_DNA="d.tif", image_ER="e.tif"))
    with pytest.raises(UserError, match="unknown channel 'Mito'; the known channels are DNA, ER"):
        plan_table(config.model_copy(update={"channels": ["DNA", "Mito"]}))


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path):
    config = _write(tmp_path, _frame(image_DNA="d.tif").rename(columns={"well": "Well_Name"}))
    with pytest.raises(UserError, match=r"column 'well' is missing .*nearest present column is 'Well_Name'"):
        plan_table(config)


def test_columns_are_mapped_and_constants_fill_every_row(tmp_path):
    frame = _frame(image_DNA="d.tif", Row_and_column=lambda f: f["well"]).drop(columns=["well", "cell_type"])
    config = _write(tmp_path, frame)
    plan = plan_table(
        config.model_copy(update={"columns": {"well": "Row_and_column"}, "constants": {"cell_type": "U2OS"}})
    )
    assert plan.wells.frame["well"].tolist() == tiny_plate("E1", "P1")["well"].tolist()
    assert plan.wells.frame["cell_type"].eq("U2OS").all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"columns": {"well": "Wel"}},
            "columns.well names column 'Wel', which is not there; the nearest is 'well'",
        ),
        ({"image_columns": {"DNA": "path_dna"}}, "image_columns.DNA names column 'path_dna'"),
        ({"constants": {"celltype": "U2OS"}}, "constants.celltype is not a column.*did you mean 'cell_type'"),
    ],
)
def test_a_mapping_to_nowhere_is_refused_with_what_is_there(tmp_path, changes, words):
    config = _write(tmp_path, _frame(image_DNA="d.tif"))
    with pytest.raises(UserError, match=words):
        plan_table(config.model_copy(update=changes))


def test_image_columns_may_have_any_name(tmp_path):
    config = _write(tmp_path, _frame(path_dna="d.tif", path_er="e.tif"))
    plan = plan_table(config.model_copy(update={"image_columns": {"ER": "path_er", "DNA": "path_dna"}}))
    assert plan.channels == ("ER", "DNA")
    assert plan.wells.frame["image"].tolist()[0] == ["e.tif", "d.tif"]


def test_a_table_without_any_image_column_is_refused(tmp_path):
    with pytest.raises(UserError, match="no column of image locators"):
        plan_table(_write(tmp_path, _frame()))


def test_multi_channel_images_take_their_channels_from_table_or_config(tmp_path):
    named = _write(tmp_path, _frame(image="a.tif", channels="DNA|ER|RNA"))
    plan = plan_table(named.model_copy(update={"channels": ["RNA", "DNA"]}))
    assert (plan.channels, plan.planes, plan.num_planes) == (("RNA", "DNA"), (2, 0), 3)
    unnamed = _write(tmp_path, _frame(image="a.tif"))
    with pytest.raises(UserError, match="nothing names their channels"):
        plan_table(unnamed)
    plan = plan_table(unnamed.model_copy(update={"channels": ["DNA", "ER"]}))
    assert (plan.channels, plan.planes, plan.num_planes) == (("DNA", "ER"), (0, 1), 2)


def test_multi_channel_images_of_different_channels_are_refused(tmp_path):
    frame = _frame(image="a.tif", channels="DNA|ER")
    frame.loc[3, "channels"] = "ER|DNA"
    with pytest.raises(UserError, match="differs between rows"):
        plan_table(_write(tmp_path, frame))


def test_names_stay_text_and_only_an_empty_cell_is_missing(tmp_path):
    frame = _frame(plate="0012", image_DNA="d.tif")
    frame["gene"] = ["NA", ""] + ["None"] * (len(frame) - 2)
    wells = plan_table(_write(tmp_path, frame)).wells.frame
    assert wells["plate"].eq("0012").all()
    assert wells["gene"].tolist()[:3] == ["NA", "", "None"]


def test_parquet_and_compressed_tables_are_read_like_csv(tmp_path):
    frame = _frame(image_DNA="d.tif")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    expected = plan_table(_write(tmp_path, frame)).wells.frame
    for name in ("t.parquet", "t.csv.gz"):
        config = IngestConfig(path=str(tmp_path), table=str(tmp_path / name))
        pd.testing.assert_frame_equal(plan_table(config).wells.frame, expected)


def test_the_folder_of_the_table_is_where_images_start_by_default(tmp_path):
    _frame(image_DNA="d.tif").to_csv(tmp_path / "t.csv", index=False)
    assert plan_table(IngestConfig(table=str(tmp_path / "t.csv"))).base == str(tmp_path)


def test_a_table_that_is_missing_or_no_table_is_refused(tmp_path):
    with pytest.raises(UserError, match="--path"):
        plan_table(IngestConfig())
    with pytest.raises(UserError, match=r"fields\.csv"):
        plan_table(IngestConfig(path=str(tmp_path)))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="no CSV or Parquet table"):
        read_table(str(tmp_path / "broken.parquet"), renamed={})
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(UserError, match="no CSV or Parquet table"):
        read_table(str(tmp_path / "empty.csv"), renamed={})


def test_the_screen_is_named_by_config_table_or_default_in_this_order(tmp_path):
    config = _write(tmp_path, _frame(image_DNA="d.tif"))
    assert plan_table(config).wells.frame["screen"].eq("tiny").all()
    assert plan_table(config.model_copy(update={"screen": "mine"})).wells.frame["screen"].eq("mine").all()
    config = _write(tmp_path, _frame(image_DNA="d.tif").drop(columns="screen"))
    assert plan_table(config).wells.frame["screen"].eq("screen").all()
