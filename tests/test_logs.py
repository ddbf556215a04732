"""What is logged, by whom, and in which form."""

import logging
import os
import pty
import subprocess
import sys

import pytest

from phenoscale.logs import (
    KeyValueFormatter,
    RankFilter,
    configure_logging,
    get_logger,
    keep_last_lines,
    key_values,
    progress,
)


@pytest.fixture(autouse=True)
def _log_is_left_as_it_was():
    logger = logging.getLogger("phenoscale")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def _record(level, message="step=3 loss=0.25"):
    return logging.LogRecord("phenoscale.training.loop", level, "loop.py", 1, message, None, None)


def test_only_rank_zero_speaks_below_warnings(monkeypatch):
    spoken = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        spoken[rank] = [RankFilter().filter(_record(level)) for level in (logging.INFO, logging.WARNING)]
    assert spoken == {"0": [True, True], "1": [False, True]}


def test_a_record_is_one_line_of_keys_and_values():
    line = KeyValueFormatter().format(_record(logging.INFO))
    assert line.endswith("level=info source=training.loop step=3 loss=0.25")
    sentence = KeyValueFormatter().format(_record(logging.WARNING, 'the file "a b"\nwas changed'))
    assert sentence.endswith(r'level=warning source=training.loop message="the file \"a b\" | was changed"')
    assert "\n" not in sentence


def test_values_with_spaces_or_signs_are_quoted_and_numbers_are_short():
    assert key_values(loss=0.123456, path="a b", empty="", n=3) == 'loss=0.1235 path="a b" empty="" n=3'


def test_log_lines_go_to_standard_error_and_the_level_is_kept(capsys):
    configure_logging("WARNING")
    get_logger("phenoscale.mapping").info("silent=1")
    get_logger("phenoscale.mapping").warning("heard=1")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "heard=1" in captured.err and "silent" not in captured.err


def test_logging_configured_twice_writes_each_line_once(capsys):
    configure_logging("INFO")
    configure_logging("INFO")
    get_logger("phenoscale.mapping").info("said=1")
    assert capsys.readouterr().err.count("said=1") == 1


def test_last_lines_are_kept_while_asked_and_no_longer():
    configure_logging("INFO")
    logger = get_logger("phenoscale.stages.run")
    with keep_last_lines() as lines:
        for number in range(300):
            logger.info("number=%d", number)
    logger.info("number=after")
    assert len(lines) == 200
    assert lines[-1].endswith("number=299")


def test_progress_without_a_terminal_ends_with_a_line_of_its_figures(capsys):
    configure_logging("INFO")
    with progress(4, label="plates") as bar:
        for _ in range(4):
            bar.advance(fields_per_second=12.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "progress=plates done=4 total=4" in lines[0] and "fields_per_second=12.5" in lines[0]


_BAR = """
from phenoscale.logs import configure_logging, get_logger, progress
configure_logging("INFO")
with progress(3, label="training") as bar:
    for step in range(3):
        bar.advance(loss=0.5)
        get_logger("phenoscale.test").info("a line beside the bar")
"""


def test_progress_on_a_terminal_is_a_live_bar_with_the_log_above_it():
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        [sys.executable, "-c", _BAR], stderr=writer, stdout=subprocess.DEVNULL, env=environment
    ) as process:
        os.close(writer)
        shown = b""
        while True:
            try:
                part = os.read(reader, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
    os.close(reader)
    assert process.returncode == 0
    text = shown.decode()
    assert "3/3" in text and "loss=0.5" in text
    assert text.count("a line beside the bar") == 3


def test_the_bar_of_a_higher_rank_stays_silent(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    configure_logging("INFO")
    with progress(2, label="training") as bar:
        bar.advance(2)
    assert capsys.readouterr().err == ""
