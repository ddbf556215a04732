"""Embed, for encoders whose input varies: any channels, stand-in stains, batch statistics of a plate."""

import numpy as np
import pytest

from phenoscale.config import load_config
from phenoscale.errors import RetryError, UserError
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.stage import run_embed
from phenoscale.loading.fields import open_fields
from phenoscale.models.encoder import load_encoder
from phenoscale.probing.config import ProbeConfig
from phenoscale.probing.samples import draw_samples
from phenoscale.probing.stage import embed_encoders
from phenoscale.schema.embeddings import read_embeddings
from tests.support.embedding import save_adabn, save_channel_agnostic, save_pixel_statistics
from tests.support.screens import make_tiny_manifest, make_tiny_store

STAINS = {"a": ("DNA", "ER", "RNA", "AGP", "Mito"), "b": ("AGP", "DNA")}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two screens of different stains, and a third with the channels of most encoders here."""
    folder = tmp_path_factory.mktemp("screens")
    for name, stains in STAINS.items():
        make_tiny_store(folder / name, num_experiments=1, channels=stains, screen=name)
    make_tiny_store(folder / "plain", num_experiments=2, num_plates=2, num_sites=2)
    make_tiny_manifest(folder / "manifest", folder / "plain")
    save_channel_agnostic(folder / "any")
    save_adabn(folder / "adabn")
    return folder


def embed(workspace, *, encoder, stores=(), observe=None, **changes):
    config = EmbedConfig(
        encoder=str(encoder),
        stores=[str(store) for store in stores],
        outputs=("field",),
        runtime={"workspace": str(workspace), "device": "cpu"},
        **changes,
    )
    return run_embed(config) if observe is None else run_embed(config, observe=observe)


def vectors(result):
    """Embedding of each field, by screen and name."""
    table = read_embeddings(result.path / "fields")
    keys = zip(table.frame["screen"], table.frame["field_id"], strict=True)
    return dict(zip(keys, table.embeddings, strict=True))


def same_vectors(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_each_store_is_read_with_its_own_channels_by_an_encoder_of_any(place, tmp_path):
    stores = [place / name for name in STAINS]
    together = vectors(embed(tmp_path, encoder=place / "any", stores=stores))
    apart = {}
    for store in stores:
        apart |= vectors(embed(tmp_path, encoder=place / "any", stores=[store]))
    assert len(together) == 44
    for key, vector in together.items():
        np.testing.assert_allclose(vector, apart[key], atol=1e-5)


def test_the_channels_of_an_encoder_of_any_can_be_chosen_by_name(place, tmp_path):
    stores = [place / name for name in STAINS]
    chosen = vectors(embed(tmp_path, encoder=place / "any", stores=stores, channels=("AGP", "DNA")))
    own = vectors(embed(tmp_path, encoder=place / "any", stores=stores))
    for (screen, field), vector in chosen.items():
        if screen == "b":
            np.testing.assert_allclose(vector, own[screen, field], atol=1e-5)
    assert not np.allclose(*(np.stack([each[key] for key in own if key[0] == "a"]) for each in (own, chosen)))
    with pytest.raises(UserError, match=r"\['ER'\] are absent"):
        embed(tmp_path, encoder=place / "any", stores=stores, channels=("ER", "DNA"))


def test_the_length_of_embeddings_is_told_as_it_is_written(place, tmp_path):
    save_channel_agnostic(tmp_path / "means", pooling="channel_means")
    result = embed(tmp_path, encoder=tmp_path / "means", stores=[place / "a"])
    assert result.summary["dimensions"] == 5 * 16 == read_embeddings(result.path / "fields").dimensions


def test_one_stain_stands_in_for_two_channels_of_an_encoder(place, tmp_path):
    save_pixel_statistics(tmp_path / "six", channels=("DNA", "ER", "actin", "RNA", "Mito", "WGA"))
    save_pixel_statistics(tmp_path / "five", channels=STAINS["a"])
    config = load_config(
        EmbedConfig,
        None,
        flags={
            "encoder": str(tmp_path / "six"),
            "stores": [str(place / "a")],
            "channel_map": ["actin=AGP", "WGA=AGP"],
            "runtime.workspace": str(tmp_path),
            "runtime.device": "cpu",
        },
    )
    six = vectors(run_embed(config))
    five = vectors(embed(tmp_path, encoder=tmp_path / "five", stores=[place / "a"]))
    places = [STAINS["a"].index(name) for name in ("DNA", "ER", "AGP", "RNA", "Mito", "AGP")]
    for key, vector in six.items():
        np.testing.assert_array_equal(vector.reshape(6, 5), five[key].reshape(5, 5)[places])
    with pytest.raises(UserError, match=r"\['actin', 'WGA'\] are absent.*channel_map"):
        embed(tmp_path, encoder=tmp_path / "six", stores=[place / "a"], match_channels_by_name=True)


@pytest.fixture(scope="module")
def normalized(place, tmp_path_factory):
    """Fields of a screen through an encoder with batch statistics of the plate."""
    return embed(tmp_path_factory.mktemp("w"), encoder=place / "adabn", manifest=str(place / "manifest"))


def test_statistics_of_a_plate_do_not_depend_on_minibatches_or_on_other_stores(place, normalized, tmp_path):
    make_tiny_store(tmp_path / "other", num_experiments=1, screen="other", seed=5)
    for order in (["plain", "other"], ["other", "plain"]):
        stores = [place / "plain" if name == "plain" else tmp_path / "other" for name in order]
        found = vectors(embed(tmp_path / order[0], encoder=place / "adabn", stores=stores))
        mine = {key: vector for key, vector in found.items() if key[0] == "tiny"}
        assert same_vectors(mine, vectors(normalized))
    small = embed(tmp_path, encoder=place / "adabn", manifest=str(place / "manifest"), minibatch_size=1)
    for key, vector in vectors(small).items():
        np.testing.assert_allclose(vector, vectors(normalized)[key], atol=1e-4)


def test_statistics_of_a_plate_are_the_same_after_an_interruption(place, normalized, tmp_path):
    def interrupt(step, metrics):
        if step == 2:
            raise RetryError("the machine is wanted elsewhere; run the same command again")

    given = {"encoder": place / "adabn", "manifest": str(place / "manifest")}
    with pytest.raises(RetryError):
        embed(tmp_path, observe=interrupt, **given)
    assert len(list(tmp_path.glob("embed/*/.parts/*.json"))) == 2
    assert embed(tmp_path, **given).digest == normalized.digest


def test_a_shift_and_scale_of_a_whole_plate_is_taken_out(place, normalized):
    """What batch norm over a plate is for: its mean embedding does not differ from plate to plate."""
    table = read_embeddings(normalized.path / "fields")
    plates = table.frame["experiment"] + table.frame["plate"]
    means = table.embeddings.astype(np.float64)
    between = np.stack([means[plates == plate].mean(axis=0) for plate in sorted(set(plates))]).std(axis=0)
    assert (between < 0.5 * means.std(axis=0)).all()


def test_probe_reads_such_an_encoder_in_the_same_company_as_embed(place, normalized):
    encoders = {"adabn": load_encoder(place / "adabn"), "any": load_encoder(place / "any")}
    fields = open_fields(manifest=place / "manifest", absent="zero")
    config = ProbeConfig(
        tasks=[{"name": "gene", "group": "plate", "min_class_size": 1}], runtime={"device": "cpu"}
    )
    samples = {"gene": draw_samples(fields.frame, task=config.tasks[0], seed=0)}
    found = embed_encoders(encoders, fields, samples=samples, config=config)
    means = found["adabn"]
    assert len(means.rows) == len(fields)
    written = vectors(normalized)
    for position, row in enumerate(means.rows):
        key = tuple(fields.frame.loc[row, ["screen", "field_id"]])
        np.testing.assert_array_equal(means.embeddings["adabn"][0, position], written[key])
    assert found["any"].embeddings["any"].shape == (3, len(fields), 16)
