"""What a person reads while a pipeline runs."""

import io
from pathlib import Path

from phenoscale.operations.running.console import Console
from phenoscale.stages import StageResult


def _console():
    stream = io.StringIO()
    return Console(["ingest", "curate"], stream=stream), stream


def _result(stage, *, reused, **summary):
    return StageResult(stage, "k", Path("w"), "d", reused, 0.0, summary)


def test_a_finished_step_is_one_line_with_its_place_and_first_figures():
    console, stream = _console()
    summary = {"num_plates": 3, "ratio": 0.123456, "names": ["a"], "ok": True, "more": 1, "last": 2}
    console.finished("ingest", result=_result("ingest", reused=False, **summary))
    line = stream.getvalue()
    assert line.startswith("[ 1/2] ingest  done  ")
    assert line.endswith(" s  num_plates=3 ratio=0.1235 more=1\n")


def test_a_reused_step_says_so_and_steps_are_counted_as_they_finish():
    console, stream = _console()
    for step in ("curate", "ingest"):
        console.finished(step, result=_result(step, reused=True))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("[ 1/2] curate  reused")
    assert second.startswith("[ 2/2] ingest  reused")


def test_progress_and_warnings_come_through_and_other_log_lines_do_not():
    console, stream = _console()
    head = "time=2026-01-01T10:00:00,000 level={} source=stages.run "
    console.line(head.format("info") + "stage=ingest status=started")
    console.line(head.format("info") + "progress=embed done=3 total=4")
    console.line(head.format("warning") + 'message="no wells on \\"P1\\", see above"')
    console.line("a line that some library printed")
    assert [line.strip() for line in stream.getvalue().splitlines()] == [
        "progress=embed done=3 total=4",
        'no wells on "P1", see above',
    ]
