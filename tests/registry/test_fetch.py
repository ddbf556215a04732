"""A registered encoder comes back as the folder that was registered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from phenoscale.config import parse_config
from phenoscale.errors import UserError
from phenoscale.inference.config import EmbedConfig
from phenoscale.models.encoder import load_encoder
from phenoscale.operations.addresses import with_local_inputs
from phenoscale.operations.execute import execute
from phenoscale.operations.stage_table import find_stage
from phenoscale.registry.fetch import fetch_encoder, find_version
from phenoscale.registry.store import Registry
from phenoscale.schema.encoders import encoder_digest
from phenoscale.stages import plan_stage
from phenoscale.stages.inputs import resolve_inputs
from phenoscale.tracking.server import artifact_folder
from tests.registry.conftest import Workplace
from tests.support.screens import make_tiny_store

ADDRESS = "models:/phenoscale-encoder@champion"


@pytest.fixture
def registered(workplace: Workplace) -> Path:
    encoder = workplace.probed(seed=1)
    workplace.champion(seed=1, recall=0.4)
    return encoder


def test_the_champion_embeds_like_the_encoder_that_was_registered(
    workplace: Workplace, registered: Path
) -> None:
    fetched = fetch_encoder(ADDRESS, runtime=workplace.runtime)
    assert encoder_digest(fetched) == encoder_digest(registered)
    crops = torch.randint(0, 65535, (2, 5, 16, 16), generator=torch.Generator().manual_seed(0))
    original, returned = load_encoder(registered), load_encoder(fetched)
    assert torch.equal(original.embed(crops), returned.embed(crops))


def test_a_version_number_and_the_alias_lead_to_one_folder(workplace: Workplace, registered: Path) -> None:
    by_alias = fetch_encoder(ADDRESS, runtime=workplace.runtime)
    assert fetch_encoder("models:/phenoscale-encoder/1", runtime=workplace.runtime) == by_alias


def test_an_encoder_is_downloaded_once(workplace: Workplace, registered: Path) -> None:
    first = fetch_encoder(ADDRESS, runtime=workplace.runtime)
    marker = first / "card.md"
    marker.write_text("still here")
    assert fetch_encoder(ADDRESS, runtime=workplace.runtime) == first
    assert marker.read_text() == "still here"


def test_a_fetched_encoder_is_the_same_input_as_the_output_that_it_was_registered_from(
    workplace: Workplace, registered: Path
) -> None:
    fetched = fetch_encoder(ADDRESS, runtime=workplace.runtime)
    original, returned = resolve_inputs({"registered": registered, "fetched": fetched})
    assert (returned.digest, returned.stage, returned.key) == (original.digest, "probe", original.key)


def test_weights_that_were_changed_in_the_store_are_refused(workplace: Workplace, registered: Path) -> None:
    [stored] = artifact_folder(workplace.runtime).rglob("encoder.safetensors")
    stored.write_bytes(stored.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="files that are not those of encoder"):
        fetch_encoder(ADDRESS, runtime=workplace.runtime)


def test_an_address_without_a_version_is_a_user_error(workplace: Workplace, registered: Path) -> None:
    refusals = {
        "phenoscale-encoder": "is not a registered encoder; write models:/NAME@champion",
        "models:/phenoscale-encoder@nobody": "points at nothing",
        "models:/phenoscale-encoder/7": "points at nothing",
        "models:/another@champion": "points at nothing",
    }
    for address, message in refusals.items():
        with pytest.raises(UserError, match=message):
            fetch_encoder(address, runtime=workplace.runtime)


def test_a_fetched_encoder_brings_its_lineage_and_is_registered_again_with_newer_rows(
    workplace: Workplace, registered: Path
) -> None:
    fetched = fetch_encoder(ADDRESS, runtime=workplace.runtime)
    again = workplace.register(fetched, workplace.benchmarked(trained=0.5, untrained=0.2))
    assert (again.summary["version"], again.summary["was_known"]) == ("1", True)
    version = find_version(ADDRESS, registry=Registry(workplace.runtime))
    assert version.tags["metric.recall.pairs"] == "0.5000"
    assert version.tags["stage_key"] == json.loads((registered.parent / "lineage.json").read_text())["key"]


VERBS_WITH_ENCODERS = [
    ("embed", "encoder", {"encoder": ADDRESS, "stores": ["{raw}"]}),
    ("probe", "encoder", {"encoder": ADDRESS, "manifest": "{raw}"}),
    ("probe", "champion", {"encoder": "{encoder}", "baselines": {"champion": ADDRESS}, "manifest": "{raw}"}),
    ("import", "like", {"like": ADDRESS}),
    ("register", "encoder", {"encoder": ADDRESS}),
]


def test_every_verb_that_takes_an_encoder_takes_one_by_its_address_in_the_registry(
    workplace: Workplace, registered: Path
) -> None:
    raw = workplace.folder / "raw.txt"
    for verb, name, given in VERBS_WITH_ENCODERS:
        text = json.dumps(given).replace("{raw}", str(raw)).replace("{encoder}", str(registered))
        stage = find_stage(verb)
        values = {**json.loads(text), "runtime": workplace.runtime}
        config = with_local_inputs(parse_config(stage.load_config_class(), values, source=verb))
        inputs = {found.name: found.digest for found in plan_stage(stage.load_function(), config).inputs}
        (expected,) = resolve_inputs({"encoder": registered})
        matching = [found for found, digest in inputs.items() if digest == expected.digest]
        assert any(name in found for found in matching), (verb, inputs)


def test_a_screen_is_embedded_with_the_champion(workplace: Workplace, registered: Path) -> None:
    encoder = load_encoder(registered).config
    store = make_tiny_store(
        workplace.folder / "store", num_experiments=1, num_plates=1, channels=encoder.channels
    )
    config = EmbedConfig(
        encoder=ADDRESS, stores=[str(store)], match_channels_by_name=True, runtime=workplace.runtime
    )
    result = execute("embed", config)
    assert result.summary["encoder_digest"] == encoder_digest(registered)
    assert result.summary["num_shards"] == 1
