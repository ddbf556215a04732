"""One contract for both kinds of workspace, a local folder and a bucket: the same results, kept alike."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time

import pytest

from phenoscale.config import Config, Runtime, setting
from phenoscale.errors import EXIT_RETRY, RetryError, UserError
from phenoscale.stages import (
    check_complete,
    fetch_output,
    find_output,
    locate,
    open_workspace,
    output_digest,
    read_lineage,
    run_stage,
    walk_lineage,
)
from phenoscale.storage import open_storage
from phenoscale.storage.mirror import address_of
from tests.support.s3 import BUCKET, CREDENTIALS, s3_server


class ScreenConfig(Config):
    """A stage that makes one file a plate."""

    plates: tuple[str, ...] = setting(("a", "b"), help="plates")
    gain: int = setting(1, help="factor")
    runtime: Runtime = Runtime()


class Screens:
    """Runs a stage that publishes its plates as parts, and counts those that it built."""

    def __init__(self, uri):
        self.uri, self.built = uri, []

    def run(self, *plates, gain=1, fail_at=None):
        config = ScreenConfig(plates=plates, gain=gain, runtime=Runtime(workspace=self.uri))
        self.built = []

        def build(output):
            for plate in plates:
                part, request = f"screen/{plate}", f"{plate}-{gain}-{output.sources_digest}"
                name = f"plates/{plate}.zarr"
                if output.has(part) or output.adopt(part, request=request):
                    continue
                if plate == fail_at:
                    raise RetryError("the store of images is away")
                (output.folder / name / "c").mkdir(parents=True)
                (output.folder / name / "c" / "0").write_bytes(plate.encode() * 1000 * gain)
                (output.folder / name / "zarr.json").write_text(plate)
                (output.folder / f"plates/{plate}.parquet").write_text(f"wells of {plate}")
                output.publish(part, [name, f"plates/{plate}.parquet"], request=request)
                self.built.append(plate)
            (output.folder / "header.json").write_text(json.dumps(plates))
            (output.folder / "logs").mkdir(exist_ok=True)
            (output.folder / "logs" / "a.txt").write_text("this run only")
            return {"num_plates": len(plates)}

        return run_stage("ingest", entry="phenoscale.schema.rows", config=config, inputs={}, build=build)

    def storage(self, result):
        """Where a result's published files lie."""
        return open_workspace(self.uri).storage.at(f"ingest/{result.path.name}")


@pytest.fixture(params=["local folder", "s3"])
def uri(request, tmp_path):
    return (
        str(tmp_path / "workspace") if request.param == "local folder" else request.getfixturevalue("s3_uri")
    )


@pytest.fixture
def screens(uri):
    return Screens(uri)


@pytest.fixture
def forget_this_machine(uri, tmp_path, monkeypatch):
    """Go on as another machine: a cache of its own, and on a volume that is shared the same folder."""

    def forget():
        monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "another cache"))

    return forget


def test_an_output_is_reused_from_another_machine_with_its_summary(screens, forget_this_machine):
    first = screens.run("a", "b")
    forget_this_machine()
    again = screens.run("a", "b")
    assert (first.reused, again.reused, screens.built) == (False, True, [])
    assert (again.key, again.digest, again.summary) == (first.key, first.digest, {"num_plates": 2})


def test_equal_computations_have_equal_digests_on_both_kinds(tmp_path, s3_uri):
    here, there = Screens(str(tmp_path / "workspace")).run("a", "b"), Screens(s3_uri).run("a", "b")
    assert (here.key, here.digest) == (there.key, there.digest)


def test_every_file_is_published_under_its_name_and_success_is_last(screens):
    result = screens.run("a")
    names = [info.key for info in screens.storage(result).list()]
    assert names == [
        ".parts/screen%2Fa.json",
        "_SUCCESS.json",
        "header.json",
        "lineage.json",
        "logs/a.txt",
        "plates/a.parquet",
        "plates/a.zarr/c/0",
        "plates/a.zarr/zarr.json",
    ]
    assert not list(result.path.parent.glob("*.attempt-*"))


