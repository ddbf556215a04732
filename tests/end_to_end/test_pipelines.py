"""The pipelines that start from what is there: finished screens, a registered encoder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phenoscale.recipes import find_recipe
from tests.support.pipeline_runs import environment, run_tiny

pytestmark = [pytest.mark.ranks, pytest.mark.timeout(900)]

# One process for all: most of a tiny run is the start of its processes.
PROGRAM = """
import json, sys
from pathlib import Path
from phenoscale.config import Runtime, load_config
from phenoscale.config.digests import plain
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.operations.running.run import run_pipeline
from phenoscale.registry.store import CHAMPION, Registry
from phenoscale.schema.encoders import encoder_digest

asked = json.loads(sys.argv[1])
encoder = Path(asked["champion"])
registry = Registry(Runtime(workspace=asked["workspace"]))
tags = {"encoder_digest": encoder_digest(encoder)}
version = registry.create("phenoscale-encoder", encoder=encoder, tags=tags, params={})
registry.set_alias(version, alias=CHAMPION)
answers = {}
for name, (file, flags) in asked["runs"].items():
    flags = {**flags, "in_process": True, "runtime.workspace": asked["workspace"]}
    config = load_config(config_class(find_pipeline(name)), Path(file), flags=flags)
    answers[name] = plain(run_pipeline(config))
print(json.dumps(answers))
"""


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
def runs(first, workspace, recipe):
    """Runs of `pretrain`, `map` and `challenge` after that of `full`, in one process."""
    trained = f"{first.steps['pretrain']['output']}/encoder"
    screens = {"screens": str(workspace)}
    asked = {
        "workspace": str(workspace),
        "champion": f"{first.steps['probe']['output']}/encoder",
        "runs": {
            "pretrain": (str(recipe["pretrain"]), screens),
            "map": (str(find_recipe("map/demo_tiny")), screens),
            "challenge": (str(find_recipe("challenge/demo_tiny")), {**screens, "candidate": trained}),
        },
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    return {
        name: {step["step"]: step for step in answer["steps"]} | {"": answer}
        for name, answer in answers.items()
    }


def test_a_training_on_finished_screens_finds_what_the_whole_chain_has_done_with_them(runs, first):
    steps = runs["pretrain"]
    assert set(steps) - {""} == {
        "curate",
        "pretrain",
        "import_untrained",
        "import_pixel_statistics",
        "probe",
        "register",
    }
    for step in ("curate", "pretrain", "probe"):
        assert steps[step]["digest"] == first.steps[step]["digest"]
        assert steps[step]["reused"]
    assert "phenoscale-encoder: the candidate was refused" in steps[""]["registered"]


def test_the_champion_maps_every_field_of_a_finished_screen(runs, first):
    steps = runs["map"]
    assert list(steps)[:-1] == ["curate", "embed_encoder", "map_encoder", "benchmark", "report"]
    lineage = json.loads((Path(steps["embed_encoder"]["output"]) / "lineage.json").read_text())
    assert "encoders" in Path(lineage["config"]["encoder"]).parts, "it was fetched from the registry"
    manifest = json.loads((Path(steps["curate"]["output"]) / "manifest.json").read_text())
    assert "210" in json.dumps(manifest), "no field is left out"
    assert Path(steps[""]["report"]).is_file()


def test_a_candidate_that_does_not_hold_is_refused_with_its_gates_on_the_same_screens(runs):
    steps = runs["challenge"]
    embedded = [step for step in steps if step.startswith("embed_")]
    assert embedded == ["embed_candidate", "embed_champion"]
    assert "refused" in steps[""]["registered"]
    assert steps["curate"]["digest"] == runs["map"]["curate"]["digest"]


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
