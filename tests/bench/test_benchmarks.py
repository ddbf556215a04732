"""The bench of the benchmarks: every part can be run by name, and its rows become one table."""

import ast
import json
import os
import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT, parsed

BENCH = ROOT / "bench"
PROGRAM = """
import json, benchmarks
rows = [
    {"what": "recall", "ours_s": 1.234, "reference_s": 30.0, "ratio": 24.31, "equal": True, "threads": 2},
    {"what": "suite", "ours_s": 3.0, "ours_mb": 1234.5, "dtype": "float32"},
]
lines = benchmarks.table_lines(rows, with_head=True)
print(json.dumps({"parts": dict(benchmarks.PARTS), "lines": lines, "machine": benchmarks.machine()}))
"""


@pytest.fixture(scope="module")
def said():
    paths = os.pathsep.join(map(str, (ROOT / "platform", BENCH)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    return json.loads(done.stdout)


def test_every_part_is_a_file_with_a_function_that_gives_rows(said):
    for module in said["parts"].values():
        file = BENCH / (module.replace(".", "/") + ".py")
        functions = {node.name: node for node in parsed(file).body if isinstance(node, ast.FunctionDef)}
        assert ast.unparse(functions["run"].returns) == "list[dict[str, Any]]", module


def test_rows_become_lines_of_a_table_with_gaps_where_nothing_was_measured(said):
    head, rule, first, second = said["lines"]
    assert head.count("|") == rule.count("|") == first.count("|") == second.count("|")
    assert first.startswith("| recall | 1.23 | 30.00 | 24.3 |")
    assert "| 1,234 |" in second and second.endswith("| float32 |")
    assert "| True | 2 |" in first


def test_the_record_says_what_machine_it_holds_for(said):
    assert {"cpu", "cores", "threads", "python", "numpy"} <= set(said["machine"])
