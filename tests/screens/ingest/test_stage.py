"""The ingest stage: whole screens, bad input, resuming after SIGKILL, and what its key depends on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phenoscale.config import parse_config
from phenoscale.errors import UserError
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import build_store, run_ingest
from phenoscale.screens.store import open_screen
from phenoscale.stages import Output
from tests.support.plates import make_plate_files, plate_pixels, write_image
from tests.support.screens import tiny_plate

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    make_plate_files(folder)
    return folder


def _config(source, workspace, **changes):
    return IngestConfig(path=str(source), runtime={"workspace": str(workspace)}, **changes)


@pytest.mark.parametrize("suffix", ["tif", "png", "jp2"])
def test_every_field_is_found_in_the_store_with_its_own_pixels(tmp_path, workspace, suffix):
    make_plate_files(tmp_path / "source", suffix=suffix)
    result = run_ingest(_config(tmp_path / "source", workspace, channels=["ER", "DNA"]))
    store = open_screen(result.path)
    assert store.channels == ("ER", "DNA")
    assert result.summary["num_fields"] == len(store.wells) == 14
    for well in store.wells.itertuples():
        expected = np.stack([plate_pixels(name) for name in well.image])
        assert (store.read(well.plate_index, well.field_index) == expected).all()


def test_the_same_ingest_again_is_reused_and_a_changed_image_byte_or_setting_is_not(source, workspace):
    first = run_ingest(_config(source, workspace))
    again = run_ingest(_config(source, workspace))
    assert (first.reused, again.reused) == (False, True)
    name = next(source.rglob("*_DNA.tif"))
    content = bytearray(name.read_bytes())
    content[-1] ^= 1
    name.write_bytes(bytes(content))
    changed = run_ingest(_config(source, workspace))
    assert not changed.reused
    assert open_screen(changed.path).digest != open_screen(first.path).digest
    assert run_ingest(_config(source, workspace, intensity_scale=4095.0)).key != changed.key


def test_a_few_bad_images_are_quarantined_and_the_screen_goes_on(source, workspace):
    table = pd.read_csv(source / "fields.csv")
    (source / table["image_DNA"][2]).write_bytes(b"broken")
    (source / table["image_ER"][9]).unlink()
    result = run_ingest(_config(source, workspace, max_quarantined_fraction=0.2))
    quarantine = pd.read_parquet(result.path / "quarantine.parquet")
    assert quarantine["well"].tolist() == [table["well"][2], table["well"][9]]
    assert quarantine["plate"].tolist() == ["P1", "P2"]
    assert "neither TIFF" in quarantine["reason"][0] and "no such file" in quarantine["reason"][1]
    assert result.summary["num_quarantined"] == 2
    assert result.summary["num_fields"] == len(table) - 2


def test_too_many_bad_images_end_with_exit_code_2_and_no_store_that_is_accepted(source, workspace):
    for path in sorted(source.rglob("P2/*_ER.tif"))[:3]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"3 of 14 fields are bad.*max_quarantined_fraction 0\.05") as refused:
        run_ingest(_config(source, workspace))
    assert refused.value.exit_code == 2
    [folder] = workspace.glob("ingest/*.attempt-1")
    assert len(pd.read_parquet(folder / "quarantine.parquet")) == 3
    with pytest.raises(UserError, match="not a screen store"):
        open_screen(folder)


def test_a_plate_whose_images_all_fail_ends_the_ingest_whatever_the_fraction(source, workspace):
    for path in source.rglob("P2/*.tif"):
        path.unlink()
    with pytest.raises(UserError, match="plate E1/P2: none of its 7 images"):
        run_ingest(_config(source, workspace, max_quarantined_fraction=1.0))


def test_a_plate_of_another_pixel_type_than_the_first_one_fails(source, workspace):
    for path in source.rglob("P2/*.tif"):
        write_image(path, plate_pixels(path.name).astype(np.uint8))
    with pytest.raises(UserError, match="is 24 x 24 uint8, the fields of this plate are 24 x 24 uint16"):
        run_ingest(_config(source, workspace))


def test_images_that_cannot_be_stored_are_refused_by_their_pixel_type(source, workspace):
    for path in source.rglob("*.tif"):
        write_image(path, plate_pixels(path.name).astype(np.float32))
    with pytest.raises(UserError, match="'float32' cannot be stored; images must be uint8 or uint16"):
        run_ingest(_config(source, workspace))


def test_a_table_elsewhere_is_an_input_of_its_own(source, workspace, tmp_path):
    elsewhere = tmp_path / "tables" / "fields.csv"
    elsewhere.parent.mkdir()
    (source / "fields.csv").rename(elsewhere)
    first = run_ingest(_config(source, workspace, table=str(elsewhere)))
    assert first.summary["num_fields"] == 14
    table = pd.read_csv(elsewhere)
    table.assign(cell_type="U2OS").to_csv(elsewhere, index=False)
    assert run_ingest(_config(source, workspace, table=str(elsewhere))).key != first.key


def test_an_image_outside_the_folder_is_refused(source, workspace, tmp_path):
    table = pd.read_csv(source / "fields.csv")
    table.loc[0, "image_DNA"] = str(tmp_path / "outside.tif")
    table.to_csv(source / "fields.csv", index=False)
    with pytest.raises(UserError, match=r"outside\.tif.*set `path`"):
        run_ingest(_config(source, workspace))


RUN_INGEST = """
import sys
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
run_ingest(IngestConfig(path=sys.argv[1], runtime={"workspace": sys.argv[2], "num_workers": 1}))
"""


def _start(source, workspace):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"}
    return subprocess.Popen([sys.executable, "-c", RUN_INGEST, str(source), str(workspace)], env=environment)


def _wait_for_plates(workspace, process, *, number):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(workspace.glob("ingest/*.attempt-1/plates/*/*/plate.json"))) >= number:
            return
        time.sleep(0.005)
    raise AssertionError(f"{number} plates were not committed in time")


def test_a_killed_ingest_keeps_its_committed_plates_and_ends_like_an_undisturbed_one(tmp_path):
    source = tmp_path / "source"
    make_plate_files(source, plates=[("E1", f"P{number}") for number in range(12)], size=200)
    process = _start(source, tmp_path / "killed")
    _wait_for_plates(tmp_path / "killed", process, number=3)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    (attempt,) = (tmp_path / "killed").glob("ingest/*.attempt-1")
    committed = {
        path.relative_to(attempt): path.stat().st_mtime_ns for path in attempt.glob("plates/*/*/plate.json")
    }
    assert 3 <= len(committed) < 12
    resumed = run_ingest(_config(source, tmp_path / "killed"))
    undisturbed = run_ingest(_config(source, tmp_path / "undisturbed"))
    # the last plate may have been whole, but not yet published
    kept = [
        name for name, written in committed.items() if (resumed.path / name).stat().st_mtime_ns == written
    ]
    assert resumed.summary["num_plates_read"] == 12 - len(kept) and len(kept) >= len(committed) - 1
    assert open_screen(resumed.path).digest == open_screen(undisturbed.path).digest
    assert resumed.digest == undisturbed.digest


RUN_INGEST_ON_A_FULL_DISK = """
import resource, sys
from phenoscale.errors import exit_code_of
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    run_ingest(IngestConfig(path=sys.argv[1], runtime={"workspace": sys.argv[2]}))
except Exception as error:
    print(type(error).__name__)
    sys.exit(exit_code_of(error))
