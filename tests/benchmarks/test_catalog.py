"""One new file and one line make a benchmark: a verb, an entry of the list, a part of suite and stage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import phenoscale
from phenoscale.benchmarks.catalog import CATALOG
from phenoscale.schema.embeddings import write_embeddings
from tests.support.wells import make_wells

_FILE = '''
"""A benchmark that counts wells."""

from phenoscale.benchmarks.benchmark import Benchmark, Part
from phenoscale.benchmarks.inputs import WELLS
from phenoscale.config import Config, location, setting
from phenoscale.schema.rows import Row


class CountConfig(Config):
    """Count wells."""

    embeddings: str = location("", help="wells")
    seed: int = setting(0, help="nothing is drawn")


def count_rows(wells, *, config):
    return [Row("count_wells", "", "num_wells", value=len(wells))]


COUNT = Benchmark(
    name="count-wells",
    config=CountConfig,
    parts=(Part(needs=(WELLS,), rows=f"{__name__}:count_rows"),),
    cost="nothing",
    source="this test",
    in_suite=True,
    in_stage="optional",
)
'''
_PROGRAM = """
import contextlib, io, json, sys

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.stage import run_benchmark
from phenoscale.cli.main import main

wells = sys.argv[1]
config = BenchmarkConfig(embeddings={"trained": wells}, runtime={"workspace": sys.argv[2]})
print((run_benchmark(config).path / "rows.json").read_text().replace("\\n", ""))
for words in (
    ["count-wells", "--embeddings", wells],
    ["list", "count-wells"],
    ["suite", "--embeddings", wells, "--only", "count-wells"],
):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["benchmark", *words, "--json", "--log-level", "error"]) == 0
    print(json.dumps(json.loads(said.getvalue())))
assert main(["--help"]) == 0
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Rows of the stage, of the verb, the list and the suite, and the help, with one more benchmark."""
    folder = tmp_path_factory.mktemp("catalog")
    package = Path(phenoscale.__file__).parent
    shutil.copytree(package, folder / "phenoscale", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "phenoscale" / "benchmarks" / "counting.py").write_text(_FILE)
    with (folder / "phenoscale" / "benchmarks" / "catalog.py").open("a") as catalog:
        catalog.write('CATALOG["count-wells"] = Line("counting:COUNT", "how many wells there are")\n')
    write_embeddings(folder / "embed" / "wells", make_wells())
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder / "embed"), str(folder / "work")],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    stage, verb, listed, suite, *help_text = done.stdout.splitlines()
    return *map(json.loads, (stage, verb, listed, suite)), "\n".join(help_text)


def test_a_new_file_and_a_line_make_a_verb_a_list_entry_and_a_part_of_suite_and_stage(answers):
    stage, verb, listed, suite, help_text = answers
    number = float(len(make_wells()))
    for rows in (verb, suite, [row for row in stage if row["benchmark"] == "count_wells"]):
        assert [(row["metric"], row["value"]) for row in rows] == [("num_wells", number)]
    assert {row["encoder"] for row in stage if row["metric"] == "num_wells"} == {"trained"}
    assert listed["count-wells"]["needs"] == ["embeddings of wells"]
    assert "benchmark count-wells" in help_text and "how many wells there are" in help_text


@pytest.mark.parametrize("name", CATALOG)
def test_the_value_of_a_line_has_its_name_and_a_config_with_its_inputs(name):
    found = CATALOG[name].load()
    assert found.name == name
    for part in found.parts:
        assert {each.name for each in (*part.needs, *part.uses)} <= set(found.config.model_fields)
        assert bool(part.rows) == (not found.function)


def test_the_values_import_nothing_that_computes():
    code = (
        "import sys\n"
        "from phenoscale.benchmarks.catalog import load_all\n"
        "import phenoscale.benchmarks.config\n"
        "load_all()\n"
        "print([name for name in ('numpy', 'pandas', 'scipy', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
