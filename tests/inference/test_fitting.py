"""Pixels that an encoder was not made for are refused before anything is computed."""

import pytest

from phenoscale.errors import UserError
from phenoscale.inference.fitting import check_fit, fit_channels, open_fields
from tests.support.embedding import tiny_encoder_config
from tests.support.screens import make_tiny_manifest, make_tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_tiny_store(tmp_path_factory.mktemp("screen") / "store", num_experiments=1, num_plates=1)


def channels_of(*names):
    return tiny_encoder_config(channels=names)


def test_equal_channels_fit_as_they_are():
    known = ("DNA", "ER", "RNA")
    assert fit_channels(channels_of(*known), known=known, by_name=False, source="screen") == known


def test_an_absent_channel_is_named_with_both_lists():
    with pytest.raises(UserError) as error:
        fit_channels(channels_of("DNA", "AGP"), known=("DNA", "ER"), by_name=True, source="screen X")
    for part in ("screen X", "['DNA', 'ER']", "['DNA', 'AGP']", "['AGP'] are absent", "train an encoder"):
        assert part in str(error.value)


def test_another_order_is_refused_with_both_lists_and_the_way_out():
    with pytest.raises(UserError) as error:
        fit_channels(channels_of("ER", "DNA"), known=("DNA", "ER"), by_name=False, source="screen")
    for part in ("['DNA', 'ER']", "['ER', 'DNA']", "match_channels_by_name"):
        assert part in str(error.value)


def test_by_name_the_encoder_gets_its_order_and_extra_channels_stay_unread():
    found = fit_channels(channels_of("RNA", "DNA"), known=("DNA", "ER", "RNA"), by_name=True, source="screen")
    assert found == ("RNA", "DNA")


def test_another_intensity_scale_is_refused(store):
    fields = open_fields(manifest="", stores=[str(store)])
    with pytest.raises(UserError, match=r"intensity_scale 65535, but the encoder was made for 255.*ingest"):
        check_fit(tiny_encoder_config(intensity_scale=255.0), fields=fields, source="screen")


def test_fields_smaller_than_a_crop_are_refused(store):
    fields = open_fields(manifest="", stores=[str(store)])
    with pytest.raises(UserError, match="40 x 40 px holds no crop of 64 px"):
        check_fit(tiny_encoder_config(crop_size=64), fields=fields, source="screen")


def test_a_manifest_and_its_store_give_the_same_fields(store, tmp_path):
    manifest = make_tiny_manifest(tmp_path / "manifest", store)
    from_manifest = open_fields(manifest=str(manifest))
    from_store = open_fields(manifest="", stores=[str(store)])
    assert from_manifest.frame["field_id"].tolist() == from_store.frame["field_id"].tolist()
