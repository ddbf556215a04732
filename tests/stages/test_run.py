"""Running stages: reuse, exact invalidation, kill and resume, full disks, failure records."""

import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from phenoscale.errors import EXIT_BUG, EXIT_RETRY, RetryError, Terminated, UserError
from phenoscale.logs import get_logger
from phenoscale.stages import run_stage
from phenoscale.stages.failure import read_failure
from phenoscale.storage import LocalStorage
from tests.stages.conftest import SOURCES, EmbedConfig, write_sources


def test_a_finished_stage_is_reused_with_its_summary_and_says_so(chain, caplog):
    first = chain.embed()
    with caplog.at_level("INFO", logger="phenoscale"):
        again = chain.embed()
    assert chain.built == ["embed"]
    assert (first.reused, again.reused) == (False, True)
    assert (again.key, again.path, again.digest, again.summary) == (
        first.key,
        first.path,
        first.digest,
        {"num_wells": 3},
    )
    assert f"stage=embed key={first.path.name} status=reused" in caplog.text


def test_an_output_lies_below_its_stage_under_the_start_of_its_key(chain):
    result = chain.embed()
    assert result.path == chain.workspace / "embed" / result.key[:20]
    assert len(result.key) == 64


def test_nothing_changed_means_that_nothing_is_run(chain):
    assert chain.run() == ["embed", "map"]
    assert chain.run() == []


def test_one_changed_config_field_reruns_exactly_the_stages_it_affects(chain):
    chain.run()
    assert chain.run(shift=1) == ["map"]
    assert chain.run(gain=2) == ["embed", "map"]
    assert chain.run() == []  # the old outputs are still there


def test_one_changed_source_line_reruns_exactly_the_stages_that_reach_it(chain, tmp_path):
    chain.run()
    changes = {
        "unused.py": [],
        "__init__.py": [],
        "stats/moments.py": ["map"],
        "mapping/stage.py": ["map"],
        # embed runs again and writes the same bytes, so map has nothing to do
        "pixels/reading.py": ["embed"],
        "embedding/stage.py": ["embed"],
    }
    for number, (name, rerun) in enumerate(changes.items()):
        chain.root = write_sources(tmp_path / f"changed{number}", {name: SOURCES[name] + "# one more line\n"})
        assert chain.run() == rerun, name


def test_one_changed_input_byte_reruns_exactly_the_stages_it_affects(chain):
    chain.run()
    chain.table.write_text("1 2 4")
    assert chain.run() == ["embed", "map"]
    chain.table.write_text("1 2 3")
    assert chain.run() == []


def test_an_input_that_moved_changes_nothing(chain):
    chain.run()
    chain.table = chain.table.rename(chain.table.with_name("moved.txt"))
    assert chain.run() == []


def test_an_input_of_equal_content_written_by_another_code_changes_nothing_downstream(chain):
    first = chain.map(chain.embed(1).path)
    chain.table.write_text("1 2  3")  # embed's key changes, its output does not
    second = chain.map(chain.embed(1).path)
    assert chain.built == ["embed", "map", "embed"]
    assert second.path == first.path


def test_an_output_that_was_changed_is_built_again_from_nothing(chain, caplog):
    result = chain.embed()
    number_file = result.path / "wells" / "numbers.txt"
    number_file.write_text("9 9 9")
    (result.path / "stray.txt").write_text("left behind")
    again = chain.embed()
    assert chain.built == ["embed", "embed"]
    assert f"{number_file} was changed after its stage had finished" in caplog.text
    assert again.digest == result.digest
    assert not (result.path / "stray.txt").exists()


def test_two_computations_of_one_key_have_one_digest(chain, tmp_path):
    first = chain.embed()
    chain.workspace = tmp_path / "other workspace"
    second = chain.embed()
    assert (first.key, first.digest) == (second.key, second.digest)
    assert first.path != second.path


def test_what_says_when_or_by_whom_is_checked_and_stays_out_of_the_digest(chain):
    def built(gain, note):
        def build(output):
            (output.folder / "decision.json").write_text("refused")
            (output.folder / "note.json").write_text(note)
            output.dated = frozenset({"note.json"})
            return {}

        return run_stage(
            "embed",
            entry="phenoscale.embedding.stage",
            config=EmbedConfig(gain=gain, runtime=chain.runtime()),
            inputs={},
            build=build,
            source_root=chain.root,
        )

    first, second = built(1, "on Monday"), built(2, "on Tuesday")
    assert first.digest == second.digest
    (first.path / "note.json").write_text("on Sunday")
    assert not built(1, "on Wednesday").reused


def test_the_stage_names_the_key_apart(chain):
    def keyed(stage):
        return run_stage(
            stage,
            entry="phenoscale.embedding.stage",
            config=EmbedConfig(runtime=chain.runtime()),
            inputs={},
            build=lambda output: {},
            source_root=chain.root,
        ).key

    assert keyed("embed") != keyed("probe")


def test_runtime_and_places_do_not_enter_the_key(chain):
    def keyed(config):
        return run_stage(
            "embed",
            entry="phenoscale.embedding.stage",
            config=config,
            inputs={"table": chain.table},
            build=lambda output: {},
            source_root=chain.root,
        ).key

    runtime = chain.runtime()
    other = runtime.model_copy(update={"device": "cuda", "num_workers": 8})
    keys = {keyed(EmbedConfig(runtime=runtime)), keyed(EmbedConfig(runtime=other, table="elsewhere"))}
    assert len(keys) == 1


