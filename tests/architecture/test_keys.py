"""What tells plates and wells apart is spelled in schema/keys.py alone; everybody else imports it."""

import ast

import pytest

from tests.architecture.tree import LIBRARY, parsed, python_files, shown

HOME = "platform/phenoscale/schema/keys.py"
_PARTS = frozenset({"screen", "experiment", "plate", "well", "site", "object"})
_PAIRS = ({"screen", "experiment"}, {"experiment", "plate"}, {"plate", "well"})
# file -> why it may name the parts of a key side by side
EXEMPT = {
    "platform/phenoscale/screens/simulate/plan.py": "one screen, whose name does not change what is drawn",
    "platform/phenoscale/screens/simulate/stage.py": "one screen, whose name does not change what is drawn",
    "platform/phenoscale/benchmarks/wells/config.py": "targets: each is looked up by its own key",
    "platform/phenoscale/reports/sections/batch_effect.py": "targets: each is looked up by its own key",
}


def spelled_keys(tree):
    """Lines on which a key is spelled: names of columns side by side, or texts of two of them joined."""
    choices = {
        id(node.slice)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    }
    for node in ast.walk(tree):
        names = frozenset() if id(node) in choices else frozenset(_names(node))
        if any(pair <= names for pair in _PAIRS):
            yield node.lineno


def _names(node):
    """Column names that an expression puts together."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = node.elts
    elif isinstance(node, ast.Call):
        items = node.args
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.JoinedStr):
        items = list(ast.walk(node))
    else:
        return
    for item in items:
        yield from _column(item)


def _column(item):
    if isinstance(item, ast.Constant) and item.value in _PARTS:
        yield item.value
    elif isinstance(item, ast.Subscript):
        yield from _column(item.slice)


@pytest.mark.parametrize(
    "text",
    [
        'KEY = ("experiment", "plate")',
        'frame.groupby(["screen", "experiment"])',
        'frame[["experiment", "plate", "well"]]',
        'frame["experiment"] + "/" + frame["plate"]',
        "f\"{row['experiment']}/{row['plate']}\"",
        'zip(frame["plate"], frame["well"])',
        'key = (well["experiment"], well["plate"], well["well"])',
        '{"plate", "well"} <= set(frame)',
    ],
)
def test_a_spelled_key_is_seen(text):
    assert list(spelled_keys(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        'frame["experiment"].nunique()',
        'COLUMNS = ("plate", "gene")',
        'setting("experiment", help="plate and well")',
        "frame.groupby(list(PLATE_KEY))",
        'BatchKey = Literal["experiment", "plate"]',
    ],
)
def test_one_column_is_no_key(text):
    assert not list(spelled_keys(ast.parse(text)))


def test_no_module_spells_a_key_of_its_own():
    found = {
        shown(path): lines
        for path in python_files("platform", "components", "pipelines")
        if path.is_relative_to(LIBRARY.parent) and (lines := sorted(set(spelled_keys(parsed(path)))))
    }
    assert HOME in found, "the keys moved"
    del found[HOME]
    assert {name: lines for name, lines in found.items() if name not in EXEMPT} == {}
    assert set(EXEMPT) <= set(found), "an exemption that nothing needs any more"
