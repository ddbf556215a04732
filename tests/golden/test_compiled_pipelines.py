"""The compiled pipelines of the package are those of the checkout, and load in Kubeflow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from phenoscale.compiled import compiled_pipeline
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.compile import run_compile
from phenoscale.operations.pipelines.compile_config import CompileConfig
from phenoscale.operations.pipelines.parameters import page_fields
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline


def _specification(name):
    return yaml.safe_load(compiled_pipeline(name).read_text())


def _tasks(name):
    """The tasks of a compiled pipeline, by the name that Kubeflow shows."""
    tasks = _specification(name)["root"]["dag"]["tasks"]
    return {task["taskInfo"]["name"]: task for task in tasks.values()}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return folder, run_compile(CompileConfig(output=str(folder)))


def test_compiling_again_gives_the_files_of_the_package(compiled):
    folder, answer = compiled
    assert [Path(file).stem for file in answer.files] == list(PIPELINES)
    for name in PIPELINES:
        assert (folder / f"{name}.yaml").read_text() == compiled_pipeline(name).read_text(), (
            "components or pipelines changed: run `phenoscale compile` and commit the result"
        )
    assert {path.stem for path in compiled_pipeline("full").parent.glob("*.yaml")} == set(PIPELINES)


def test_one_pipeline_can_be_compiled_alone_and_an_unknown_one_is_refused(tmp_path):
    (file,) = run_compile(CompileConfig(pipeline="probe", output=str(tmp_path))).files
    assert Path(file).read_text() == compiled_pipeline("probe").read_text()
    with pytest.raises(UserError, match="no pipeline 'prob'"):
        run_compile(CompileConfig(pipeline="prob", output=str(tmp_path)))


def test_every_compiled_pipeline_loads_in_kubeflow():
    code = (
        "import sys; from kfp import components\n"
        "for file in sys.argv[1:]: print(components.load_component_from_file(file).name)"
    )
    files = [str(compiled_pipeline(name)) for name in PIPELINES]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"phenoscale-{name}" for name in PIPELINES]


@pytest.mark.parametrize("name", PIPELINES)
def test_kubeflow_shows_every_step_under_its_own_name_after_those_that_it_reads_and_caches_none(name):
    tasks = _tasks(name)
    shown = {task["componentRef"]["name"].removeprefix("comp-"): step for step, task in tasks.items()}
    edges = {
        step: {
            shown[place["taskOutputArtifact"]["producerTask"]]
            for place in task["inputs"].get("artifacts", {}).values()
        }
        for step, task in tasks.items()
    }
    steps = find_pipeline(name).steps
    assert edges == {"resolve": set(), **{step.name: set(step.needs) for step in steps}}
    assert not any(task["cachingOptions"].get("enableCache", False) for task in tasks.values())


@pytest.mark.parametrize("name", PIPELINES)
def test_only_the_first_task_takes_what_a_person_filled_and_hands_on_an_address(name):
    for step, task in _tasks(name).items():
        sources = {
            parameter: next(iter(source)) for parameter, source in task["inputs"]["parameters"].items()
        }
        if step == "resolve":
            fields = {field.name for field in page_fields(find_pipeline(name))}
            assert set(sources) == {*fields, "kubeflow_run"}
        else:
            assert sources == {"config": "taskOutputParameter", "run": "taskOutputParameter"}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_field_of_kubeflows_page_has_a_default_and_a_description(name):
    parameters = _specification(name)["root"]["inputDefinitions"]["parameters"]
    silent = [
        field
        for field, facts in parameters.items()
        if "defaultValue" not in facts or len(facts.get("description", "")) < len("seed of it")
    ]
    assert silent == []


@pytest.mark.parametrize("name", PIPELINES)
def test_a_component_is_one_import_and_one_call_and_installs_nothing(name):
    for executor in _specification(name)["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert "python" in container["image"]
        text = " ".join(container["command"])
        assert "pip install" not in text
        body = container["command"][-1]
        assert body.count("from phenoscale") == 1
        assert body.count("run_component(") + body.count("run_resolve(") == 1


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
