"""The curate stage: from stores to a manifest with its funnel, and its refusals."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from phenoscale.curation.config import CurateConfig, QualityConfig
from phenoscale.curation.stage import run_curate
from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields
from phenoscale.schema.manifest import read_manifest
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from phenoscale.screens.store import open_screen
from phenoscale.screens.writer import PlateFormat
from tests.support.screens import make_tiny_store, tiny_pixels, tiny_plate, write_plate, write_store_header


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_tiny_store(tmp_path_factory.mktemp("store"), num_experiments=3)


def _config(store, workspace, **changes):
    stores = [str(store)] if not isinstance(store, list) else [str(path) for path in store]
    return CurateConfig(stores=stores, runtime={"workspace": str(workspace)}, **changes)


def test_a_clean_store_is_kept_whole_and_split_by_experiment(store, workspace):
    result = run_curate(_config(store, workspace))
    manifest = read_manifest(result.path)
    opened = open_screen(store)
    assert manifest.fields["field_id"].tolist() == opened.wells["field_id"].tolist()
    assert manifest.channels == opened.channels
    assert manifest.stores[0].digest == opened.digest
    joined = manifest.fields.merge(opened.wells, on="field_id", suffixes=("", "_well"))
    assert (joined.groupby("experiment")["split"].nunique() == 1).all()
    assert result.summary["num_train"] == 2 * result.summary["num_validation"] > 0
    assert [step.rule for step in manifest.funnel] == [
        "in the stores",
        "empty",
        "saturated",
        "out of focus",
        "perturbation missing",
    ]


def test_the_same_curation_gives_the_same_manifest_wherever_it_runs(store, tmp_path):
    settings = {"negative_control_fraction": 0.5, "min_wells": 2, "weighting": "perturbation"}
    results = [run_curate(_config(store, tmp_path / name, **settings)) for name in ("a", "b")]
    assert results[0].summary == results[1].summary
    assert read_manifest(results[0].path).digest == read_manifest(results[1].path).digest
    assert run_curate(_config(store, tmp_path / "a", **settings)).reused


def _draw(wells, *, num_channels):
    return [
        tiny_pixels(well, num_channels=num_channels, size=40, dtype="uint16", seed=0)
        for well in wells.itertuples()
    ]


def _damaged_store(folder):
    """One plate with a black field, a saturated one, and a negative control that is black too."""
    wells = parse_wells(tiny_plate("E1", "P1").assign(channels="DNA|ER"), source="t").frame
    pixels = _draw(wells, num_channels=2)
    pixels[0] = np.zeros_like(pixels[0])
    pixels[6] = np.zeros_like(pixels[6])
    pixels[8] = np.full_like(pixels[8], 65535)
    pixels[8][:, ::2] = 1000
    pixel_format = PlateFormat(("DNA", "ER"), "uint16", height=40, width=40, intensity_scale=65535.0)
    entry = write_plate(folder, wells, pixels=pixels, format=pixel_format)
    write_store_header(folder, [entry], format=pixel_format)
    return wells


def test_bad_fields_leave_the_manifest_and_their_flags_are_kept(tmp_path, workspace):
    wells = _damaged_store(tmp_path / "store")
    result = run_curate(_config(tmp_path / "store", workspace, split_by="plate", validation_fraction=0.0))
    manifest = read_manifest(result.path)
    removed = set(wells["field_id"]) - set(manifest.fields["field_id"])
    assert removed == set(wells["field_id"].iloc[[0, 6, 8]])
    flags = pd.read_parquet(result.path / "flags.parquet")
    assert flags["field_id"].tolist() == wells["field_id"].tolist()
    assert np.flatnonzero(flags["is_empty"]).tolist() == [0, 6]
    assert np.flatnonzero(flags["is_saturated"]).tolist() == [8]
    assert open_screen(tmp_path / "store").quality(0).loc[8, "saturated_fraction_DNA"] == 0.5
    assert result.summary["removed"] == {"empty": 2, "saturated": 1}
    steps = {step.rule: step for step in manifest.funnel}
    assert steps["empty"].removed_per_type == {"control": 1, "crispr": 1}


def test_no_pixel_is_read_whatever_the_thresholds(tmp_path, workspace):
    _damaged_store(tmp_path / "store")
    for images in (tmp_path / "store").rglob("images.zarr"):
        shutil.rmtree(images)
    off = QualityConfig(min_relative_contrast=None, max_saturated_fraction=None, max_focus_deviation=None)
    removed = [
        run_curate(
            _config(tmp_path / "store", workspace, quality=rules, split_by="plate", validation_fraction=0.0)
        ).summary["num_removed"]
        for rules in (off, QualityConfig(), QualityConfig(max_saturated_fraction=0.6))
    ]
    assert removed == [0, 3, 2]


def test_a_plate_without_negative_controls_ends_the_curation_unless_it_is_allowed(tmp_path, workspace):
    folder = make_tiny_store(tmp_path / "store", num_negative_controls=0)
    with pytest.raises(
        UserError, match="4 of 4 plates have no negative control in the well table: E1/P1"
    ) as refused:
        run_curate(_config(folder, workspace))
    assert refused.value.exit_code == 2
    assert not list(workspace.glob("curate/*/manifest.json"))
    assert run_curate(_config(folder, workspace, require_negative_controls=False)).summary["num_fields"] == 28


def test_a_plate_whose_negative_controls_are_all_bad_ends_the_curation(tmp_path, workspace):
    wells = parse_wells(tiny_plate("E1", "P1").assign(channels="DNA"), source="t").frame
    pixel_format = PlateFormat(("DNA",), "uint16", height=40, width=40, intensity_scale=65535.0)
    fields = _draw(wells, num_channels=1)
    for number in np.flatnonzero(wells["is_negative_control"]):
        fields[number] = np.zeros_like(fields[number])
    entry = write_plate(tmp_path / "store", wells, pixels=fields, format=pixel_format)
    write_store_header(tmp_path / "store", [entry], format=pixel_format)
    with pytest.raises(UserError, match="no negative control after the quality rules: E1/P1"):
        run_curate(_config(tmp_path / "store", workspace, validation_fraction=0.0))


def test_an_empty_manifest_is_refused_naming_the_rule(store, workspace):
    with pytest.raises(
        UserError, match=r"the rule 'too few wells'.*min_wells 1000.*removed the most"
    ) as refused:
        config = _config(
            store, workspace, min_wells=1000, negative_control_fraction=0.0, positive_control_fraction=0.0
        )
        run_curate(config)
    assert refused.value.exit_code == 2
    assert not list(workspace.glob("curate/*/_SUCCESS.json"))


def test_two_stores_make_one_manifest_and_the_same_screen_twice_is_refused(tmp_path, workspace, store):
    wells = parse_wells(
        tiny_plate("X1", "P1").assign(screen="other", channels="DNA|ER|RNA"), source="t"
    ).frame
    pixel_format = PlateFormat(("DNA", "ER", "RNA"), "uint16", height=40, width=40, intensity_scale=65535.0)
    entry = write_plate(tmp_path / "other", wells, pixels=_draw(wells, num_channels=3), format=pixel_format)
    write_store_header(tmp_path / "other", [entry], format=pixel_format, screen="other")
    manifest = read_manifest(run_curate(_config([store, tmp_path / "other"], workspace)).path)
    assert manifest.fields["store"].value_counts().to_dict() == {0: 66, 1: 11}
    with pytest.raises(UserError, match="is in two stores"):
        run_curate(_config([store, store], workspace))


def test_stores_of_different_channels_are_united_only_on_request(tmp_path, workspace, store):
    other = make_tiny_store(tmp_path / "other", num_experiments=2, channels=("ER", "AGP"), screen="other")
    with pytest.raises(UserError, match=r"DNA\|ER\|RNA in .* and ER\|AGP in .*channels: union"):
        run_curate(_config([store, other], workspace))
    result = run_curate(_config([store, other], workspace, channels="union"))
    manifest = read_manifest(result.path)
    assert (manifest.channels, manifest.channel_rule) == (("DNA", "ER", "RNA", "AGP"), "union")
    assert manifest.fields["store"].value_counts().to_dict() == {0: 66, 1: 44}
    fields = open_fields(manifest=result.path, absent="zero")
    assert fields.present.astype(int).tolist() == [[1, 1, 1, 0], [0, 1, 0, 1]]
    with pytest.raises(UserError, match=r"\['AGP'\] are absent"):
        open_fields(manifest=result.path)


def test_a_manifest_of_common_channels_says_so(store, workspace):
    assert read_manifest(run_curate(_config(store, workspace)).path).channel_rule == "common"


def test_a_curation_without_stores_says_how_to_make_one():
    with pytest.raises(UserError, match="name them in `stores`"):
        run_curate(CurateConfig())


def test_an_ingested_store_in_the_workspace_is_named_relative_to_the_manifest(tmp_path, workspace):
    from tests.support.plates import make_plate_files

    make_plate_files(tmp_path / "source")
    ingested = run_ingest(IngestConfig(path=str(tmp_path / "source"), runtime={"workspace": str(workspace)}))
    result = run_curate(_config(ingested.path, workspace, split_by="plate"))
    header = json.loads((result.path / "manifest.json").read_text())
    assert header["stores"][0]["uri"] == f"../../ingest/{ingested.path.name}"
    assert read_manifest(result.path).stores[0].uri == str(ingested.path)
