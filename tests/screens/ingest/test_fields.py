"""Decoding the fields of a plate: order, grouping, and what every field is compared with."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from phenoscale.schema.wells import parse_wells
from phenoscale.screens.ingest.fields import FieldFormat, decode_fields, probe_format
from phenoscale.screens.ingest.plan import IngestPlan
from phenoscale.screens.ingest.sources import SourceFiles, files_of, list_files
from phenoscale.screens.quality import measure_field
from tests.support.plates import plate_pixels, write_image
from tests.support.screens import tiny_plate

EXPECTED = FieldFormat(24, 24, "uint16")


def _plan(folder, *, channels=("DNA",), planes=(), num_planes=1):
    wells = parse_wells(tiny_plate("E1", "P1"), source="t")
    return IngestPlan(wells, channels=channels, base=str(folder), planes=planes, num_planes=num_planes)


def _sources(plan, images):
    return SourceFiles(plan.base, listing=list_files(files_of(images), base=plan.base))


def _decode(plan, images, *, sources=None):
    sources = sources or _sources(plan, images)
    with ThreadPoolExecutor(3) as executor:
        fields = decode_fields(
            plan,
            images,
            sources=sources,
            expected=EXPECTED,
            saturation_level=0.05,
            executor=executor,
            window=4,
        )
        return list(fields)


def test_fields_come_in_the_order_of_the_table_with_their_channels(tmp_path):
    images = [[f"{row}_DNA.tif", f"{row}_ER.png"] for row in range(20)]
    for image in images:
        for name in image:
            write_image(tmp_path / name, plate_pixels(name))
    decoded = _decode(_plan(tmp_path, channels=("DNA", "ER")), images)
    assert [field.row for field in decoded] == list(range(20))
    for field, image in zip(decoded, images, strict=True):
        assert (field.pixels == np.stack([plate_pixels(name) for name in image])).all()
        assert (field.measures.focus == measure_field(field.pixels).focus).all()
        assert field.measures.saturated_fraction[0] == np.mean(field.pixels[0] >= 0.05 * 65535) > 0


@pytest.mark.parametrize("planes", [(0, 1, 2), (2, 0)])
def test_crops_of_a_stack_are_decoded_in_any_order_of_rows(tmp_path, planes):
    stack = np.random.default_rng(0).integers(0, 2**16, (30, 3, 24, 24), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    items = np.random.default_rng(1).permutation(30)
    plan = _plan(tmp_path, channels=("DNA", "ER", "RNA")[: len(planes)], planes=planes, num_planes=3)
    decoded = _decode(plan, [[f"s.tif#index={item}"] for item in items])
    for field, item in zip(decoded, items, strict=True):
        assert (field.pixels == stack[item][list(planes)]).all()


def test_a_bad_row_says_why_and_the_others_are_unharmed(tmp_path):
    write_image(tmp_path / "good.tif", plate_pixels("good"))
    write_image(tmp_path / "small.tif", plate_pixels("small", size=20))
    write_image(tmp_path / "eight.tif", plate_pixels("eight").astype(np.uint8))
    write_image(tmp_path / "color.tif", np.stack([plate_pixels("x")] * 3))
    names = ["good.tif", "small.tif", "eight.tif", "color.tif", "missing.tif", "", "good.tif"]
    decoded = _decode(_plan(tmp_path), [[name] for name in names])
    assert [field.pixels is not None for field in decoded] == [True, False, False, False, False, False, True]
    assert [field.reason for field in decoded[1:6]] == [
        "small.tif: is 20 x 20 uint16, the fields of this plate are 24 x 24 uint16",
        "eight.tif: is 24 x 24 uint8, the fields of this plate are 24 x 24 uint16",
        "color.tif: holds 3 planes of pixels, expected 1",
        "missing.tif: there is no such file",
        "no image is named for channel DNA",
    ]


def test_the_format_of_most_readable_fields_is_that_of_the_plate(tmp_path):
    write_image(tmp_path / "small.tif", plate_pixels("small", size=20))
    for number in range(3):
        write_image(tmp_path / f"{number}.tif", plate_pixels(str(number)))
    images = [["missing.tif"], ["small.tif"], *[[f"{number}.tif"] for number in range(3)]]
    assert probe_format(images, sources=_sources(_plan(tmp_path), images)) == EXPECTED


def test_a_plate_in_which_no_image_can_be_read_has_reasons_instead_of_a_format(tmp_path):
    (tmp_path / "empty.tif").write_bytes(b"")
    images = [["missing.tif"], ["empty.tif"]]
    reasons = probe_format(images, sources=_sources(_plan(tmp_path), images))
    assert reasons == ["missing.tif: there is no such file", "empty.tif: is empty"]


def test_a_file_is_read_once_however_its_rows_are_mixed_with_others_and_probed_before(tmp_path):
    stack = np.random.default_rng(0).integers(0, 2**16, (12, 24, 24), dtype=np.uint16)
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack")
    images = [[f"{'ab'[item % 2]}.tif#index={item}"] for item in range(12)]
    plan = _plan(tmp_path)
    sources = _sources(plan, images)
    assert probe_format(images, sources=sources) == EXPECTED
    assert [field.pixels is not None for field in _decode(plan, images, sources=sources)] == [True] * 12
    assert sources.num_bytes_read == sum(path.stat().st_size for path in tmp_path.iterdir())
