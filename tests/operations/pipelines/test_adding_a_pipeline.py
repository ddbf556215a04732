"""A pipeline is one new file and one row of the table: config, compiled YAML and run come out of it."""

import yaml

from phenoscale.config import parse_config
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.operations.planning.plan import plan_pipeline
from phenoscale.operations.running.run import run_pipeline
from pipelines.compiler import compile_pipeline
from tests.support.run_store import tracked_runtime

NEW_FILE = '''
"""Draw a screen and read it."""

from phenoscale.operations.pipelines.links import SCREEN_SECTIONS, is_simulated
from phenoscale.operations.pipelines.value import At, Parameter, Pipeline, Section, Step

THROW_AWAY = Pipeline(
    name="throw_away",
    summary="draw a screen and read it",
    description="Draw a screen and read it, for a test alone.",
    steps=(
        Step("simulate", is_needed=is_simulated),
        Step("ingest", "again", section="reading", locations={"path": At("simulate")}),
    ),
    sections={
        "simulate": SCREEN_SECTIONS["simulate"],
        "reading": Section("ingest", defaults={"screen": "thrown"}, fixed={"intensity_scale": 65535.0}),
    },
    parameters=(Parameter("fields", ("reading.path",)),),
    tables="throw_away:tables",
)


def tables(results):
    return ()
'''
TINY = {
    "biology": {"num_modules": 1, "num_unexpressed_genes": 1, "guides_per_gene": 1},
    "layout": {
        "num_experiments": 1,
        "rows": 4,
        "columns": 8,
        "negative_controls_per_plate": 4,
        "positive_controls_per_plate": 1,
        "field_size_px": 32,
    },
}


def test_one_file_and_one_row_make_a_pipeline(workspace, tmp_path, monkeypatch):
    (tmp_path / "throw_away.py").write_text(NEW_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(PIPELINES, "throw_away", "throw_away:THROW_AWAY")
    pipeline = find_pipeline("throw_away")

    data = {"simulate": TINY, "in_process": True, "runtime": tracked_runtime(workspace)}
    config = parse_config(config_class(pipeline), data, source="test")
    assert (config.name, config.reading.screen) == ("throw_away", "thrown")
    assert plan_pipeline(config).num_left == 2

    specification = yaml.safe_load(compile_pipeline(pipeline, folder=tmp_path).read_text())
    tasks = specification["root"]["dag"]["tasks"]
    assert set(tasks) == {"resolve", "simulate", "ingest-again"}
    images = tasks["ingest-again"]["inputs"]["artifacts"]["images"]
    assert images["taskOutputArtifact"]["producerTask"] == "simulate"
    assert "fields" in specification["root"]["inputDefinitions"]["parameters"]

    summary = run_pipeline(config)
    assert [(step.step, step.reused) for step in summary.steps] == [
        ("simulate", False),
        ("ingest_again", False),
    ]
    assert plan_pipeline(config).num_left == 0
