"""A reader is one file and one line, and changes the key of no ingest that does not use it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import phenoscale
from phenoscale.references import find
from phenoscale.screens.ingest.readers.known import READERS
from tests.support.plates import make_plate_files

_FILE = '''"""Source `odd`: the table of a screen whose channels come in reverse."""
from phenoscale.screens.ingest.readers.table import plan_table

def plan_odd(config):
    plan = plan_table(config)
    reverse = {name: plan.wells.frame[name].map(lambda image: image[::-1]) for name in ("image",)}
    wells = type(plan.wells)(plan.wells.frame.assign(**reverse))
    return type(plan)(wells, channels=plan.channels[::-1], base=plan.base)
'''
_PROGRAM = """
import json, sys
from phenoscale.screens.ingest.config import IngestConfig
from phenoscale.screens.ingest.stage import run_ingest
from phenoscale.screens.store import open_screen
from phenoscale.stages import plan_stage
config = IngestConfig(path=sys.argv[1], runtime={"workspace": sys.argv[2]}, source=sys.argv[3])
before = plan_stage(run_ingest, IngestConfig(path=sys.argv[1])).key
print(json.dumps([before, open_screen(run_ingest(config).path).channels]))
"""


def _run(root, *words):
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_file_and_a_line_make_a_reader_and_leave_the_keys_of_the_others(tmp_path):
    make_plate_files(tmp_path / "source", plates=[("E1", "P1")])
    package = Path(phenoscale.__file__).parent
    shutil.copytree(package, tmp_path / "phenoscale", ignore=shutil.ignore_patterns("__pycache__"))
    key, channels = _run(tmp_path, tmp_path / "source", tmp_path / "work", "table")
    readers = tmp_path / "phenoscale" / "screens" / "ingest" / "readers"
    (readers / "odd.py").write_text(_FILE)
    with (readers / "known.py").open("a") as known:
        known.write('READERS["odd"] = f"{_HERE}.odd:plan_odd"\n')
    assert _run(tmp_path, tmp_path / "source", tmp_path / "work", "odd") == [key, channels[::-1]]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_is_found_under_its_name(name):
    assert find(READERS[name]).__name__ == f"plan_{name}"
