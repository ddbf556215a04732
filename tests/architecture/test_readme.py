"""README's commands work: each is a target of the Makefile, or a command line that is understood."""

import re
import shlex
import subprocess

import pytest

from phenoscale.cli.arguments import parse_arguments
from phenoscale.cli.main import split_verb
from phenoscale.cli.verbs import VERBS
from phenoscale.config import load_config
from phenoscale.recipes import find_recipe
from phenoscale.references import find
from tests.architecture.tree import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/operations.md")


def _commands(page):
    """Lines of code blocks (indented or fenced) that start with make or phenoscale."""
    for line in (ROOT / page).read_text().splitlines():
        found = re.match(r"^(?: {4})?(?:\$ )?((?:make|phenoscale) .+?)(?:\s{2,}#.*| # .*)?$", line)
        if found:
            yield found.group(1).rstrip("\\ ")


COMMANDS = sorted({(page, command) for page in PAGES for command in _commands(page)})


def test_readme_names_the_two_commands_and_the_integration_run_is_one_of_them():
    commands = {command for page, command in COMMANDS if page == "README.md"}
    assert {"make demo", "make test"} <= commands
    run = (ROOT / ".ci" / "run").read_text()
    run_by_machine = [
        line.split(" ||")[0] for line in run.splitlines() if line.startswith(("make", "pip", "apt"))
    ]
    assert run_by_machine == ["make browser", "make test"]
    assert "make browser" in (ROOT / "README.md").read_text()


def _of(tool):
    return pytest.mark.parametrize(
        ("page", "command"), [entry for entry in COMMANDS if entry[1].startswith(tool)]
    )


@_of("make ")
def test_a_make_command_of_the_documentation_is_a_target(page, command):
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize(
    ("page", "command"), [entry for entry in COMMANDS if entry[1].startswith("phenoscale ")]
)
def test_a_phenoscale_command_of_the_documentation_is_understood(page, command, monkeypatch):
    monkeypatch.setenv("PHENOSCALE_TEST_DATA", "data")
    if re.search(r"\bVERB\b|my-screen\.yaml", command):
        return
    name, rest = split_verb(shlex.split(command, comments=True)[1:])
    config = find(VERBS[name].config)
    arguments, help_text = parse_arguments(name, VERBS[name], config=config, argv=rest)
    assert help_text, page
    file = find_recipe(arguments.file) if arguments.file else None
    assert load_config(config, file, flags=arguments.flags) is not None
