"""The lineage verb: the tree that a person reads."""

import json
import shutil

import pytest

from phenoscale.config import Config, Runtime, setting
from phenoscale.errors import UserError
from phenoscale.operations.inspection.config import LineageConfig
from phenoscale.operations.inspection.lineage import run_lineage
from phenoscale.stages import run_stage


class SmallConfig(Config):
    number: int = setting(0, help="number")
    runtime: Runtime = Runtime()


@pytest.fixture
def outputs(workspace):
    """A store, two embeddings of it, and a benchmark of both."""
    (workspace / "plates.csv").write_text("plate\n")

    def stage(name, *, inputs, number=0):
        config = SmallConfig(number=number, runtime=Runtime(workspace=str(workspace)))

        def build(output):
            folder = output.folder
            (folder / "out").write_text(f"{name} {number}")
            return {}

        return run_stage(name, entry="phenoscale.errors", config=config, inputs=inputs, build=build).path

    store = stage("ingest", inputs={"table": workspace / "plates.csv"})
    embeddings = [stage("embed", inputs={"store": store}, number=number) for number in (1, 2)]
    rows = stage("benchmark", inputs={"embeddings": embeddings, "genes": workspace / "plates.csv"})
    return {"store": store, "embeddings": embeddings, "rows": rows}


def _lines(target, workspace, direction="upstream"):
    runtime = Runtime(workspace=str(workspace))
    tree = run_lineage(LineageConfig(target=str(target), direction=direction, runtime=runtime))
    return [_head(line) if "─" in line else line for line in tree.text().splitlines()]


def _head(line):
    """The branches, the input's name and the stage of a line, without key, place and digest."""
    branches, _, rest = line.partition("─ ")
    return f"{branches}─ {' '.join(rest.split()[:2])}" + (" (shown above)" if "(shown above)" in line else "")


def test_upstream_is_a_tree_down_to_the_raw_data(outputs, workspace):
    lines = _lines(outputs["rows"], workspace)
    assert lines[0].startswith("benchmark ")
    assert lines[1:] == [
        "├─ embeddings[0]: embed",
        "│  └─ store: ingest",
        "│     └─ table: data",
        "├─ embeddings[1]: embed",
        "│  └─ store: ingest (shown above)",
        "└─ genes: data",
    ]


def test_downstream_is_a_tree_of_everything_made_from_an_output(outputs, workspace):
    lines = _lines(outputs["store"], workspace, "downstream")
    assert lines[0].startswith("ingest ")
    assert lines[1:] == [
        "├─ store: embed",
        "│  └─ embeddings[0]: benchmark",
        "└─ store: embed",
        "   └─ embeddings[1]: benchmark (shown above)",
    ]


def test_a_tree_names_places_and_digests(outputs, workspace):
    runtime = Runtime(workspace=str(workspace))
    text = run_lineage(LineageConfig(target=str(outputs["rows"] / "out"), runtime=runtime)).text()
    assert str(outputs["store"]) in text and f"{workspace}/plates.csv  digest " in text


def test_lineage_needs_a_target_that_has_one(workspace):
    runtime = Runtime(workspace=str(workspace))
    with pytest.raises(UserError, match="lineage needs --target"):
        run_lineage(LineageConfig(runtime=runtime))
    with pytest.raises(UserError, match="has no lineage"):
        run_lineage(LineageConfig(target=str(workspace), runtime=runtime))


@pytest.fixture
def registered(outputs, workspace, monkeypatch):
    """The first embeddings, registered as if they were an encoder, on a real registry in the workspace."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from phenoscale.registry.store import Registry

    folder = outputs["embeddings"][0]
    tags = {"stage_key": json.loads((folder / "lineage.json").read_text())["key"]}
    registry = Registry(Runtime(workspace=str(workspace)))
    for name, given in (("ours", tags), ("foreign", {})):
        version = registry.create(name, encoder=folder, tags=given, params={})
        registry.set_alias(version, alias="champion")
    return folder


def test_a_registered_encoder_has_the_lineage_of_the_output_it_was_taken_from(registered, workspace):
    assert _lines("models:/ours@champion", workspace) == _lines(registered, workspace)
    with pytest.raises(UserError, match="does not say which stage made it"):
        _lines("models:/foreign@champion", workspace)
    with pytest.raises(UserError, match="points at nothing in the registry"):
        _lines("models:/ours@candidate", workspace)
    shutil.rmtree(registered)
    with pytest.raises(UserError, match=r"holds no output with key .*--runtime\.workspace"):
        _lines("models:/ours@champion", workspace)
