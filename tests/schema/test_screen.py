"""Screen headers: what they refuse, and what their digest depends on."""

import dataclasses
import json

import pytest

from phenoscale.errors import UserError
from phenoscale.schema.screen import PlateEntry, ScreenHeader, check_dtype, header_to_json, read_header

PLATE = PlateEntry(
    "E1", "P1", folder="plates/E1/P1", layout="fields", num_fields=3, height=40, width=50, digest="d1"
)
HEADER = ScreenHeader(
    screen="tiny",
    channels=("DNA", "ER"),
    dtype="uint16",
    intensity_scale=65535.0,
    pixel_size_um=0.65,
    plates=(PLATE,),
)


def test_a_header_survives_writing_and_reading(tmp_path):
    (tmp_path / "screen.json").write_text(header_to_json(HEADER))
    assert read_header(tmp_path) == HEADER


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": ()}, "no channels"),
        ({"channels": ("DNA", "DNA")}, "'DNA' is named twice"),
        ({"channels": ("DNA|ER",)}, "contains '|'"),
        ({"dtype": "float32"}, "'float32' cannot be stored"),
        ({"intensity_scale": 0.0}, "intensity_scale is 0.0"),
        ({"intensity_scale": float("nan")}, "intensity_scale is nan"),
    ],
)
def test_a_header_that_cannot_be_is_refused(changes, words):
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        dataclasses.replace(HEADER, **changes)


def test_an_unknown_channel_is_refused_naming_the_known_ones():
    assert HEADER.channel_indices(["ER", "DNA"]) == (1, 0)
    with pytest.raises(UserError, match="unknown channel 'Mito'; the known channels are DNA, ER"):
        HEADER.channel_indices(["DNA", "Mito"])


def test_the_digest_depends_on_content_and_not_on_folders():
    moved = dataclasses.replace(HEADER, plates=(dataclasses.replace(PLATE, folder="elsewhere"),))
    assert moved.digest == HEADER.digest
    for changed in (
        dataclasses.replace(HEADER, intensity_scale=255.0),
        dataclasses.replace(HEADER, channels=("ER", "DNA")),
        dataclasses.replace(HEADER, plates=(dataclasses.replace(PLATE, digest="d2"),)),
    ):
        assert changed.digest != HEADER.digest


def test_a_folder_that_is_no_store_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"has no screen\.json.*phenoscale ingest"):
        read_header(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 2}'])
def test_a_damaged_header_is_refused_without_a_traceback(tmp_path, text):
    (tmp_path / "screen.json").write_text(text)
    with pytest.raises(UserError, match="ingest the screen again"):
        read_header(tmp_path)


@pytest.mark.parametrize("version", [1, 99])
def test_a_header_of_another_version_is_refused_by_name(tmp_path, version):
    content = json.loads(header_to_json(HEADER)) | {"format_version": version}
    (tmp_path / "screen.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"a screen store of format version {version}, .*ingest the screen"):
        read_header(tmp_path)


def test_eight_and_sixteen_bits_can_be_stored():
    check_dtype("uint8")
    check_dtype("uint16")
    with pytest.raises(UserError, match="uint8 or uint16"):
        check_dtype("int16")
