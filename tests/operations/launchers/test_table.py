"""Which launcher runs a stage, and that a new one is a file and a line."""

import pytest

from phenoscale.curation.config import CurateConfig
from phenoscale.errors import UserError
from phenoscale.operations.execute import execute
from phenoscale.operations.launchers import in_process, processes
from phenoscale.operations.launchers.table import LAUNCHERS, find_launcher
from phenoscale.operations.stage_table import find_stage
from phenoscale.stages import StageResult
from phenoscale.training.config import PretrainConfig


def launch(stage, config, *, observe):
    """A launcher of somebody else's: it has the stage run in a place that is none."""
    observe(1, {"wells": 3.0})
    return StageResult(stage, "key", "nowhere", "digest", reused=True, seconds=0.0, summary={})


@pytest.fixture
def elsewhere(monkeypatch):
    """The one line that adds it."""
    monkeypatch.setitem(LAUNCHERS, "elsewhere", f"{__name__}:launch")


@pytest.mark.usefixtures("elsewhere")
def test_a_new_launcher_is_a_file_and_a_line(tmp_path):
    runtime = {"launcher": "elsewhere", "workspace": str(tmp_path / "workspace")}
    result = execute("curate", CurateConfig(stores=["anywhere"], runtime=runtime))
    assert (result.stage, result.path) == ("curate", "nowhere")


@pytest.mark.parametrize(
    ("stage", "runtime", "expected"),
    [
        ("pretrain", {}, in_process.launch),
        ("pretrain", {"num_processes": 2}, processes.launch),
        ("pretrain", {"num_processes": 2, "launcher": "in_process"}, in_process.launch),
        # a pipeline's steps share a runtime, and only some of them are several processes' work
        ("curate", {"num_processes": 2}, in_process.launch),
        ("curate", {"launcher": "processes"}, processes.launch),
    ],
)
def test_the_config_chooses_the_launcher(stage, runtime, expected):
    config = find_stage(stage).load_config_class()(runtime=runtime)
    assert find_launcher(stage, config) is expected


def test_a_rank_of_something_else_launches_nothing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    config = PretrainConfig(runtime={"num_processes": 4})
    assert find_launcher("pretrain", config) is in_process.launch


def test_an_unknown_launcher_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"no launcher 'slurm'; .* in_process, processes"):
        find_launcher("pretrain", PretrainConfig(runtime={"launcher": "slurm"}))


def test_a_stage_of_one_process_is_not_run_by_several(tmp_path):
    config = CurateConfig(runtime={"launcher": "processes", "workspace": str(tmp_path)})
    with pytest.raises(UserError, match="stage curate runs in one process"):
        execute("curate", config)
