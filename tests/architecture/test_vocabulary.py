"""Words of rows that several packages know stand in schema/rows.py alone; everybody else imports them."""

import ast

import pytest

from phenoscale.schema import rows
from tests.architecture.tree import LIBRARY, parsed, python_files, shown

HOME = "platform/phenoscale/schema/rows.py"
WORDS = {value: name for name, value in vars(rows).items() if name.isupper() and isinstance(value, str)}
# Words that mean something else as well, such as a column or a stage: found where a row is read or made.
AMBIGUOUS = frozenset(
    {"step", "final", "oracle", "chance", "recall", "consistency", "moa", "probe", "skipped"}
)
_FIELDS = frozenset({"benchmark", "metric"})


def spelled_words(tree):
    """Lines on which a word of rows is spelled: unmistakable ones, and others beside a field of a row."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in WORDS and node.value not in AMBIGUOUS:
            yield node.lineno
        elif isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute):
            if node.left.attr in _FIELDS:
                yield from (each.lineno for each in node.comparators if _is_word(each))
        elif isinstance(node, ast.Compare) and _reads_step(node.left):
            yield from (each.lineno for each in node.comparators if _is_word(each))
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            fields = (value for key, value in pairs if getattr(key, "value", "") in _FIELDS)
            yield from (each.lineno for each in fields if _is_word(each))
        elif isinstance(node, ast.keyword) and node.arg in _FIELDS and _is_word(node.value):
            yield node.value.lineno
        elif _reads_step(node):
            yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Row":
            yield from (each.lineno for each in node.args[:3] if _is_word(each) and each.value != "")


def _is_word(node):
    return isinstance(node, ast.Constant) and node.value in WORDS


def _reads_step(node):
    """`settings["step"]` or `settings.get("step")`, with the word spelled."""
    key, owner = None, None
    if isinstance(node, ast.Subscript):
        key, owner = node.slice, node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        key, owner = node.args[0], node.func.value
    is_word = isinstance(key, ast.Constant) and key.value in (rows.STEP, rows.CHANCE)
    return is_word and ast.unparse(owner).endswith(("setting", "settings"))


@pytest.mark.parametrize(
    "text",
    [
        'row.benchmark == "recall"',
        'row.metric != "skipped"',
        'row.settings["step"] == FINAL',
        'row.settings.get("step") == "final"',
        'Gate(benchmark="probe", metric="accuracy", at_least=0.5)',
        'Row("moa", source, "accuracy")',
        'name = "nsc_accuracy"',
        '{"benchmark": "recall", "at_least": 0.5}',
    ],
)
def test_a_word_of_rows_is_found(text):
    assert list(spelled_words(ast.parse(text)))


def test_no_module_spells_a_word_of_rows_that_another_one_reads():
    found = {
        shown(path): sorted(set(spelled_words(parsed(path))))
        for path in python_files(LIBRARY)
        if shown(path) != HOME
    }
    assert {path: lines for path, lines in found.items() if lines} == {}
