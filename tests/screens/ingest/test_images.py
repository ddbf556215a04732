"""Image files: TIFF, PNG and JPEG 2000, stacks and pages, and everything that can be wrong with a file."""

import csv

import numpy as np
import pytest
import tifffile
from PIL import Image

from phenoscale.screens.ingest.images import ImageFiles
from phenoscale.screens.ingest.locators import BadImageError
from phenoscale.screens.ingest.sources import SourceFiles, list_files

RNG = np.random.default_rng(0)
GRAY_16 = RNG.integers(0, 2**16, (40, 50), dtype=np.uint16)
GRAY_8 = RNG.integers(0, 2**8, (40, 50), dtype=np.uint8)
STACK = RNG.integers(0, 2**16, (7, 3, 20, 24), dtype=np.uint16)


def _files(folder):
    """Open a folder's files, and one that is not there."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] + ["missing.tif"]
    return ImageFiles(SourceFiles(str(folder), listing=list_files(names, base=str(folder))))


WRITERS = {
    "plain.tif": lambda path: tifffile.imwrite(path, GRAY_16),
    "zlib.tif": lambda path: tifffile.imwrite(path, GRAY_16, compression="zlib", predictor=True),
    "lzw.tif": lambda path: tifffile.imwrite(path, GRAY_16, compression="lzw"),
    "tiled.tif": lambda path: tifffile.imwrite(path, GRAY_16, tile=(16, 16), compression="zlib"),
    "big_endian.tif": lambda path: tifffile.imwrite(path, GRAY_16, byteorder=">"),
    "bigtiff.tif": lambda path: tifffile.imwrite(path, GRAY_16, bigtiff=True),
    "gray.png": lambda path: Image.fromarray(GRAY_16).save(path),
    "gray.jp2": lambda path: Image.fromarray(GRAY_16).save(path, irreversible=False),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_its_pixels_in_native_byte_order(tmp_path, name):
    WRITERS[name](tmp_path / name)
    with _files(tmp_path) as files:
        found, pixels = files.describe(name), files.read(name)
    assert (pixels == GRAY_16).all()
    assert pixels.shape == (1, 40, 50)
    assert pixels.dtype == np.dtype("uint16") and pixels.dtype.isnative
    assert (found.planes, found.height, found.width, found.dtype) == (1, 40, 50, "uint16")


@pytest.mark.parametrize("suffix", ["png", "jp2", "tif"])
def test_eight_bit_images_stay_eight_bit(tmp_path, suffix):
    Image.fromarray(GRAY_8).save(tmp_path / f"a.{suffix}")
    with _files(tmp_path) as files:
        pixels = files.read(f"a.{suffix}")
    assert pixels.dtype == np.uint8 and (pixels[0] == GRAY_8).all()


def _stack(path, layout):
    if layout == "imagej":
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZCYX"})
    elif layout == "ome":
        tifffile.imwrite(path, STACK, ome=True, metadata={"axes": "TCYX"})
    elif layout == "compressed":
        tifffile.imwrite(path, STACK, compression="zlib", predictor=True, photometric="minisblack")
    else:
        tifffile.imwrite(path, STACK, photometric="minisblack")


@pytest.mark.parametrize("layout", ["plain", "compressed", "imagej", "ome"])
def test_an_index_is_an_item_of_a_stack_and_a_page_a_plane(tmp_path, layout):
    _stack(tmp_path / "s.tif", layout)
    with _files(tmp_path) as files:
        assert (files.read("s.tif#index=4") == STACK[4]).all()
        assert (files.read("s.tif#page=5") == STACK[1, 2]).all()
        assert (files.read("s.tif#index=4&page=1") == STACK[4, 1]).all()
        assert (files.read("s.tif") == STACK.reshape(21, 20, 24)).all()
        assert files.describe("s.tif#index=4").planes == 3
        assert files.describe("s.tif#page=5").planes == 1


def test_planes_of_color_and_planar_images_are_read_in_order(tmp_path):
    color = RNG.integers(0, 2**8, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(color).save(tmp_path / "color.png")
    tifffile.imwrite(tmp_path / "color.tif", color, photometric="rgb")
    tifffile.imwrite(tmp_path / "planar.tif", STACK[0], planarconfig="separate", photometric="minisblack")
    with _files(tmp_path) as files:
        for name in ("color.png", "color.tif"):
            assert (files.read(name) == np.moveaxis(color, -1, 0)).all()
            assert (files.read(f"{name}#page=2")[0] == color[..., 2]).all()
        assert (files.read("planar.tif") == STACK[0]).all()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.97])
def test_a_truncated_file_is_a_bad_image_at_any_length(tmp_path, name, share):
    WRITERS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with _files(tmp_path) as files, pytest.raises(BadImageError, match=name):
        files.read(name)


@pytest.mark.parametrize("name", ["zlib.tif", "tiled.tif", "gray.png"])
def test_bytes_overwritten_in_the_middle_are_a_bad_image(tmp_path, name):
    WRITERS[name](tmp_path / name)
    damaged = bytearray((tmp_path / name).read_bytes())
    damaged[1200:1500] = bytes(300)
    (tmp_path / name).write_bytes(bytes(damaged))
    with _files(tmp_path) as files, pytest.raises(BadImageError, match="cannot be read"):
        files.read(name)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.tif", b"", "is empty"),
        ("text.tif", b"not an image at all", "is neither TIFF, PNG nor JPEG 2000"),
        ("noise.png", RNG.bytes(5000), "is neither TIFF, PNG nor JPEG 2000"),
        ("header.tif", b"II*\x00" + RNG.bytes(500), "cannot be read"),
    ],
)
def test_a_file_of_another_kind_is_a_bad_image_that_says_so(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with _files(tmp_path) as files, pytest.raises(BadImageError, match=f"{name}: {words}"):
        files.read(name)


def test_what_a_file_does_not_hold_is_a_bad_image(tmp_path):
    _stack(tmp_path / "s.tif", "plain")
    tifffile.imwrite(tmp_path / "one.tif", GRAY_16)
    tifffile.imwrite(tmp_path / "inverted.tif", GRAY_16, photometric="miniswhite")
    Image.fromarray(GRAY_8).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(GRAY_8).save(tmp_path / "gray.png")
    cases = {
        "missing.tif": "there is no such file",
        "s.tif#index=7": "has 7 items, index 7 is past the end",
        "s.tif#page=21": "has 21 pages, page 21 is past the end",
        "s.tif#index=0&page=3": "has 3 pages, page 3 is past the end",
        "one.tif#index=0": "has no stack",
        "inverted.tif": "MINISWHITE",
        "palette.png": "mode P",
        "gray.png#page=1": "past the end",
        "gray.png#index=0": "no stack",
    }
    with _files(tmp_path) as files:
        for locator, words in cases.items():
            with pytest.raises(BadImageError, match=words):
                files.read(locator)
        # a bad image does not spoil the others
        assert (files.read("s.tif#index=6") == STACK[6]).all()


def test_the_suffix_of_a_name_does_not_matter(tmp_path):
    WRITERS["gray.png"](tmp_path / "gray.png")
    (tmp_path / "gray.png").rename(tmp_path / "actually_png.tif")
    with _files(tmp_path) as files:
        assert (files.read("actually_png.tif")[0] == GRAY_16).all()


def test_the_rxrx3_sample_is_decoded_as_its_index_describes_it(real_data):
    folder = real_data("rxrx3_sample_jp2")
    with (folder / "index.csv").open(newline="") as file, _files(folder) as files:
        rows = list(csv.DictReader(file))
        assert len(rows) == 6
        for row in rows:
            pixels = files.read(row["path"])
            assert pixels.shape == (1, int(row["height"]), int(row["width"]))
            assert pixels.dtype.name == row["dtype"]
            assert round(float(pixels.mean()), 2) == pytest.approx(float(row["mean"]), abs=0.011)


def test_the_rxrx3_sample_cut_short_is_a_bad_image(real_data, tmp_path):
    whole = (real_data("rxrx3_sample_jp2") / "AA41_s1_1.jp2").read_bytes()
    (tmp_path / "a.jp2").write_bytes(whole[:-200])
    with _files(tmp_path) as files, pytest.raises(BadImageError, match="cannot be read"):
        files.read("a.jp2")


def test_the_example_fields_of_cpjump1_are_sixteen_bit_tiffs_of_1080_pixels(real_data):
    folder = real_data("cpjump1_example_images")
    with (folder / "index.csv").open(newline="") as file, _files(folder) as files:
        row = next(csv.DictReader(file))
        found = files.describe(row["path"])
        assert (found.height, found.width, found.dtype) == (1080, 1080, "uint16")
        assert files.read(row["path"]).max() > 255
