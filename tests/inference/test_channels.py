"""Pixels that an encoder was not made for are refused before anything is computed."""

import pytest

from phenoscale.errors import UserError
from phenoscale.inference.channels import check_fit, embedding_length, match_channels
from phenoscale.loading.fields import open_fields
from tests.support.embedding import tiny_encoder_config
from tests.support.screens import make_tiny_manifest, make_tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_tiny_store(tmp_path_factory.mktemp("screen") / "store", num_experiments=1, num_plates=1)


def channels_of(*names):
    return tiny_encoder_config(channels=names)


def any_channels(*names, **changes):
    settings = {"architecture": "channel_agnostic_vit", "channels": names, "max_channels": 4, **changes}
    return tiny_encoder_config(**settings)


def test_equal_channels_fit_as_they_are():
    known = ("DNA", "ER", "RNA")
    assert match_channels(channels_of(*known), known=known, source="screen") == known


def test_an_absent_channel_is_named_with_both_lists():
    with pytest.raises(UserError) as error:
        match_channels(channels_of("DNA", "AGP"), known=("DNA", "ER"), by_name=True, source="screen X")
    for part in ("screen X", "['DNA', 'ER']", "['DNA', 'AGP']", "['AGP'] are absent", "train an encoder"):
        assert part in str(error.value)


def test_another_order_is_refused_with_both_lists_and_the_way_out():
    with pytest.raises(UserError) as error:
        match_channels(channels_of("ER", "DNA"), known=("DNA", "ER"), source="screen")
    for part in ("['DNA', 'ER']", "['ER', 'DNA']", "match_channels_by_name"):
        assert part in str(error.value)


def test_by_name_the_encoder_gets_its_order_and_extra_channels_stay_unread():
    found = match_channels(
        channels_of("RNA", "DNA"), known=("DNA", "ER", "RNA"), by_name=True, source="screen"
    )
    assert found == ("RNA", "DNA")


def test_a_mapped_channel_is_read_for_several_and_the_others_go_by_name():
    encoder = channels_of("DNA", "ER", "actin", "RNA", "Mito", "WGA")
    found = match_channels(
        encoder,
        known=("Mito", "AGP", "RNA", "ER", "DNA"),
        source="JUMP",
        channel_map={"actin": "AGP", "WGA": "AGP"},
    )
    assert found == ("DNA", "ER", "AGP", "RNA", "Mito", "AGP")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_map": {"actin": "AGP"}}, r"channel_map names \['actin'\].*reads \['DNA', 'ER'\]"),
        ({"channel_map": {"ER": "AGP"}}, r"reads \['DNA', 'AGP'\]; \['AGP'\] are absent"),
        ({"chosen": ("DNA",)}, r"\['DNA'\] are to be read, but this encoder always reads"),
    ],
)
def test_choices_that_do_not_suit_an_encoder_of_fixed_channels_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        match_channels(channels_of("DNA", "ER"), known=("DNA", "ER"), source="screen", **changes)


def test_an_encoder_of_any_channels_takes_all_that_are_known_or_those_that_are_chosen():
    encoder = any_channels("DNA")
    known = ("Mito", "AGP", "DNA")
    assert match_channels(encoder, known=known, source="screen") == known
    assert match_channels(encoder, known=known, source="screen", chosen=("DNA", "Mito")) == ("DNA", "Mito")
    with pytest.raises(UserError, match=r"\['Mito', 'AGP', 'DNA'\], and \['ER'\] of `channels` are absent"):
        match_channels(encoder, known=known, source="screen", chosen=("ER", "DNA"))
    with pytest.raises(UserError, match="this encoder reads any channels"):
        match_channels(encoder, known=known, source="screen", channel_map={"DNA": "AGP"})


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two stores, of 5 and of 2 channels."""
    folder = tmp_path_factory.mktemp("mixed")
    stores = [
        make_tiny_store(folder / name, num_experiments=1, num_plates=1, channels=stains, screen=name)
        for name, stains in [("a", 5), ("b", ("ER", "DNA"))]
    ]
    return open_fields(stores=stores, absent="zero")


def test_stores_of_different_channels_suit_an_encoder_of_any_and_no_other(mixed):
    check_fit(any_channels("DNA", max_channels=5), fields=mixed, source="screens")
    with pytest.raises(UserError, match="are absent"):
        check_fit(channels_of(*mixed.channels), fields=mixed, source="screens")
    check_fit(channels_of("DNA", "ER"), fields=mixed.reading(["DNA", "ER"]), source="screens")


def test_more_channels_than_the_encoder_has_positions_for_are_refused(mixed):
    with pytest.raises(UserError, match="screens has 5 channels, but the encoder reads up to 4"):
        check_fit(any_channels("DNA"), fields=mixed, source="screens")


def test_means_of_channels_side_by_side_need_the_same_channels_everywhere(mixed):
    encoder = any_channels("DNA", pooling="channel_means")
    with pytest.raises(UserError, match="vectors of different lengths make no table"):
        check_fit(encoder, fields=mixed, source="screens")
    check_fit(encoder, fields=mixed.reading(["ER", "DNA"]), source="screens")


def test_the_length_of_an_embedding_grows_with_the_channels_only_side_by_side():
    assert embedding_length(any_channels("DNA", "ER"), num_channels=4) == 16
    side_by_side = any_channels("DNA", "ER", pooling="channel_means", embedding_dim=32)
    assert embedding_length(side_by_side, num_channels=4) == 64


def test_another_intensity_scale_is_refused(store):
    fields = open_fields(stores=[store], absent="zero")
    with pytest.raises(UserError, match=r"intensity_scale 65535, but the encoder was made for 255.*ingest"):
        check_fit(tiny_encoder_config(intensity_scale=255.0), fields=fields, source="screen")


def test_fields_smaller_than_a_crop_are_refused(store):
    fields = open_fields(stores=[store], absent="zero")
    with pytest.raises(UserError, match="40 x 40 px holds no crop of 64 px"):
        check_fit(tiny_encoder_config(crop_size=64), fields=fields, source="screen")


def test_a_manifest_and_its_store_give_the_same_fields(store, tmp_path):
    manifest = make_tiny_manifest(tmp_path / "manifest", store)
    from_manifest = open_fields(manifest=manifest, absent="zero")
    from_store = open_fields(stores=[store], absent="zero")
    assert from_manifest.frame["field_id"].tolist() == from_store.frame["field_id"].tolist()
