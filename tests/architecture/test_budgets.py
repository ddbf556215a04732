"""How large files and functions may be, and what may not be written in them."""

import ast
import re

import pytest

from tests.architecture.tree import ROOT, parsed, python_files, shown, tracked_files

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_LINE_LENGTH = 110
MAX_PARAMETERS = 7
MAX_POSITIONAL = 2
# "file" or "file:function" -> the reason why it may exceed a budget
EXEMPT: dict[str, str] = {}
CODE = ("platform", "components", "pipelines", "bench", "docs")
BAD_NAMES = ("utils.py", "helpers.py", "common.py", "misc.py")
_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError|placeholder(?!=)|dummy|stub)\b")


def _functions(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_are_short():
    long = {shown(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: n for name, n in long.items() if n > MAX_FILE_LINES and name not in EXEMPT} == {}


def test_functions_are_short():
    long = {
        f"{shown(path)}:{function.name}": function.end_lineno - function.lineno + 1
        for path in python_files()
        for function in _functions(path)
    }
    assert {name: n for name, n in long.items() if n > MAX_FUNCTION_LINES and name not in EXEMPT} == {}


def test_lines_are_short():
    long = [
        f"{shown(path)}:{number}"
        for path in python_files()
        if shown(path) not in EXEMPT
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > MAX_LINE_LENGTH
    ]
    assert long == []


def test_functions_take_one_or_two_subjects_and_then_keywords():
    crowded = []
    for path in python_files(*CODE):
        for function in _functions(path):
            arguments = function.args
            positional = [
                a.arg for a in (*arguments.posonlyargs, *arguments.args) if a.arg not in ("self", "cls")
            ]
            total = len(positional) + len(arguments.kwonlyargs)
            name = f"{shown(path)}:{function.name}"
            if _is_component(function) or name in EXEMPT:
                continue
            if len(positional) > MAX_POSITIONAL or total > MAX_PARAMETERS:
                crowded.append(f"{name} takes {len(positional)} positional of {total}")
    assert crowded == []


def _is_component(function):
    """Kubeflow defines how a component's parameters and a pipeline's are declared."""
    return any("component" in ast.unparse(d) or "pipeline" in ast.unparse(d) for d in function.decorator_list)


def test_exemptions_are_of_use_and_have_reasons():
    for name, reason in EXEMPT.items():
        file, _, function = name.partition(":")
        assert (ROOT / file).is_file(), f"{file} is exempt but does not exist"
        if function:
            assert function in {node.name for node in _functions(ROOT / file)}
        assert len(reason.split()) > 3, f"{name} is exempt without a reason"


def test_every_file_says_what_it_is_for_in_its_first_line():
    silent = [shown(path) for path in python_files() if not (ast.get_docstring(parsed(path)) or "").strip()]
    assert silent == []


def test_file_names_say_what_is_in_them():
    assert [shown(path) for path in python_files() if path.name in BAD_NAMES] == []


def test_no_code_is_left_unfinished():
    unfinished = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in python_files(*CODE)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if _UNFINISHED.search(line)
    ]
    assert unfinished == []


def test_nothing_names_a_place_of_one_machine():
    roots = ("work", "farm", "tmp", "home", "root")
    places = re.compile("|".join(rf"(?<![\w.}}])/{root}/\w" for root in roots))
    text = (".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".sh", ".cfg", ".json", "")
    named = [
        f"{shown(path)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.suffix in text
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if places.search(line)
    ]
    assert named == []


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".jp2", ".png", ".parquet", ".csv", ".npz"])
def test_no_data_lives_in_the_checkout(suffix):
    allowed = ("docs/", "tests/golden/", "platform/phenoscale/")
    data = [shown(path) for path in tracked_files() if path.suffix == suffix]
    assert [name for name in data if not name.startswith(allowed)] == []


def test_the_checkout_stays_small():
    assert [shown(path) for path in tracked_files() if path.stat().st_size > 500_000] == []
