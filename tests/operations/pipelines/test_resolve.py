"""The config of a run: recipe, settings and parameters in one immutable file, with its places frozen."""

import json
from pathlib import Path

import pytest

from phenoscale.config import load_config
from phenoscale.errors import UserError
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.full import FULL
from phenoscale.operations.pipelines.parameters import filled_fields, page_fields
from phenoscale.operations.pipelines.pretrain import PRETRAIN
from phenoscale.operations.pipelines.resolve import freeze, keep_config, read_config, resolve_parameters
from phenoscale.operations.pipelines.table import PIPELINES, find_pipeline
from phenoscale.recipes import find_recipe
from phenoscale.storage import open_storage


def _finished(folder, stage="ingest", started=""):
    folder.mkdir(parents=True)
    (folder / "_SUCCESS.json").write_text("{}")
    (folder / "lineage.json").write_text(json.dumps({"stage": stage, "started": started}))
    return str(folder)


def test_settings_win_over_the_recipe_and_what_a_person_fills_wins_over_both(tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("pretrain: {num_steps: 7, crop_size: 48}\ningest: {screen: from-settings}\n")
    values = {"recipe": "demo_tiny", "settings": str(settings), "screen_name": "S1", "num_steps": 3}
    found = resolve_parameters(FULL, values)
    assert (found.pretrain.num_steps, found.pretrain.crop_size) == (3, 48)
    assert found.pretrain.global_batch == 32, "the recipe's, where nobody said otherwise"
    assert (found.ingest.screen, found.name) == ("S1", "demo_tiny")


def test_a_field_of_the_page_left_at_its_default_gives_way_to_the_recipe():
    untouched = {field.name: field.default for field in page_fields(FULL)} | {"recipe": "demo_tiny"}
    expected = load_config(config_class(FULL), find_recipe("demo_tiny"), flags={})
    assert resolve_parameters(FULL, untouched) == expected


@pytest.mark.parametrize("name", PIPELINES)
def test_every_field_of_every_page_fills_fields_that_the_config_takes(name):
    pipeline = find_pipeline(name)
    for field in page_fields(pipeline):
        filled = filled_fields(pipeline, {field.name: "x"})
        assert set(filled) == set(field.fields)
        assert isinstance(field.default, field.kind)


def test_several_screens_and_models_are_filled_from_one_field():
    found = resolve_parameters(FULL, {"screens": "a, b", "model_name": "our-encoder"})
    assert found.screens == ("a", "b")
    assert found.registry.name == found.promote.name == "our-encoder"


def test_a_value_that_breaks_a_rule_is_refused_with_its_field():
    with pytest.raises(UserError, match=r"pretrain\.num_steps"):
        resolve_parameters(FULL, {"num_steps": -3})


def test_the_kept_config_is_found_by_its_digest_and_resolves_to_itself(workspace):
    config = load_config(
        config_class(FULL), find_recipe("demo_tiny"), flags={"runtime.workspace": str(workspace)}
    )
    address = keep_config(config)
    assert Path(address).parent == workspace / "configs"
    assert keep_config(config) == address
    assert read_config(FULL, address) == config
    again = resolve_parameters(FULL, {"settings": address, "run": "r"})
    assert (again, keep_config(again)) == (config, address), "as the first task of a local run finds it"
    assert keep_config(config.model_copy(update={"seed": 1})) != address


def test_a_prefix_of_screens_is_frozen_to_the_finished_ones_below_it(tmp_path):
    one, two = _finished(tmp_path / "w" / "ingest" / "b"), _finished(tmp_path / "w" / "ingest" / "a")
    _finished(tmp_path / "w" / "curate" / "c", stage="curate")
    (tmp_path / "w" / "ingest" / "unfinished").mkdir()
    make = config_class(PRETRAIN)
    for place in (str(tmp_path / "w"), str(tmp_path / "w" / "ingest")):
        frozen = freeze(make(screens=(one, place)))
        assert frozen.screens == (one, two)
        assert freeze(frozen) == frozen
    with pytest.raises(UserError, match="no finished screen and holds none"):
        freeze(make(screens=(str(tmp_path / "w" / "ingest" / "unfinished"),)))


def test_of_a_screen_that_was_ingested_again_the_newest_output_counts(tmp_path):
    ingest = tmp_path / "w" / "ingest"
    for name, screen, started in (
        ("b", "screen-1", "2026-11-29T10:00:00+00:00"),
        ("a", "screen-1", "2026-11-28T10:00:00+00:00"),
        ("c", "screen-2", "2026-11-27T10:00:00+00:00"),
    ):
        _finished(ingest / name, started=started)
        (ingest / name / "screen.json").write_text(json.dumps({"screen": screen}))
    frozen = freeze(config_class(PRETRAIN)(screens=(str(ingest),)))
    assert frozen.screens == (str(ingest / "b"), str(ingest / "c"))


def test_finished_screens_stand_beside_plates_or_in_their_place():
    make = config_class(PRETRAIN)
    assert [step.name for step in make(screens=("s",)).steps][:2] == ["curate", "pretrain"]
    both = make(screens=("s",), ingest={"path": "plates"})
    assert [step.name for step in both.steps][:2] == ["ingest", "curate"]
    assert make().steps[0].name == "ingest"


def test_in_a_bucket_screens_are_frozen_and_the_config_is_kept_by_address(s3_uri):
    storage = open_storage(s3_uri)
    for key, stage in {"ingest/b": "ingest", "ingest/a": "ingest", "curate/c": "curate"}.items():
        storage.write_bytes(f"{key}/_SUCCESS.json", b"{}")
        storage.write_bytes(f"{key}/lineage.json", json.dumps({"stage": stage}).encode())
    config = freeze(config_class(PRETRAIN)(screens=(s3_uri,), runtime={"workspace": s3_uri}))
    assert config.screens == (f"{s3_uri}/ingest/a", f"{s3_uri}/ingest/b")
    address = keep_config(config)
    assert address.startswith(f"{s3_uri}/configs/")
    assert read_config(PRETRAIN, address) == config
    assert resolve_parameters(PRETRAIN, {"settings": address}) == config
