"""Writing plates: what counts, what is resumed, what a full disk leaves."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phenoscale.schema.wells import parse_wells
from phenoscale.screens.quality import measure_field
from phenoscale.screens.store import open_screen
from phenoscale.screens.writer import PlateFormat, PlateWriter, read_plate
from tests.support.screens import make_tiny_store, tiny_pixels, tiny_plate, write_plate

FORMAT = PlateFormat(("DNA", "ER"), "uint16", height=20, width=30, intensity_scale=65535.0)
ROOT = Path(__file__).resolve().parents[2]

# Writes incompressible fields until the disk is full; the exit code is the library's.
FILL_DISK = """
import sys
import numpy as np
from phenoscale.errors import exit_code_of
from phenoscale.schema.wells import parse_wells
from phenoscale.screens.writer import PlateFormat
from tests.support.screens import tiny_plate, write_plate
wells = parse_wells(tiny_plate("E1", "P1"), source="t").frame
try:
    generator = np.random.default_rng(0)
    pixels = (generator.integers(0, 2**16, (1, 512, 512), dtype=np.uint16) for _ in wells["well"])
    pixel_format = PlateFormat(("DNA",), "uint16", height=512, width=512, intensity_scale=65535.0)
    write_plate(sys.argv[1], wells, pixels=pixels, format=pixel_format)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(exit_code_of(error))
"""


def _wells(experiment="E1", plate="P1"):
    return parse_wells(tiny_plate(experiment, plate), source="t").frame


def _pixels(row):
    return np.random.default_rng(row).integers(0, 2**16, (2, 20, 30), dtype=np.uint16)


def _write(folder, *, rows, wells=None):
    pixels = [_pixels(row) if row in rows else None for row in range(max(rows) + 1)]
    return write_plate(folder, _wells() if wells is None else wells, pixels=pixels, format=FORMAT)


def _cells(num_cells):
    """A plate of single cells, all of one field."""
    frame = pd.concat([tiny_plate("E1", "P1").iloc[:1]] * num_cells, ignore_index=True)
    return parse_wells(frame.assign(object=range(num_cells)), source="t").frame


def test_a_row_that_is_left_out_is_in_no_table_and_no_image(tmp_path):
    entry = _write(tmp_path, rows=[0, 2, 5])
    wells, plate = _wells(), tmp_path / entry.folder
    assert (entry.num_fields, entry.layout) == (3, "fields")
    for table in ("wells.parquet", "quality.parquet"):
        assert (
            pd.read_parquet(plate / table)["field_id"].tolist() == wells["field_id"].iloc[[0, 2, 5]].tolist()
        )
    assert len(list((plate / "images.zarr").rglob("c.0.0.0"))) == 3
    assert read_plate(plate) == (entry, FORMAT)


def test_a_plate_of_cells_has_hundreds_of_them_in_a_file(tmp_path):
    wells = _cells(700)
    rows = [row for row in range(700) if row != 3]
    entry = _write(tmp_path, rows=rows, wells=wells)
    assert (entry.num_fields, entry.layout) == (699, "crops")
    files = sorted(path.name for path in (tmp_path / entry.folder / "images.zarr").rglob("*"))
    assert files == ["c.0.0.0.0", "c.1.0.0.0", "zarr.json"]
    metadata = json.loads((tmp_path / entry.folder / "images.zarr" / "zarr.json").read_text())
    assert metadata["shape"] == [699, 2, 20, 30]
    assert metadata["attributes"]["phenoscale"]["entry"]["digest"] == entry.digest


def test_a_new_writer_removes_what_a_killed_one_left(tmp_path):
    _write(tmp_path, rows=range(8))
    entry = _write(tmp_path, rows=[1])
    assert len(list((tmp_path / entry.folder / "images.zarr").rglob("c.0.0.0"))) == 1


def test_the_digest_depends_on_pixels_and_labels_and_not_on_locators(tmp_path):
    wells = _wells()
    moved = wells.assign(image=[["elsewhere.tif"]] * len(wells))
    relabeled = wells.assign(gene="OTHER")
    digests = {
        name: _write(tmp_path / name, rows=rows, wells=table).digest
        for name, rows, table in [
            ("first", range(5), wells),
            ("again", range(5), wells),
            ("moved", range(5), moved),
            ("relabeled", range(5), relabeled),
            ("fewer", range(4), wells),
        ]
    }
    assert digests["first"] == digests["again"] == digests["moved"]
    assert len(set(digests.values())) == 3


def test_pixels_of_another_format_or_order_are_our_own_mistake(tmp_path):
    writer = PlateWriter(tmp_path, wells=_wells(), format=FORMAT)
    measures = measure_field(_pixels(3))
    writer.append(3, _pixels(3), measures=measures)
    with pytest.raises(AssertionError, match="comes after"):
        writer.append(2, _pixels(2), measures=measures)
    with pytest.raises(AssertionError, match="a field of"):
        writer.append(4, _pixels(4)[:1], measures=measures)
    with pytest.raises(AssertionError, match="uint8"):
        writer.append(4, _pixels(4).astype(np.uint8), measures=measures)


def test_stores_of_equal_seed_are_equal_and_of_another_seed_differ(tmp_path):
    digests = [
        open_screen(make_tiny_store(tmp_path / str(number), num_plates=1, seed=seed)).digest
        for number, seed in enumerate([0, 0, 1])
    ]
    assert digests[0] == digests[1] != digests[2]


def test_tiny_fields_of_one_gene_are_brighter_than_of_another():
    wells = _wells()
    means = {
        well.gene: tiny_pixels(well, num_channels=1, size=40, dtype="uint16", seed=0).mean()
        for well in wells.itertuples()
    }
    assert max(means.values()) > 1.2 * min(means.values())


def _run(arguments, **options):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"}
    return subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=120, check=False, **options
    )


def _limit_file_size():
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_file_size_limit_ends_with_exit_code_75_and_no_plate_that_counts(tmp_path):
    ended = _run([sys.executable, "-c", FILL_DISK, str(tmp_path)], preexec_fn=_limit_file_size)
    assert ended.returncode == 75, ended.stdout + ended.stderr
    assert not list(tmp_path.rglob("plate.json"))


def test_a_full_disk_ends_with_exit_code_75_and_no_plate_that_counts(tmp_path):
    """On a tmpfs of two megabytes, in a mount namespace of its own where the machine allows one."""
    script = (
        'mount -t tmpfs -o size=2m tmpfs "$1" && "$2" -c "$3" "$1"; code=$?; ls "$1"/plates/E1/P1; exit $code'
    )
    unshare = shutil.which("unshare") or "unshare"
    allowed = (
        _run([unshare, "--map-root-user", "--mount", "true"]).returncode == 0
        if shutil.which("unshare")
        else False
    )
    if not allowed:
        pytest.skip("a small tmpfs needs the right to make a mount namespace (unshare), not on this machine")
    command = [
        unshare,
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        str(tmp_path),
        sys.executable,
        FILL_DISK,
    ]
    ended = _run(command)
    assert ended.returncode == 75, ended.stdout + ended.stderr
    assert "plate.json" not in ended.stdout
