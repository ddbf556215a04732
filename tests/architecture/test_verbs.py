"""Every verb has help, a page in the documentation, and fields that say what they are for."""

import importlib.util
import re
import subprocess
import sys

import pytest

from phenoscale.cli.arguments import build_parser
from phenoscale.cli.verbs import VERBS
from phenoscale.config import Config
from phenoscale.config.flags import sections_in
from phenoscale.operations.stage_table import STAGES
from phenoscale.references import find
from tests.architecture.tree import ROOT

HEAVY = (
    "torch",
    "mlflow",
    "kfp",
    "numpy",
    "pyarrow",
    "pandas",
    "pydantic",
    "matplotlib",
    "plotly",
    "sklearn",
    "scipy",
)


def _sections(config, seen=None):
    """A config class and every class of its sections."""
    seen = {} if seen is None else seen
    if config in seen:
        return seen
    seen[config] = None
    for info in config.model_fields.values():
        for section in sections_in(info.annotation):
            _sections(section, seen)
    return seen


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_has_a_function_a_config_with_a_docstring_and_help(name):
    verb = VERBS[name]
    config = find(verb.config)
    assert issubclass(config, Config)
    assert callable(find(verb.function))
    assert config.__doc__ and config.__doc__ != Config.__doc__
    text = build_parser(name, verb, config=config).format_help()
    assert f"usage: phenoscale {name}" in text


@pytest.mark.parametrize("name", VERBS)
def test_every_field_of_a_verb_says_what_it_is_for(name):
    silent = [
        f"{section.__name__}.{field}"
        for section in _sections(find(VERBS[name].config))
        for field, info in section.model_fields.items()
        if not info.description and not list(sections_in(info.annotation)) and not _is_tag(info)
    ]
    assert silent == []


def _is_tag(info):
    """A field with one possible value names the kind of its section."""
    return str(info.annotation).startswith("typing.Literal[") and "," not in str(info.annotation)


def test_every_stage_is_a_verb_with_the_same_config_and_function():
    for name, stage in STAGES.items():
        assert (VERBS[name].config, VERBS[name].function) == (stage.config, stage.function)
        assert VERBS[name].is_stage


def test_the_page_of_verbs_is_what_the_configs_say():
    spec = importlib.util.spec_from_file_location("write_verbs", ROOT / "docs" / "write_verbs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "verbs.md").read_text()
    assert page == module.verbs_page() + "\n", "a verb or a field changed; run `make docs`"
    for name in VERBS:
        assert f"\n## {name}\n" in page


def test_top_level_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from phenoscale.cli.main import main\n"
        "assert main(['--help']) == 0\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_imports_neither_torch_nor_mlflow(name):
    code = (
        "import sys\n"
        "from phenoscale.cli.verbs import VERBS\n"
        "from phenoscale.references import find\n"
        f"find(VERBS[{name!r}].config)\n"
        "print([name for name in ('torch', 'timm', 'mlflow', 'kfp', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_verbs_that_the_changelog_and_the_guide_name_exist():
    known = {name.partition(" ")[0] for name in VERBS}
    for page in ("README.md", "docs/guide.md", "docs/operations.md"):
        named = set(re.findall(r"^ {4}(?:\$ )?phenoscale ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE))
        assert named <= known, page