def test_parts_that_were_published_before_a_failure_are_found_by_another_machine(
    screens, forget_this_machine
):
    with pytest.raises(RetryError):
        screens.run("a", "b", "c", fail_at="c")
    assert screens.built == ["a", "b"]
    forget_this_machine()
    result = screens.run("a", "b", "c")
    assert screens.built == ["c"]
    assert result.digest == Screens(f"{screens.uri}/uninterrupted").run("a", "b", "c").digest


def test_a_plate_of_another_output_is_taken_over_and_not_copied(screens, forget_this_machine):
    first = screens.run("a", "b")
    forget_this_machine()
    grown = screens.run("a", "b", "c")
    assert screens.built == ["c"]
    assert grown.digest == Screens(f"{screens.uri}/alone").run("a", "b", "c").digest
    name = "plates/a.zarr/c/0"
    if address_of(grown.path):
        assert not screens.storage(grown).exists(name)
        assert (
            locate(grown.path / "plates" / "a.zarr")
            == f"{screens.uri}/ingest/{first.path.name}/plates/a.zarr"
        )
        # a reference to a reference is one to the place itself
        screens.run("a", "b", "c", "d")
        grown = screens.run("a", "b", "c", "d")
        assert locate(grown.path / name) == f"{screens.uri}/ingest/{first.path.name}/{name}"
    else:
        assert (grown.path / name).samefile(first.path / name)
        assert locate(grown.path / name) == str(grown.path / name)


def test_a_plate_of_another_request_is_not_taken_over(screens):
    screens.run("a")
    screens.run("a", "b", gain=2)
    assert screens.built == ["a", "b"]


def test_a_plate_that_was_changed_or_removed_in_its_output_is_not_taken_over(screens):
    first = screens.run("a", "b")
    screens.storage(first).write_bytes("plates/a.zarr/c/0", b"other")
    screens.storage(first).delete("plates/b.parquet")
    screens.run("a", "b", "c")
    assert screens.built == ["a", "b", "c"]


@pytest.mark.parametrize("change", ["other bytes", "removed"])
def test_an_output_of_which_an_object_was_changed_is_built_again(screens, change, caplog):
    first = screens.run("a", "b")
    storage = screens.storage(first)
    if change == "removed":
        storage.delete("plates/a.zarr/c/0")
    else:
        storage.write_bytes("plates/a.zarr/c/0", b"b" * 1000)
    with pytest.raises(UserError, match="is not what its stage wrote"):
        check_complete(first.path)
    again = screens.run("a", "b")
    assert not again.reused and "was changed after its stage had finished" in caplog.text
    assert again.digest == first.digest == output_digest(again.path)


def test_a_published_part_that_was_changed_before_the_end_is_built_again(screens, caplog):
    with pytest.raises(RetryError):
        screens.run("a", "b", fail_at="b")
    name = next(info.key for info in screens_parts(screens))
    open_workspace(screens.uri).storage.write_bytes(name, b"other")
    screens.run("a", "b")
    assert screens.built == ["a", "b"]


def screens_parts(screens):
    """The chunks of the plates that were published."""
    found = open_workspace(screens.uri).storage.list("ingest/")
    return [info for info in found if info.key.endswith("/c/0") and ".attempt-" not in info.key]


def test_what_a_dead_runner_left_without_a_record_never_counts(screens):
    with pytest.raises(RetryError):
        screens.run("a", "b", fail_at="b")
    (chunk,) = screens_parts(screens)
    stray = chunk.key.replace("a.zarr/c/0", "b.zarr/c/7")
    open_workspace(screens.uri).storage.write_bytes(stray, b"half a plate")
    result = screens.run("a", "b")
    assert not screens.storage(result).exists("plates/b.zarr/c/7")


def test_nothing_of_an_unfinished_output_can_be_read_as_one(screens):
    with pytest.raises(RetryError):
        screens.run("a", "b", fail_at="b")
    (chunk,) = screens_parts(screens)
    folder = open_workspace(screens.uri).root / "/".join(chunk.key.split("/")[:2])
    with pytest.raises(UserError, match=r"did not finish|no output of a finished stage"):
        check_complete(fetch_output(folder))


