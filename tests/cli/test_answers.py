"""Answers for people and for programs."""

import dataclasses
import json
from pathlib import Path

from phenoscale.cli.answers import answer_exit_code, write_answer
from phenoscale.stages import StageResult

RESULT = StageResult(
    stage="map",
    key="k" * 64,
    path=Path("work/map/k"),
    digest="d" * 64,
    reused=False,
    seconds=12.34,
    summary={"num_perturbations": 120, "steps": ["center", "tvn"], "recall": {"low": 0.1}},
)


def test_a_stage_result_is_read_line_by_line(capsys):
    write_answer(RESULT, is_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "map: done in 12.3 s"
    assert "  output  work/map/k" in lines
    assert "    num_perturbations: 120" in lines and '    steps: ["center", "tvn"]' in lines
    assert lines[-2:] == ["    recall:", "      low: 0.1"]


def test_a_reused_result_says_so(capsys):
    write_answer(dataclasses.replace(RESULT, reused=True, summary={}), is_json=False)
    assert capsys.readouterr().out.startswith("map: reused\n")


def test_a_stage_result_in_json_has_all_its_fields(capsys):
    write_answer(RESULT, is_json=True)
    answer = json.loads(capsys.readouterr().out)
    assert answer["path"] == "work/map/k" and answer["summary"]["recall"] == {"low": 0.1}
    assert set(answer) == {field.name for field in dataclasses.fields(StageResult)}


class _Poem:
    exit_code = 2

    def text(self):
        return "roses\nviolets\n"


def test_a_value_that_can_be_read_is_shown_as_it_says(capsys):
    write_answer(_Poem(), is_json=False)
    write_answer("plain words", is_json=False)
    write_answer(None, is_json=False)
    assert capsys.readouterr().out == "roses\nviolets\nplain words\n"


def test_an_answer_may_ask_for_an_exit_code():
    assert answer_exit_code(_Poem()) == 2
    assert answer_exit_code("words") == 0
