"""Every recipe, resolved, is what was reviewed; a change of a default shows up here."""

import pytest

from phenoscale.errors import UserError
from phenoscale.recipes import find_recipe, recipe_names
from tests.golden.write import FOLDER, resolved_recipe


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_is_what_was_reviewed(name, monkeypatch):
    monkeypatch.delenv("PHENOSCALE_TEST_DATA", raising=False)
    golden = FOLDER / "recipes" / f"{name}.yaml"
    assert golden.is_file(), "a new recipe; write its golden file with `make golden`"
    assert resolved_recipe(name) == golden.read_text(), "review the change, then `make golden`"


def test_no_golden_file_is_left_of_a_recipe_that_is_gone():
    golden = FOLDER / "recipes"
    names = {path.relative_to(golden).with_suffix("").as_posix() for path in golden.rglob("*.yaml")}
    assert names == set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_states_its_command_its_hardware_and_its_promise(name):
    comment = "".join(line for line in find_recipe(name).read_text().splitlines(True) if line.startswith("#"))
    assert f"--config {name}" in comment or "make demo" in comment
    assert "Hardware" in comment or name.endswith("_tiny")


def test_a_file_of_the_user_wins_over_a_recipe_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = find_recipe("demo")
    assert shipped.is_file()
    (tmp_path / "demo").write_text("name: mine")
    assert find_recipe("demo").read_text() == "name: mine"


def test_an_unknown_recipe_is_refused_with_the_names_that_exist():
    with pytest.raises(UserError, match=r"'dmeo' is neither a file nor a recipe; .*demo"):
        find_recipe("dmeo")
