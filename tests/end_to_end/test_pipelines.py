"""The pipelines that start from what is there: finished screens, a registered encoder."""

import json
from pathlib import Path

import pytest
import yaml

from phenoscale.config import Runtime
from phenoscale.recipes import find_recipe
from phenoscale.registry.config import DEFAULT_NAME
from phenoscale.registry.store import CHAMPION, Registry
from phenoscale.schema.encoders import encoder_digest
from tests.support.pipeline_runs import run_tiny

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The sections of the tiny demo that the pipelines `pretrain` and `probe` have, too."""
    demo = yaml.safe_load(find_recipe("demo_tiny").read_text())
    folder = tmp_path_factory.mktemp("recipes")
    files = {}
    for name, sections in {"pretrain": ("pretrain", "registry"), "probe": ()}.items():
        kept = {section: demo[section] for section in ("curate", "probe", *sections)}
        files[name] = folder / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(kept))
    return files


@pytest.fixture(scope="module")
def champion(first, workspace):
    """The encoder of the tiny demo, which has learned too little to become it by merit."""
    registry = Registry(Runtime(workspace=str(workspace)))
    encoder = Path(first.steps["probe"]["output"]) / "encoder"
    tags = {"encoder_digest": encoder_digest(encoder)}
    version = registry.create(DEFAULT_NAME, encoder=encoder, tags=tags, params={})
    registry.set_alias(version, alias=CHAMPION)
    return version


def _run(workspace, name, *flags, recipe):
    """Run on every finished screen of the workspace."""
    asked = ("--in-process", "--screens", str(workspace), *flags)
    return run_tiny(workspace, *asked, pipeline=name, recipe=str(recipe))


def test_a_training_on_finished_screens_finds_what_the_whole_chain_has_done_with_them(
    first, workspace, recipe
):
    found = _run(workspace, "pretrain", recipe=recipe["pretrain"])
    reused = {"curate", "pretrain", "import_untrained", "import_pixel_statistics", "probe"}
    assert set(found.steps) == {*reused, "register"}
    assert found.reused == reused
    assert all(found.digests[step] == first.digests[step] for step in reused)
    assert found.summary["registered"] == f"{DEFAULT_NAME}: the candidate was refused"


def test_the_champion_maps_every_field_of_a_finished_screen(champion, workspace):
    found = _run(workspace, "map", recipe="map/demo_tiny")
    assert list(found.steps) == ["curate", "embed_encoder", "map_encoder", "benchmark", "report"]
    lineage = json.loads((Path(found.steps["embed_encoder"]["output"]) / "lineage.json").read_text())
    assert "encoders" in Path(lineage["config"]["encoder"]).parts, "it was fetched from the registry"
    manifest = json.loads((Path(found.steps["curate"]["output"]) / "manifest.json").read_text())
    assert "210" in json.dumps(manifest), "no field is left out"
    assert Path(found.summary["report"]).is_file()


def test_a_candidate_that_does_not_hold_is_refused_on_the_same_screens(champion, first, workspace):
    encoder = f"{first.steps['pretrain']['output']}/encoder"
    found = _run(workspace, "challenge", "--candidate", encoder, recipe="challenge/demo_tiny")
    embedded = [step for step in found.steps if step.startswith("embed_")]
    assert embedded == ["embed_candidate", "embed_champion"]
    assert "refused" in found.summary["registered"]


def test_under_kubeflow_steps_that_a_run_does_not_need_hand_on_nothing(first, workspace, recipe):
    encoder = f"{first.steps['pretrain']['output']}/encoder"
    again = run_tiny(
        workspace,
        *("--screens", str(workspace / "ingest"), "--encoder", encoder),
        pipeline="probe",
        recipe=str(recipe["probe"]),
    )
    assert again.reused == {"curate", "import_untrained", "import_pixel_statistics", "probe"}
    assert again.steps["probe"]["digest"] == first.steps["probe"]["digest"]
