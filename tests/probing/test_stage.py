"""The probe stage: trimmed encoders, rows and the reason of the choice, the same after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from phenoscale.errors import UserError
from phenoscale.models.encoder import load_encoder
from phenoscale.probing.config import ProbeConfig
from phenoscale.probing.stage import run_probe
from phenoscale.schema.encoders import encoder_digest
from phenoscale.schema.rows import read_rows
from tests.support.embedding import save_pixel_statistics, save_tiny_encoder
from tests.support.screens import make_tiny_manifest, make_tiny_store

GENES = {
    "name": "gene",
    "label": "gene",
    "group": "experiment",
    "where": "not is_negative_control",
    "with_confounds": True,
}
PLATES = {"name": "plate", "label": "plate", "group": "well", "level": "field", "confounds": ["experiment"]}
_PROBE = """
import json, sys
from phenoscale.probing.config import ProbeConfig
from phenoscale.probing.stage import run_probe
run_probe(ProbeConfig(**json.loads(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A screen of 3 experiments, its manifest, an encoder and two baselines."""
    folder = tmp_path_factory.mktemp("probe")
    store = make_tiny_store(folder / "store", num_experiments=3, num_plates=2, num_sites=2, num_genes=4)
    make_tiny_manifest(folder / "manifest", store)
    save_tiny_encoder(folder / "encoder", seed=1)
    save_tiny_encoder(folder / "untrained", seed=2)
    save_pixel_statistics(folder / "statistics")
    return folder


def settings(place, workspace, **changes):
    given = {
        "encoder": str(place / "encoder"),
        "baselines": {
            "untrained": str(place / "untrained"),
            "pixel_statistics": str(place / "statistics"),
        },
        "manifest": str(place / "manifest"),
        "tasks": [GENES, PLATES],
        "num_resamples": 50,
        "runtime": {"workspace": str(workspace), "device": "cpu"},
    }
    return {**given, **changes}


def probe(place, workspace, **changes):
    return run_probe(ProbeConfig(**settings(place, workspace, **changes)))


@pytest.fixture(scope="module")
def probed(place, tmp_path_factory):
    return probe(place, tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def rows(probed):
    return read_rows(probed.path)


def test_every_encoder_is_cut_at_its_own_best_block(place, probed):
    record = json.loads((probed.path / "probe.json").read_text())["encoders"]
    crops = torch.randint(0, 60_000, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(
        torch.int32
    )
    for name, source, written in [
        ("trained", "encoder", "encoder"),
        ("untrained", "untrained", "baselines/untrained"),
        ("pixel_statistics", "statistics", "baselines/pixel_statistics"),
    ]:
        block = record[name]["block"]
        assert block == int(np.argmax(record[name]["by_block"]))
        trimmed = load_encoder(probed.path / written)
        assert trimmed.config.chosen_block == block == trimmed.num_blocks - 1
        full = load_encoder(place / source)
        torch.testing.assert_close(trimmed.embed(crops), full.embed_blocks(crops)[block], rtol=0, atol=0)
        assert record[name]["digest"] == encoder_digest(place / source)


def test_the_record_says_by_what_the_block_was_chosen(probed, rows):
    record = json.loads((probed.path / "probe.json").read_text())
    assert record["chosen_by"]["task"] == "gene"
    assert record["chosen_by"]["inverse_regularization"] == 0.01
    assert record["tasks"]["gene"]["classes"] == ["GENE1", "GENE2", "GENE3", "GENE4", "PLK1"]
    assert record["tasks"]["gene"]["num_folds"] == 3
    for name, found in record["encoders"].items():
        chosen = [row for row in rows if row.encoder == name and row.settings["chosen"]]
        assert len(chosen) == 1
        assert chosen[0].settings["block"] == found["block"]
        assert chosen[0].value == found["balanced_accuracy"] == max(found["by_block"])
        assert probed.summary[f"block_{name}"] == found["block"]


def test_rows_hold_every_encoder_block_strength_and_the_baselines_of_each_task(rows):
    counts = {}
    for row in rows:
        key = (row.source, row.encoder, row.settings["features"])
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        ("gene", "", "chance"): 1,
        ("gene", "", "confounds"): 2,
        ("gene", "trained", "embedding"): 6,
        ("gene", "trained", "embedding+confounds"): 6,
        ("gene", "untrained", "embedding"): 6,
        ("gene", "untrained", "embedding+confounds"): 6,
        ("gene", "pixel_statistics", "embedding"): 2,
        ("gene", "pixel_statistics", "embedding+confounds"): 2,
        ("plate", "", "chance"): 1,
        ("plate", "", "confounds"): 2,
        ("plate", "trained", "embedding"): 6,
        ("plate", "untrained", "embedding"): 6,
        ("plate", "pixel_statistics", "embedding"): 2,
    }


def test_genes_that_differ_in_brightness_are_read_from_pixel_statistics(rows):
    best = max(
        row.value
        for row in rows
        if (row.source, row.encoder, row.settings["features"]) == ("gene", "pixel_statistics", "embedding")
    )
    assert best > 0.4, "chance is 0.2"


def test_an_experiment_held_out_cannot_be_told_from_its_own_name(rows):
    alone = [row.value for row in rows if row.source == "gene" and row.settings["features"] == "confounds"]
    assert max(alone) <= 0.25, "chance is 0.2"


def test_the_experiment_narrows_down_the_plate(rows):
    alone = [row.value for row in rows if row.source == "plate" and row.settings["features"] == "confounds"]
    # two plates per experiment: knowing the experiment is right half of the time at best
    assert all(1 / 6 < value <= 0.55 for value in alone)


def test_the_same_command_again_reuses_the_output(place, probed):
    again = probe(place, probed.path.parent.parent)
    assert again.reused and again.digest == probed.digest


def test_curves_are_told_block_by_block(place, tmp_path):
    seen = []
    config = ProbeConfig(**settings(place, tmp_path, tasks=[GENES], baselines={}))
    run_probe(config, observe=lambda step, metrics: seen.append((step, *metrics)))
    assert seen == [(block, "probe/gene/trained") for block in range(3)]


def test_encoders_of_different_crop_sizes_are_probed_on_the_same_samples(place, tmp_path):
    save_tiny_encoder(tmp_path / "wide", crop_size=32)
    result = probe(place, tmp_path / "workspace", baselines={"wide": str(tmp_path / "wide")}, tasks=[GENES])
    counts = {row.encoder: row.n for row in read_rows(result.path) if row.encoder}
    assert counts["wide"] == counts["trained"]


def test_a_killed_probe_is_run_again_to_the_same_bytes(place, probed, tmp_path):
    given = settings(place, tmp_path)
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE, json.dumps(given)],
        env={**os.environ, "PYTHONPATH": str(root / "platform")},
        stderr=subprocess.DEVNULL,
    )
    while not list(tmp_path.glob("probe/*/encoder/*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("probe/*/_SUCCESS.json"))
    assert run_probe(ProbeConfig(**given)).digest == probed.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"tasks": [{"label": "moa"}]},
            "label 'moa' is no column of the manifest's fields; choose .*gene",
        ),
        ({"tasks": [{"where": "gene == 'none'"}]}, "selects none"),
        ({"tasks": [{"label": "plate", "group": "plate"}]}, "group by something finer"),
        ({"encoder": ""}, "--encoder"),
        ({"manifest": ""}, "--manifest"),
    ],
)
def test_what_cannot_be_probed_is_refused_before_anything_is_embedded(place, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        probe(place, tmp_path, **changes)
    assert not list(tmp_path.rglob("encoder.safetensors"))


def test_a_baseline_of_other_channels_is_refused_by_name(place, tmp_path):
    save_pixel_statistics(tmp_path / "other", channels=("DNA", "AGP"))
    with pytest.raises(UserError, match=r"encoder other\) has the channels .*'ER', 'RNA'.*'DNA', 'AGP'"):
        probe(place, tmp_path / "workspace", baselines={"other": str(tmp_path / "other")})
