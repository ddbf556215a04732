"""Every model family from plates to one report, by the command that compares them, on the tiny demo."""

import json
from pathlib import Path

import pytest

from phenoscale.operations.pipelines.families import FAMILIES
from phenoscale.schema.encoders import read_encoder_config
from phenoscale.schema.rows import read_rows
from tests.support.pipeline_runs import run_tiny

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(1800)]

TRAININGS = ("mae", "mae_fourier", "ca_mae", "mu_net", "wsl")
ARCHITECTURES = {
    "mae": "vit",
    "mae_fourier": "vit",
    "ca_mae": "channel_agnostic_vit",
    "mu_net": "mu_net",
    "wsl": "vit",
    "untrained": "vit",
    "pixel_statistics": "pixel_statistics",
}
COMPARED = tuple(ARCHITECTURES)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One run in one process: how Kubeflow chains the steps is tested on the compiled pipeline."""
    workspace = tmp_path_factory.mktemp("families") / "workspace"
    return run_tiny(workspace, "--in-process", pipeline="families", recipe="families/demo_tiny")


def _output(compared, step):
    return Path(compared.steps[step]["output"])


def test_one_command_trains_every_family_and_registers_none(compared):
    assert list(compared.steps) == [step.name for step in FAMILIES.steps]
    assert compared.summary["registered"] == ""
    families = {
        name: json.loads((_output(compared, f"pretrain_{name}") / "lineage.json").read_text())["config"]
        for name in TRAININGS
    }
    assert {name: config["model"]["family"] for name, config in families.items()} == {
        "mae": "mae",
        "mae_fourier": "mae",
        "ca_mae": "ca_mae",
        "mu_net": "mu_net",
        "wsl": "wsl",
    }
    assert families["mae"]["loss"]["alpha"] == 0.0
    assert families["mae_fourier"]["loss"]["alpha"] > 0.0


def test_encoders_of_every_architecture_go_through_one_probe_and_are_cut_at_blocks_of_their_own(compared):
    probe = _output(compared, "probe")
    found = {
        name: read_encoder_config(probe / ("encoder" if name == "mae" else f"baselines/{name}"))
        for name in COMPARED
    }
    assert {name: config.architecture for name, config in found.items()} == ARCHITECTURES
    blocks = {
        name: {row.settings["block"] for row in read_rows(probe) if row.encoder == name} for name in COMPARED
    }
    assert all(found[name].chosen_block == found[name].num_blocks - 1 for name in COMPARED)
    assert all(found[name].chosen_block in blocks[name] for name in COMPARED)
    assert blocks["pixel_statistics"] == {0} < blocks["mae"]


def test_every_encoder_has_a_map_and_is_measured_after_correction(compared):
    rows = read_rows(_output(compared, "benchmark"))
    measured = {row.encoder for row in rows if row.metric == "recall" and row.settings["step"] == "final"}
    assert measured == {*COMPARED, "oracle"}


def test_the_run_ends_with_what_each_encoder_cost_and_knows(compared):
    cost, probe, recall = compared.summary["tables"]
    assert list(cost["cells"]) == list(COMPARED)
    assert all(all(cost["cells"][name]) for name in TRAININGS), "a training's cost is recorded in full"
    assert set(probe["cells"]) >= set(COMPARED)
    assert set(recall["cells"]) >= {*COMPARED, "oracle"}


def test_the_report_shows_the_same_comparison(compared):
    html = Path(compared.summary["report"]).read_text()
    section = html.partition('<section id="families">')[2].partition("</section>")[0]
    for table in compared.summary["tables"]:
        for cells in table["cells"].values():
            assert all(cell.partition(" [")[0] in section for cell in cells)
    assert "not recorded" not in section
