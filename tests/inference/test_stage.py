"""The embed stage: the same table however often it is killed, and none from input that does not fit."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from phenoscale.config import parse_config
from phenoscale.errors import UserError
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.job import open_job
from phenoscale.inference.stage import run_embed
from phenoscale.schema.embeddings import read_embeddings
from phenoscale.schema.encoders import encoder_digest
from phenoscale.screens.store import open_screen
from tests.support.embedding import save_pixel_statistics, save_tiny_encoder
from tests.support.screens import make_tiny_manifest, make_tiny_store

_EMBED = """
import json, sys
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.stage import run_embed
run_embed(EmbedConfig(**json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A screen of 2 experiments with 4 plates each, its manifest and an encoder."""
    folder = tmp_path_factory.mktemp("embed")
    store = make_tiny_store(folder / "store", num_experiments=2, num_plates=4, num_sites=2)
    make_tiny_manifest(folder / "manifest", store)
    save_tiny_encoder(folder / "encoder", embedding_dim=64)
    return folder


def settings(place, workspace, **changes):
    given = {
        "encoder": str(place / "encoder"),
        "manifest": str(place / "manifest"),
        "runtime": {"workspace": str(workspace), "device": "cpu"},
    }
    return {**given, **changes}


def embed(place, workspace, **changes):
    return run_embed(EmbedConfig(**settings(place, workspace, **changes)))


@pytest.fixture(scope="module")
def embedded(place, tmp_path_factory):
    return embed(place, tmp_path_factory.mktemp("workspace"))


def test_fields_and_wells_are_written_with_the_encoder_that_made_them(place, embedded):
    fields, wells = (read_embeddings(embedded.path / name) for name in ("fields", "wells"))
    assert len(fields) == 2 * len(wells) == embedded.summary["num_fields"]
    assert (fields.level, wells.level) == ("field", "well")
    assert fields.encoder == wells.encoder == encoder_digest(place / "encoder")
    assert (fields.block, fields.pooling, fields.dimensions) == (2, "mean_patch_tokens", 64)
    assert (wells.frame["num_crops"] == 8).all()
    assert {"perturbation", "is_negative_control", "guide", "cell_type", "split", "quality"} <= set(
        wells.frame
    )


def test_each_well_is_the_mean_of_its_fields_in_the_written_tables(embedded):
    fields, wells = (read_embeddings(embedded.path / name) for name in ("fields", "wells"))
    key = ["experiment", "plate", "well"]
    expected = fields.frame[key].copy()
    expected["vector"] = list(fields.embeddings.astype(np.float64))
    means = expected.groupby(key)["vector"].apply(lambda vectors: np.mean(np.stack(list(vectors)), axis=0))
    found = [means[tuple(row)] for row in wells.frame[key].itertuples(index=False)]
    np.testing.assert_allclose(wells.embeddings, np.stack(found), atol=1e-6)


def test_a_plates_rows_stand_in_the_order_of_its_store(place, embedded):
    table = read_embeddings(embedded.path / "fields").frame
    stored = open_screen(place / "store").wells
    for plate, rows in table.groupby(["experiment", "plate"]):
        expected = stored[(stored["experiment"] == plate[0]) & (stored["plate"] == plate[1])]
        assert rows["field_id"].tolist() == expected["field_id"].tolist()


def test_the_same_command_again_reuses_the_output(place, embedded):
    again = embed(place, embedded.path.parent.parent)
    assert again.reused
    assert again.digest == embedded.digest


def test_whole_stores_give_the_vectors_of_a_manifest_that_selects_all(place, embedded, tmp_path):
    config = EmbedConfig(
        encoder=str(place / "encoder"),
        stores=[str(place / "store")],
        runtime={"workspace": str(tmp_path), "device": "cpu"},
    )
    from_stores = read_embeddings(run_embed(config).path / "wells")
    np.testing.assert_array_equal(from_stores.embeddings, read_embeddings(embedded.path / "wells").embeddings)


def test_only_the_levels_that_were_asked_for_are_written(place, tmp_path):
    path = embed(place, tmp_path, outputs=("well",)).path
    assert (path / "wells").is_dir()
    assert not (path / "fields").exists()


def test_bfloat16_is_near_float32_and_another_output(place, embedded, tmp_path):
    rough = embed(place, tmp_path, precision="bf16")
    assert rough.key != embedded.key
    exact = read_embeddings(embedded.path / "wells").embeddings
    found = read_embeddings(rough.path / "wells").embeddings
    assert 0 < np.abs(found - exact).max() < 0.05


def test_pixel_statistics_go_through_the_same_door(place, tmp_path):
    save_pixel_statistics(tmp_path / "statistics")
    result = embed(place, tmp_path / "workspace", encoder=str(tmp_path / "statistics"))
    assert read_embeddings(result.path / "wells").dimensions == 15


_PUBLISHED = ".parts/*.json"


def _wait_for_plates(folder, *, num_plates, process):
    for _ in itertools.repeat(None, 60_000):
        if len(list(folder.glob(f"embed/*/{_PUBLISHED}"))) >= num_plates:
            return
        assert process.poll() is None, f"embed ended with {process.returncode} before it could be killed"
        time.sleep(0.001)
    raise AssertionError("no plate was written")


@pytest.mark.parametrize("num_plates", [1, 4])
def test_a_killed_run_goes_on_where_it_stopped_and_ends_alike(place, embedded, tmp_path, num_plates):
    given = settings(place, tmp_path)
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _EMBED, json.dumps(given)],
        env={**os.environ, "PYTHONPATH": str(root / "platform")},
        stderr=subprocess.DEVNULL,
    )
    _wait_for_plates(tmp_path, num_plates=num_plates, process=process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("embed/*/_SUCCESS.json"))
    (attempt,) = tmp_path.glob("embed/*.attempt-1")
    records = [json.loads(path.read_text()) for path in tmp_path.glob(f"embed/*/{_PUBLISHED}")]
    assert num_plates <= len(records) < 8
    written = {name: (attempt / name).stat().st_mtime_ns for record in records for name in record["names"]}
    (attempt / "wells" / ".write-1-0").write_bytes(b"half a file of the killed run")
    resumed = run_embed(EmbedConfig(**given))
    assert resumed.digest == embedded.digest
    assert {name: (resumed.path / name).stat().st_mtime_ns for name in written} == written
    assert not list(resumed.path.rglob(".write-*"))


def test_progress_is_told_plate_by_plate(place, tmp_path):
    seen = []
    config = EmbedConfig(**settings(place, tmp_path))
    run_embed(config, observe=lambda step, metrics: seen.append((step, dict(metrics))))
    assert [step for step, _ in seen] == list(range(1, 9))
    assert seen[-1][1] == {"embed/shards": 8.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("DNA", "ER", "AGP")}, r"\['DNA', 'ER', 'RNA'\].*\['DNA', 'ER', 'AGP'\].*absent"),
        ({"channels": ("ER", "DNA", "RNA")}, "match_channels_by_name"),
        ({"crop_size": 48}, "holds no crop of 48 px"),
        ({"intensity_scale": 255.0}, "intensity_scale"),
    ],
)
def test_an_encoder_that_does_not_fit_the_screen_leaves_nothing_to_accept(place, tmp_path, changes, message):
    save_tiny_encoder(tmp_path / "encoder", **changes)
    with pytest.raises(UserError, match=message):
        embed(place, tmp_path / "workspace", encoder=str(tmp_path / "encoder"))
    assert not list((tmp_path / "workspace").rglob("_SUCCESS.json"))


def test_channels_in_another_order_are_read_by_name_on_request(place, tmp_path):
    save_pixel_statistics(tmp_path / "plain")
    save_pixel_statistics(tmp_path / "turned", channels=("RNA", "DNA", "ER"))
    plain = embed(place, tmp_path / "workspace", encoder=str(tmp_path / "plain"))
    turned = embed(
        place, tmp_path / "workspace", encoder=str(tmp_path / "turned"), match_channels_by_name=True
    )
    ordered = read_embeddings(plain.path / "wells").embeddings.reshape(-1, 3, 5)[:, [2, 0, 1]]
    np.testing.assert_array_equal(
        read_embeddings(turned.path / "wells").embeddings, ordered.reshape(len(ordered), 15)
    )


def test_an_encoder_folder_without_weights_is_refused(place, tmp_path):
    save_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "encoder" / "encoder.safetensors").unlink()
    with pytest.raises(UserError, match="copy the whole encoder folder"):
        embed(place, tmp_path / "workspace", encoder=str(tmp_path / "encoder"))


def test_a_folder_that_is_no_encoder_is_refused(place, tmp_path):
    with pytest.raises(UserError, match="holds no encoder"):
        embed(place, tmp_path / "workspace", encoder=str(place / "store"))


def test_an_encoder_with_broken_weights_is_named_with_the_fields(place, tmp_path):
    save_tiny_encoder(tmp_path / "encoder", layer_scale_init=float("inf"))
    with pytest.raises(UserError, match="embeddings are NaN or infinite: field"):
        embed(place, tmp_path / "workspace", encoder=str(tmp_path / "encoder"))


def test_a_manifest_and_stores_together_are_refused():
    with pytest.raises(UserError, match="reads one of them"):
        parse_config(EmbedConfig, {"manifest": "m", "stores": ["s"]}, source="flags")


@pytest.mark.parametrize(("given", "missing"), [({}, "encoder"), ({"encoder": "e"}, "manifest")])
def test_what_is_missing_is_named_with_its_flag(place, given, missing):
    given = {name: str(place / "encoder") for name in given}
    with pytest.raises(UserError, match=f"--{missing}"):
        run_embed(EmbedConfig(**given))


def test_plates_of_equal_names_in_two_screens_are_two_shards(place, tmp_path):
    other = make_tiny_store(tmp_path, num_experiments=2, num_plates=4, num_sites=2, screen="other")
    config = EmbedConfig(**settings(place, tmp_path, manifest="", stores=[str(place / "store"), str(other)]))
    job = open_job(config)
    assert len({shard.part for shard in job.shards}) == len(job.shards) == 16
    assert sorted(np.concatenate(list(job.rows.values()))) == list(range(len(job.fields)))
