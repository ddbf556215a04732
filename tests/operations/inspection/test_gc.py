"""What `gc` removes and what it keeps, on both kinds of workspace."""

import json
import os
import time

import pytest

from phenoscale.config import Config, Runtime, setting
from phenoscale.errors import RetryError, UserError
from phenoscale.operations.inspection.config import GcConfig
from phenoscale.operations.inspection.gc import run_gc
from phenoscale.registry.config import RegisterConfig
from phenoscale.registry.stage import run_register
from phenoscale.stages import OutputAddress, open_output, open_workspace, run_stage
from phenoscale.stages.lease import hold_lease
from tests.support.pipeline_outputs import encoder_config, write_probe
from tests.support.run_store import first_use


class MadeConfig(Config):
    """A stage that makes a file of plates."""

    name: str = setting(help="name")
    runtime: Runtime = Runtime()


class Work:
    """A workspace with outputs of several stages and a run store."""

    def __init__(self, uri, tracking_uri):
        self.runtime = Runtime(workspace=uri, tracking_uri=tracking_uri)
        self.storage = open_workspace(uri).storage

    def make(self, stage, *inputs, part="", write=None):
        """Run a stage; `part` is a plate, taken over where there is one."""

        def build(output):
            request = f"request-{part}"
            if part and not output.adopt(part, request=request):
                (output.folder / part).write_text("pixels" * 1000)
                output.publish(part, [part], request=request)
            if write:
                write(output.folder)
            return {}

        return run_stage(
            stage,
            entry="phenoscale.schema.rows",
            config=MadeConfig(name=part, runtime=self.runtime),
            inputs={"from": [result.path for result in inputs]},
            build=build,
        )

    def note_run(self, run, *results):
        """Leave the records of a run."""
        for number, result in enumerate(results):
            record = json.dumps({"key": result.key, "path": "anywhere"}).encode()
            self.storage.write_bytes(f"runs/{run}/step{number}/result.json", record)

    def gc(self, **settings):
        """Names of what is found, or with `delete` removed."""
        report = run_gc(GcConfig(runtime=self.runtime, **settings))
        return sorted(found.name for found in report.garbage)

    def has(self, result):
        return self.storage.exists(f"{_name(result)}/_SUCCESS.json")


def _name(result):
    return f"{result.stage}/{result.path.name}"


@pytest.fixture(params=["local folder", "s3"])
def work(request, tmp_path):
    uri = str(tmp_path / "work") if request.param == "local folder" else request.getfixturevalue("s3_uri")
    (tmp_path / "mlflow.db").write_bytes(first_use().database)
    return Work(uri, f"sqlite:///{tmp_path}/mlflow.db")


def test_nothing_is_removed_without_delete_and_what_no_run_reaches_is_with_it(work):
    store = work.make("ingest", part="a")
    used, idle = work.make("map", store), work.make("map", store, part="x")
    work.note_run("20260101-000000", used)
    assert work.gc() == [_name(idle)]
    assert work.has(idle)
    assert work.gc(delete=True) == [_name(idle)]
    assert (work.has(store), work.has(used), work.has(idle)) == (True, True, False)
    assert work.gc() == []
    assert not list(work.storage.list(f"{_name(idle)}"))


def test_a_report_keeps_everything_that_it_was_made_from(work):
    store = work.make("ingest", part="a")
    work.make("report", work.make("map", store))
    assert work.gc() == []


def test_only_the_newest_runs_count_when_they_are_asked_for(work):
    old, new = work.make("ingest", part="a"), work.make("ingest", part="b")
    work.note_run("20260101-000000", old)
    work.note_run("20260102-000000", new)
    assert work.gc() == []
    assert work.gc(keep_runs=1) == [_name(old)]


def test_an_output_whose_plate_another_one_took_over_is_kept_where_that_is_a_reference(work):
    first = work.make("ingest", part="a")
    grown = work.make("grow", part="a")
    work.note_run("20260101-000000", grown)
    is_remote = open_workspace(work.runtime.workspace).is_remote
    assert work.gc(delete=True) == ([] if is_remote else [_name(first)])
    assert work.storage.exists(f"{_name(first if is_remote else grown)}/a")


def test_parts_of_a_removed_output_are_not_looked_for_any_more(work):
    first = work.make("ingest", part="a")
    work.gc(delete=True)
    assert not list(work.storage.list("part-requests/"))
    assert work.make("grow", part="a").digest == first.digest


def test_unfinished_outputs_attempts_and_stale_leases_go(work):
    def fail(folder):
        (folder / "scratch").write_text("half")
        raise UserError("no")

    with pytest.raises(UserError):
        work.make("ingest", part="a", write=fail)
    (unfinished, attempt) = work.gc(delete=True)
    assert attempt.startswith(f"{unfinished}.attempt-")
    assert not [info.key for info in work.storage.list("ingest/")]
    assert not list((open_workspace(work.runtime.workspace).root / "ingest").glob("*attempt*"))


def test_what_a_killed_writer_left_goes_after_a_day(work):
    folder = open_workspace(work.runtime.workspace).root / "part-requests"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".write-1-a").write_bytes(b"half")
    (folder / ".write-2-b").write_bytes(b"half")
    a_day_ago = time.time() - 90_000
    os.utime(folder / ".write-1-a", (a_day_ago, a_day_ago))
    assert "part-requests/.write-1-a" in work.gc(delete=True)
    assert [path.name for path in folder.glob(".write-*")] == [".write-2-b"]


def test_while_a_stage_is_being_built_nothing_is_removed(work):
    idle = work.make("map", part="x")
    with hold_lease(work.storage, "ingest/0123456789abcdef0123", stage="ingest"):
        assert work.gc() == [_name(idle)]
        with pytest.raises(RetryError, match=r"ingest/0123456789abcdef0123 .*is being built"):
            work.gc(delete=True)
    assert work.has(idle)


def test_a_share_that_is_being_built_keeps_its_output_and_what_a_dead_one_left_goes(work):
    name = "embed/0123456789abcdef0123"
    with open_output(OutputAddress(work.runtime.workspace, name, "sources")) as output:
        (output.folder / "a").write_text("pixels")
        output.publish("a", ["a"])
        assert work.gc() == []
        with pytest.raises(RetryError, match=rf"{name}.share-\w+ .*is being built"):
            work.gc(delete=True)
    (open_workspace(work.runtime.workspace).root / f"{name}.share-dead").mkdir()
    assert work.gc(delete=True) == [name, f"{name}.share-dead"]
    assert not [info.key for info in work.storage.list("embed/")]


def test_a_registry_that_is_named_and_not_there_stops_the_search(work, tmp_path):
    work.make("map", part="x")
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(UserError, match=r"mlflow.db': there is no such file"):
        work.gc()


def test_what_a_registered_encoder_was_made_from_is_kept(work):
    raw = work.make("pretrain", part="a")
    probed = work.make(
        "probe", raw, write=lambda folder: write_probe(folder, seed=1, encoder=encoder_config(), accuracy=0.5)
    )
    assert set(work.gc()) == {_name(raw), _name(probed)}
    registered = run_register(RegisterConfig(encoder=str(probed.path / "encoder"), runtime=work.runtime))
    assert work.gc(delete=True) == [_name(registered)]
    assert work.has(raw) and work.has(probed)