def test_the_files_of_an_output_are_readable_on_another_machine_and_chunks_stay(screens, forget_this_machine):
    first = screens.run("a", "b")
    address = f"{open_workspace(screens.uri).uri}/ingest/{first.path.name}"
    forget_this_machine()
    folder = fetch_output(address)
    assert (folder / "plates" / "a.parquet").read_text() == "wells of a"
    assert read_lineage(folder)["summary"] == {"num_plates": 2}
    assert (fetch_output(f"{address}/header.json")).read_text() == '["a", "b"]'
    assert (fetch_output(folder / "logs") / "a.txt").read_text() == "this run only"
    assert (folder / "plates" / "a.zarr" / "c" / "0").exists() == (address_of(folder) is None)
    where = locate(folder / "plates" / "a.zarr")
    assert open_storage(where).read_bytes("c/0") == b"a" * 1000


def test_lineage_and_keys_lead_to_outputs_by_address(screens):
    first = screens.run("a")

    def build(output):
        (output.folder / "map.txt").write_text((first.path / "header.json").read_text())
        return {}

    config = ScreenConfig(runtime=Runtime(workspace=screens.uri))
    mapped = run_stage(
        "map", entry="phenoscale.schema.rows", config=config, inputs={"store": first.path}, build=build
    )
    place = f"{open_workspace(screens.uri).uri}/ingest/{first.path.name}"
    assert read_lineage(mapped.path)["inputs"]["store"]["uri"] == place
    assert find_output(first.key, workspace=screens.uri) == first.path
    up = walk_lineage(mapped.path, screens.uri, direction="upstream")
    assert [(node.stage, node.uri.rpartition("/")[2]) for node in up] == [
        ("map", mapped.path.name),
        ("ingest", first.path.name),
    ]
    down = walk_lineage(place, screens.uri, direction="downstream")
    assert [node.stage for node in down] == ["ingest", "map"]


def test_a_failure_is_on_record_beside_the_output_until_the_stage_succeeds(screens):
    with pytest.raises(RetryError):
        screens.run("a", fail_at="a")
    storage = open_workspace(screens.uri).storage
    (record,) = [info.key for info in storage.list("ingest/") if info.key.endswith(".failure.json")]
    assert json.loads(storage.read_bytes(record))["exit_code"] == EXIT_RETRY
    screens.run("a")
    assert not storage.exists(record)


def test_a_store_that_goes_away_while_a_stage_runs_means_retry(monkeypatch, tmp_path):
    monkeypatch.setenv("PHENOSCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.enter_context(s3_server()))

        def build(output):
            server.close()
            return {}

        config = ScreenConfig(runtime=Runtime(workspace=f"s3://{BUCKET}/work"))
        with pytest.raises(RetryError, match="the store does not answer"):
            run_stage("ingest", entry="phenoscale.schema.rows", config=config, inputs={}, build=build)


_RUN = """
import sys
from tests.stages.test_workspaces import Screens
print(Screens(sys.argv[1]).run(*"abcdefgh").digest)
"""


def _start(uri, cache):
    environment = {**os.environ, "PHENOSCALE_CACHE": str(cache)}
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, uri], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.acceptance
def test_twenty_kills_at_random_times_and_other_caches_lead_to_the_uninterrupted_result(s3_uri, tmp_path):
    rng = random.Random(3)
    started = time.monotonic()
    with _start(f"{s3_uri}/uninterrupted", tmp_path / "first") as process:
        expected = process.communicate()[0]
    duration = time.monotonic() - started
    for number in range(20):
        with _start(s3_uri, tmp_path / f"cache{number}") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.3, 1.0) * duration)
            process.kill()
    with _start(s3_uri, tmp_path / "last") as process:
        assert process.communicate()[0] == expected
    keys = [info.key for info in open_workspace(s3_uri).storage.list("ingest/")]
    assert sum(key.endswith("/_SUCCESS.json") for key in keys) == 1
    assert sum(key.endswith("/zarr.json") for key in keys) == 8
    assert not [key for key in keys if key.endswith(".failure.json")]