# kill and resume --------------------------------------------------------------------------------------------


def _outcome(process):
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said.splitlines()


def test_a_killed_stage_is_resumed_by_the_same_command(start_slow_stage, workspace):
    with start_slow_stage("sys.stdin.readline() if number == 3 else None") as process:
        while process.stdout.readline() != "wrote 2\n":
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(workspace.glob("slow/*/_SUCCESS.json")) == []
    with start_slow_stage() as process:
        resumed = _outcome(process)
    assert resumed[:2] == ["found 3", "wrote 3"]
    assert not list(workspace.glob("slow/*.attempt-*"))
    lineage = json.loads(next(workspace.glob("slow/*/lineage.json")).read_text())
    assert lineage["is_resumed"] is True
    with start_slow_stage() as process:
        assert _outcome(process) == [resumed[-1].replace("False", "True")]


def test_kills_at_random_times_lead_to_the_uninterrupted_result(start_slow_stage, tmp_path, workspace):
    rng = random.Random(3)
    started = time.monotonic()
    with start_slow_stage() as process:
        expected = _outcome(process)[-1].split()[1]
    duration = time.monotonic() - started
    next(workspace.glob("slow/*/_SUCCESS.json")).parent.rename(tmp_path / "uninterrupted")
    for _ in range(6):
        with start_slow_stage("time.sleep(0.02)") as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.3, 1.0) * duration)
            process.kill()
    with start_slow_stage() as process:
        assert _outcome(process)[-1].split()[1] == expected
    assert not list(workspace.glob("slow/*.failure.json"))


# failures ---------------------------------------------------------------------------------------------------


def _run(chain, build):
    return run_stage(
        "embed",
        entry="phenoscale.embedding.stage",
        config=EmbedConfig(runtime=chain.runtime()),
        inputs={},
        build=build,
        source_root=chain.root,
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no negative controls on plate 3; add some"), 2),
        (RetryError("the store is away"), EXIT_RETRY),
        (KeyError("wells"), EXIT_BUG),
        (Terminated("stopped by SIGTERM"), EXIT_RETRY),
    ],
)
def test_a_failure_is_on_record_beside_the_output_until_the_stage_succeeds(chain, *, error, code):
    def build(output):
        get_logger("phenoscale.embedding").warning("wells=%d", 3)
        raise error

    with pytest.raises(type(error)):
        _run(chain, build)
    (path,) = chain.workspace.glob("embed/*.failure.json")
    folder = path.with_name(path.name.removesuffix(".failure.json"))
    failure = read_failure(LocalStorage(path.parent), key=path.name)
    assert (failure.exit_code, failure.message, failure.name) == (code, str(error), "embed")
    assert failure.error == type(error).__name__
    assert any("wells=3" in line for line in failure.last_log_lines)
    assert not (folder / "_SUCCESS.json").exists()

    assert _run(chain, lambda folder: {}).path == folder
    assert not path.exists()


def test_a_full_disk_in_the_middle_of_a_stage_means_retry(chain):
    def build(output):
        # the kernel's own full device
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")
        return {}

    with pytest.raises(RetryError, match=r"no room to write .*; free space, then repeat"):
        _run(chain, build)
    (path,) = chain.workspace.glob("embed/*.failure.json")
    assert json.loads(path.read_text())["exit_code"] == EXIT_RETRY
    assert not list(chain.workspace.glob("embed/*/_SUCCESS.json"))


@contextlib.contextmanager
def _small_disk(folder):
    """Mount a file system of 256 kB where this user may; elsewhere limit the size of files instead."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield None if mounted.returncode == 0 else 50_000
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("where", ["small disk", "file-size limit"])
def test_a_disk_that_fills_up_ends_with_75_and_commits_nothing(start_slow_stage, *, workspace, where):
    body = "(folder / f'big{number}.bin').write_bytes(bytes(100_000))"
    with _small_disk(workspace) if where == "small disk" else contextlib.nullcontext(50_000) as limit:
        with start_slow_stage(body) as process:
            if limit:
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            said, _ = process.communicate()
        assert process.returncode == EXIT_RETRY, said
        assert "free space, then repeat" in said
        assert list(workspace.glob("slow/*")) and not list(workspace.glob("slow/*/_SUCCESS.json"))


def test_a_workspace_that_is_a_file_is_an_error_of_the_user(chain):
    chain.workspace.write_text("a file, no folder")
    with pytest.raises(UserError, match=r"cannot be written.*--runtime\.workspace"):
        chain.embed()
    assert chain.built == []


def test_a_summary_that_is_no_json_is_a_bug_and_commits_nothing(chain):
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        _run(chain, lambda folder: {"model": object()})
    assert not list(chain.workspace.glob("embed/*/_SUCCESS.json"))


def test_an_error_of_the_system_that_is_no_full_disk_stays_what_it_is(chain):
    def build(output):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output error"):
        _run(chain, build)


def test_a_stage_without_runtime_section_writes_to_the_default_workspace(chain, tmp_path, monkeypatch):
    from phenoscale.config import Config, setting

    class Small(Config):
        size: int = setting(1, help="size")

    monkeypatch.chdir(tmp_path)
    result = run_stage(
        "small",
        entry="phenoscale.errors",
        config=Small(),
        inputs={},
        build=lambda output: {},
        source_root=chain.root,
    )
    assert result.path.parent == tmp_path / "phenoscale-workspace" / "small"
