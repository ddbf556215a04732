"""What a person reads while a pipeline runs."""

import io
from pathlib import Path

from phenoscale.operations.narrator import Narrator
from phenoscale.stages import StageResult


def _narrator():
    stream = io.StringIO()
    return Narrator(["ingest", "curate"], stream=stream), stream


def _result(stage, *, reused, **summary):
    return StageResult(stage, "k", Path("w"), "d", reused, 0.0, summary)


def test_a_finished_step_is_one_line_with_its_place_and_first_figures():
    narrator, stream = _narrator()
    summary = {"num_plates": 3, "ratio": 0.123456, "names": ["a"], "ok": True, "more": 1, "last": 2}
    narrator.finished("ingest", result=_result("ingest", reused=False, **summary))
    line = stream.getvalue()
    assert line.startswith("[ 1/2] ingest  done  ")
    assert line.endswith(" s  num_plates=3 ratio=0.1235 more=1\n")


def test_a_reused_step_says_so_and_steps_are_counted_as_they_finish():
    narrator, stream = _narrator()
    for step in ("curate", "ingest"):
        narrator.finished(step, result=_result(step, reused=True))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("[ 1/2] curate  reused")
    assert second.startswith("[ 2/2] ingest  reused")


def test_progress_and_warnings_come_through_and_other_log_lines_do_not():
    narrator, stream = _narrator()
    head = "time=2026-01-01T10:00:00,000 level={} source=stages.run "
    narrator.line(head.format("info") + "stage=ingest status=started")
    narrator.line(head.format("info") + "progress=embed done=3 total=4")
    narrator.line(head.format("warning") + 'message="no wells on \\"P1\\", see above"')
    narrator.line("a line that some library printed")
    assert [line.strip() for line in stream.getvalue().splitlines()] == [
        "progress=embed done=3 total=4",
        'no wells on "P1", see above',
    ]