"""


def test_an_ingest_on_a_full_disk_ends_with_exit_code_75_and_the_same_command_later_succeeds(tmp_path):
    source, workspace = tmp_path / "source", tmp_path / "workspace"
    make_plate_files(source, size=200)
    ended = subprocess.run(
        [sys.executable, "-c", RUN_INGEST_ON_A_FULL_DISK, str(source), str(workspace)],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip()) == (75, "RetryError"), ended.stderr
    assert not list(workspace.glob("ingest/*/screen.json"))
    assert not list(workspace.glob("ingest/*/_SUCCESS.json"))
    assert run_ingest(_config(source, workspace)).summary["num_fields"] == 14


def test_the_eight_bit_plate_of_bbbc013_is_ingested_whole(real_data, workspace, tmp_path):
    folder = real_data("sbs_bbbc013_plate")
    index = pd.read_csv(folder / "index.csv", dtype={"plate": str})
    keys = ["plate", "well", "site", "perturbation", "is_control"]
    wide = index.pivot(index=keys, columns="channel", values="path").add_prefix("image_").reset_index()
    wide = wide.assign(
        experiment="BBBC013", perturbation_type="compound", is_negative_control=wide["is_control"]
    )
    wide.to_csv(tmp_path / "fields.csv", index=False)
    channels = [name.removeprefix("image_") for name in wide.columns if str(name).startswith("image_")]
    result = run_ingest(_config(folder, workspace, table=str(tmp_path / "fields.csv"), channels=channels))
    store = open_screen(result.path)
    assert result.summary["num_fields"] == 96
    assert (store.header.dtype, store.header.intensity_scale) == ("uint8", 255.0)
    assert (store.height(0), store.width(0)) == (640, 640)
    assert store.read(0, 0).shape == (2, 640, 640)
    assert store.wells["is_negative_control"].sum() == index.groupby("well")["is_control"].first().sum()


def test_the_rxrx3_sample_is_a_screen_of_one_field_with_six_channels(real_data, workspace, tmp_path):
    folder = real_data("rxrx3_sample_jp2")
    row = {f"image_w{number}": f"AA41_s1_{number}.jp2" for number in range(1, 7)}
    key = {"experiment": "unknown", "plate": "1", "well": "AA41", "perturbation": "", "perturbation_type": ""}
    pd.DataFrame([{**key, **row}]).to_csv(tmp_path / "fields.csv", index=False)
    result = run_ingest(_config(folder, workspace, table=str(tmp_path / "fields.csv")))
    store = open_screen(result.path)
    assert store.channels == ("w1", "w2", "w3", "w4", "w5", "w6")
    assert store.read(0, 0).shape == (6, 512, 512)
    assert round(float(store.read(0, 0)[1].mean()), 2) == 23.84


def _rchar():
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").is_file(), reason="needs the kernel to count what is read")
def test_every_byte_of_the_source_is_read_once(tmp_path):
    make_plate_files(tmp_path / "first", plates=[("E1", "P1")])
    make_plate_files(tmp_path / "source", size=400)
    build_store(Output(tmp_path / "a"), config=_config(tmp_path / "first", tmp_path))
    before = _rchar()
    summary = build_store(Output(tmp_path / "b"), config=_config(tmp_path / "source", tmp_path))
    num_read = _rchar() - before
    num_bytes = sum(path.stat().st_size for path in (tmp_path / "source").rglob("*.tif"))
    assert summary["num_bytes_read"] == num_bytes > 8e6
    num_written = sum(path.stat().st_size for path in (tmp_path / "b").rglob("*") if path.is_file())
    # the rest is what was written, which is read for its digests, and the table of the fields
    assert num_bytes <= num_read < 1.01 * (num_bytes + num_written)


def test_a_table_of_two_screens_is_refused(source, workspace):
    table = pd.read_csv(source / "fields.csv")
    table.loc[:3, "screen"] = "other"
    table.to_csv(source / "fields.csv", index=False)
    with pytest.raises(UserError, match=r"names 2 screens .other, tiny., but a store holds one"):
        run_ingest(_config(source, workspace))


def test_an_unknown_reader_is_refused_naming_those_that_there_are():
    with pytest.raises(UserError, match=r"source = 'rxrx9'.*choose one of table, bbbc021"):
        parse_config(IngestConfig, {"source": "rxrx9"}, source="test")


def test_progress_is_reported_once_per_plate(source, workspace):
    seen = []
    run_ingest(
        _config(source, workspace), observe=lambda step, figures: seen.append((step, figures["num_fields"]))
    )
    assert seen == [(1, 7.0), (2, 14.0)]


def test_a_well_table_with_broken_rows_ends_before_anything_is_written(source, workspace):
    tiny_plate("E1", "P1").assign(image_DNA="x.tif", well="ZZ").to_csv(source / "fields.csv", index=False)
    with pytest.raises(UserError, match="well must be a row A to AF"):
        run_ingest(_config(source, workspace))
    assert not list(workspace.glob("ingest/*/plates"))


def add_plates(source, plates):
    """Write the files of more plates into a source, which lists them first."""
    added = source.parent / "added"
    new = make_plate_files(added, plates=plates)
    shutil.copytree(added / "images", source / "images", dirs_exist_ok=True)
    pd.concat([new, pd.read_csv(source / "fields.csv")]).to_csv(source / "fields.csv", index=False)
    return sum(path.stat().st_size for path in added.rglob("*.tif"))


def test_a_screen_that_grows_by_a_plate_reads_that_plate_and_links_the_others(tmp_path, workspace):
    source = tmp_path / "source"
    make_plate_files(source, plates=[("E1", f"P{number}") for number in range(10)])
    ten = run_ingest(_config(source, workspace))
    # the new plate comes first, where it decides the pixel type of the screen
    num_bytes = add_plates(source, [("E0", "P0")])
    eleven = run_ingest(_config(source, workspace))
    assert (ten.summary["num_plates_read"], eleven.summary["num_plates_read"]) == (10, 1)
    assert eleven.summary["num_bytes_read"] == num_bytes
    stores = open_screen(ten.path), open_screen(eleven.path)
    assert stores[1].header.plates[1:] == stores[0].header.plates
    for file in (ten.path / "plates").rglob("*.*"):
        assert file.samefile(eleven.path / file.relative_to(ten.path)) or file.is_dir()
    afresh = run_ingest(_config(source, tmp_path / "elsewhere"))
    assert afresh.digest == eleven.digest
