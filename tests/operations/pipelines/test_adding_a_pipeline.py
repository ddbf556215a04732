"""A pipeline is one new file and one row of the table: config, compiled YAML and run come out of it."""

import yaml

from phenoscale.config import parse_config
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.run import run_pipeline
from pipelines.compiler import compile_pipeline
from tests.support.plates import make_plate_files
from tests.support.run_store import tracked_runtime

NEW_FILE = '''
"""Read a screen twice, and choose fields of it."""

from phenoscale.operations.pipelines.value import At, Given, Parameter, Pipeline, Place, Section, Step

THROW_AWAY = Pipeline(
    name="throw_away",
    summary="read a screen and choose fields",
    description="Read a screen and choose fields, for a test alone.",
    steps=(
        Step("ingest", "again", section="reading", locations={"path": Given("plates")}),
        Step("curate", locations={"stores": (At("ingest_again"),)}),
    ),
    sections={
        "reading": Section("ingest", defaults={"screen": "thrown"}, fixed={"source": "table"}),
        "curate": Section("curate", defaults={"quality": {"max_focus_deviation": None}}),
    },
    places={"plates": Place("folder of the images")},
    parameters=(Parameter("plates", ("plates",)),),
)
'''


def test_one_file_and_one_row_make_a_pipeline(workspace, tmp_path, monkeypatch):
    (tmp_path / "throw_away.py").write_text(NEW_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(PIPELINES, "throw_away", "throw_away:THROW_AWAY")
    pipeline = find_pipeline("throw_away")

    make_plate_files(tmp_path / "plates", size=32)
    data = {
        "plates": str(tmp_path / "plates"),
        "in_process": True,
        "curate": {"split_by": "plate", "require_negative_controls": False},
        "runtime": tracked_runtime(workspace),
    }
    config = parse_config(config_class(pipeline), data, source="test")
    assert (config.name, config.reading.screen) == ("throw_away", "thrown")
    assert plan_pipeline(config).num_left == 2

    specification = yaml.safe_load(compile_pipeline(pipeline, folder=tmp_path).read_text())
    tasks = specification["root"]["dag"]["tasks"]
    assert set(tasks) == {"resolve", "ingest-again", "curate"}
    store = tasks["curate"]["inputs"]["artifacts"]["store_again"]
    assert store["taskOutputArtifact"]["producerTask"] == "ingest-again"
    assert "plates" in specification["root"]["inputDefinitions"]["parameters"]

    summary = run_pipeline(config)
    assert [(step.step, step.reused) for step in summary.steps] == [
        ("ingest_again", False),
        ("curate", False),
    ]
    assert plan_pipeline(config).num_left == 0
