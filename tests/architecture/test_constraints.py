"""Every dependency is pinned, and the pins are what the ranges allow."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.architecture.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _requirements():
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *(text for texts in extras.values() for text in texts)]:
        requirement = Requirement(text)
        if requirement.name != PROJECT["name"]:
            yield requirement


def _pins():
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    return {
        canonicalize_name(name): version for name, version in (line.split("==") for line in lines if line)
    }


def test_every_dependency_is_pinned_to_one_version_in_its_range():
    pins = _pins()
    for requirement in _requirements():
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement.name} has no exact version in constraints.txt"
        assert requirement.specifier.contains(Version(pins[name]), prereleases=True), (
            requirement,
            pins[name],
        )


def test_every_dependency_states_the_oldest_version_that_works():
    open_ended = [r.name for r in _requirements() if not re.search(r">=|==", str(r.specifier))]
    assert open_ended == []


def test_the_version_of_the_package_has_an_entry_in_the_changelog():
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
