"""The compiled pipelines of the package are those of the checkout, and load in Kubeflow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phenoscale.compiled import compiled_pipeline
from phenoscale.operations.pipelines.compile import run_compile
from phenoscale.operations.pipelines.compile_config import CompileConfig
from phenoscale.operations.pipelines.graph import steps_of

NAMES = {
    "full": ("full", False),
    "full_simulated": ("full", True),
    "families": ("families", False),
    "families_simulated": ("families", True),
}


def _specification(name):
    return yaml.safe_load(compiled_pipeline(name).read_text())


def _step_of(task):
    """The library's name of a Kubeflow task: its parameter `step`, or its component."""
    parameters = task["inputs"]["parameters"]
    if "step" in parameters:
        return parameters["step"]["runtimeValue"]["constant"]
    return task["componentRef"]["name"].removeprefix("comp-")


def test_compiling_again_gives_the_files_of_the_package(tmp_path):
    answer = run_compile(CompileConfig(output=str(tmp_path)))
    assert sorted(Path(file).stem for file in answer.files) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / f"{name}.yaml").read_text() == compiled_pipeline(name).read_text(), (
            "components or pipelines changed: run `phenoscale compile` and commit the result"
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_pipeline_loads_in_kubeflow(name):
    code = (
        "import sys; from kfp import components; print(components.load_component_from_file(sys.argv[1]).name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(compiled_pipeline(name))], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == name.replace("_", "-")


@pytest.mark.parametrize("name", NAMES)
def test_kubeflow_chains_the_same_steps_by_the_same_edges_as_the_library(name):
    tasks = _specification(name)["root"]["dag"]["tasks"]
    edges = {
        _step_of(task): {
            _step_of(tasks[place["taskOutputArtifact"]["producerTask"]])
            for place in task["inputs"].get("artifacts", {}).values()
        }
        for task in tasks.values()
    }
    pipeline, with_simulate = NAMES[name]
    steps = steps_of(pipeline, with_simulate=with_simulate)
    known = {step.name for step in steps}
    assert edges == {step.name: {need for need in step.needs if need in known} for step in steps}


@pytest.mark.parametrize("name", NAMES)
def test_kubeflow_shows_each_step_under_its_own_name_and_caches_none(name):
    for task in _specification(name)["root"]["dag"]["tasks"].values():
        assert task["taskInfo"]["name"] == _step_of(task)
        assert not task["cachingOptions"].get("enableCache", False)


@pytest.mark.parametrize("name", NAMES)
def test_a_component_is_one_import_and_one_call_and_installs_nothing(name):
    for executor in _specification(name)["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert "python" in container["image"]
        text = " ".join(container["command"])
        assert "pip install" not in text
        body = container["command"][-1]
        assert body.count("from phenoscale") == 1
        assert body.count("run_component(") == 1


def test_compiling_without_a_checkout_is_refused_with_the_way_out(tmp_path):
    package = Path(compiled_pipeline("full")).parent.parent
    shutil.copytree(package, tmp_path / "site" / "phenoscale", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from phenoscale.operations.pipelines.compile import run_compile\n"
        "from phenoscale.operations.pipelines.compile_config import CompileConfig\n"
        "from phenoscale.errors import UserError\n"
        "try:\n    run_compile(CompileConfig())\n"
        "except UserError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "needs a checkout" in done.stdout and "clone the project" in done.stdout
