"""How tests are written here: facts in sentences, real things and no mocks, beside what they test."""

import ast
import re

from tests.architecture.tree import LIBRARY, ROOT, parsed, python_files, shown

OWN_FOLDERS = ("architecture", "golden", "end_to_end", "support")
CHECKOUT_FOLDERS = ("components", "pipelines", "infra", "bench")
MIN_WORDS = 3
_MOCKS = re.compile(r"\b(Mock|MagicMock|mocker)\(|mock\.patch|monkeypatch\.setattr|@patch|xfail")
# These two name what they look for.
_NAMES_THE_WORDS = ("tests/architecture/test_habits.py", "tests/architecture/test_budgets.py")


def _tests():
    for path in python_files("tests"):
        if path.name.startswith("test_"):
            yield path


def test_test_names_are_sentences():
    short = [
        f"{shown(path)}: {node.name}"
        for path in _tests()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and len(node.name.removeprefix("test_").split("_")) < MIN_WORDS
    ]
    assert short == []


def test_nothing_is_mocked():
    mocked = [
        f"{shown(path)}:{number}"
        for path in python_files("tests")
        if shown(path) not in _NAMES_THE_WORDS
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if _MOCKS.search(line)
    ]
    assert mocked == []


def test_a_test_skips_only_for_what_a_machine_may_lack_and_says_so():
    silent = []
    for path in python_files("tests"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.skip", "pytest.mark.skipif"):
                reason = ast.unparse(node)
                if not re.search(r"PHENOSCALE_TEST_DATA|on PATH|not on this machine|needs", reason):
                    silent.append(f"{shown(path)}:{node.lineno}: {reason[:80]}")
    assert silent == []


def test_tests_stand_where_their_module_stands():
    astray = []
    for path in _tests():
        parts = path.relative_to(ROOT / "tests").parts
        if parts[0] in OWN_FOLDERS or parts[0] in CHECKOUT_FOLDERS:
            continue
        folder = LIBRARY.joinpath(*parts[:-1])
        if not folder.is_dir():
            astray.append(f"{shown(path)}: {folder.relative_to(LIBRARY)} is no package of the library")
    assert astray == []
