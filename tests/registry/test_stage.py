"""Register, promote and roll back on a real MLflow store."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from phenoscale.errors import RetryError, UserError
from phenoscale.registry.config import Gate, PromoteConfig, RegisterConfig, RollbackConfig
from phenoscale.registry.records import read_registered
from phenoscale.registry.stage import run_promote, run_register, run_rollback
from phenoscale.registry.store import Registry, Version
from phenoscale.schema.encoders import encoder_digest
from phenoscale.stages import read_lineage
from tests.registry.conftest import Workplace
from tests.support.pipeline_outputs import encoder_config
from tests.support.run_store import tracked_runtime

NAME = "phenoscale-encoder"


def version(workplace: Workplace, alias: str) -> Version | None:
    return Registry(workplace.runtime).find_by_alias(NAME, alias=alias)


def holder(workplace: Workplace, alias: str) -> str:
    found = version(workplace, alias)
    return "" if found is None else found.version


def test_registering_gives_a_candidate_with_tags_evidence_and_lineage(workplace: Workplace) -> None:
    encoder = workplace.probed()
    result = workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))
    found = version(workplace, "candidate")
    assert found is not None
    assert found.encoder_digest == encoder_digest(encoder)
    assert found.tags["block"] == "2"
    assert found.tags["metric.recall.pairs"] == "0.4000"
    assert "above the null's 0.1000" in found.tags["null_check"]
    assert len(found.tags["lineage_digest"]) == 64
    rows = json.loads(Registry(workplace.runtime).read_evidence(found, file="rows.json") or "")
    assert {row["benchmark"] for row in rows} == {"recall", "probe"}
    assert read_registered(result.path).uri == f"models:/{NAME}/1"
    assert read_lineage(result.path)["inputs"]["encoder"]["stage"] == "probe"


def test_registering_the_same_encoder_again_gives_the_same_version(workplace: Workplace) -> None:
    encoder = workplace.probed()
    first = workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))
    again = workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))
    assert (again.reused, again.summary["version"]) == (True, "1")
    with_more_rows = workplace.register(encoder, workplace.benchmarked(trained=0.41, untrained=0.2))
    assert not with_more_rows.reused
    assert with_more_rows.path != first.path
    assert (with_more_rows.summary["version"], with_more_rows.summary["was_known"]) == ("1", True)


def test_an_output_that_the_registry_does_not_know_is_registered_again(workplace: Workplace) -> None:
    encoder, rows = workplace.probed(), workplace.benchmarked(trained=0.4, untrained=0.2)
    workplace.register(encoder, rows)
    tracked_runtime(workplace.folder)  # an empty registry in the same place
    again = workplace.register(encoder, rows)
    assert not again.reused
    assert holder(workplace, "candidate") == "1"


def test_the_newest_registration_is_the_candidate(workplace: Workplace) -> None:
    rows = workplace.benchmarked(trained=0.4, untrained=0.2)
    workplace.register(workplace.probed(seed=1), rows)
    workplace.register(workplace.probed(seed=2), rows)
    assert holder(workplace, "candidate") == "2"
    workplace.register(workplace.probed(seed=1), rows)
    assert holder(workplace, "candidate") == "1"


@pytest.mark.parametrize("num_crops", [0, 96_000])
def test_an_untrained_encoder_is_refused(workplace: Workplace, num_crops: int) -> None:
    described = replace(encoder_config(is_trained=num_crops == 0, num_training_crops=num_crops))
    encoder = workplace.probed(encoder=described)
    with pytest.raises(UserError, match=r"untrained encoder.*give the encoder that `pretrain`"):
        workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))
    assert version(workplace, "candidate") is None


def test_an_encoder_outside_of_any_stage_is_refused_for_its_lineage(
    workplace: Workplace, tmp_path: Path
) -> None:
    copied = tmp_path / "mailed" / "encoder"
    shutil.copytree(workplace.probed(), copied)
    with pytest.raises(UserError, match=r"has no lineage.*nobody can say what it was trained on"):
        workplace.register(copied, workplace.benchmarked(trained=0.4, untrained=0.2))


@pytest.mark.parametrize("lost", ["_SUCCESS.json", "lineage.json"])
def test_an_encoder_with_an_incomplete_record_is_refused(workplace: Workplace, lost: str) -> None:
    encoder = workplace.probed()
    (encoder.parent / lost).unlink()
    with pytest.raises(UserError, match=r"incomplete|has no lineage|no complete lineage"):
        workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))


def test_an_encoder_whose_weights_were_changed_afterwards_is_refused(workplace: Workplace) -> None:
    encoder = workplace.probed()
    weights = encoder / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="is not what its stage wrote"):
        workplace.register(encoder, workplace.benchmarked(trained=0.4, untrained=0.2))


def test_an_encoder_that_recalls_no_more_than_the_null_is_refused(workplace: Workplace) -> None:
    rows = workplace.benchmarked(trained=0.14, untrained=0.1)
    with pytest.raises(UserError, match=r"fails the null check.*0\.0900.*above the null's 0\.1000"):
        workplace.register(workplace.probed(), rows)


def test_without_relationships_the_probe_decides_against_random_weights(workplace: Workplace) -> None:
    assert workplace.register(workplace.probed(accuracy=0.42)).summary["version"] == "1"
    with pytest.raises(UserError, match=r"fails the null check: .*untrained encoder, 0\.2"):
        workplace.register(workplace.probed(seed=5, accuracy=0.2))


def test_an_encoder_that_no_row_speaks_of_is_refused(workplace: Workplace) -> None:
    with pytest.raises(UserError, match="nothing speaks for this encoder"):
        workplace.register(workplace.probed(), workplace.benchmarked(another=0.9), label="unheard of")


def test_a_refusal_can_be_recorded_so_that_a_pipeline_reaches_its_report(workplace: Workplace) -> None:
    rows = workplace.benchmarked(trained=0.12, untrained=0.1)
    refused = workplace.register(workplace.probed(), rows, when_refused="record")
    assert "null check" in read_registered(refused.path).refusal
    assert version(workplace, "candidate") is None
    with pytest.raises(UserError, match="the candidate of phenoscale-encoder is not promoted"):
        workplace.promote(refused)
    decided = workplace.promote(refused, when_refused="record")
    assert decided.summary["decision"] == "refused"
    assert workplace.register(workplace.probed(), rows, when_refused="record").reused
    assert workplace.promote(refused, when_refused="record").reused


def test_a_candidate_that_holds_all_gates_becomes_champion_and_keeps_the_evidence(
    workplace: Workplace,
) -> None:
    registered = workplace.register(workplace.probed(), workplace.benchmarked(trained=0.4, untrained=0.2))
    result = workplace.promote(registered)
    champion = version(workplace, "champion")
    assert champion is not None
    assert result.summary["decision"] == "promoted"
    assert champion.tags["promotion.by"] == "Ada"
    evidence = json.loads(Registry(workplace.runtime).read_evidence(champion, file="promotion.json") or "")
    assert evidence == json.loads((result.path / "promotion.json").read_text())
    numbers = {gate["gate"]: (gate["value"], gate["passed"]) for gate in evidence["gates"]}
    assert numbers["corrected recall beats the untrained encoder"] == (pytest.approx(0.4), True)
    assert numbers["null check"] == (pytest.approx(0.35), True)
    assert evidence["at"].startswith("20")


def test_promoting_twice_says_that_it_is_champion_already(workplace: Workplace) -> None:
    registered = workplace.champion(seed=1, recall=0.4)
    assert workplace.promote(registered).reused
    other_gates = (Gate(benchmark="recall", metric="recall", at_least=0.3),)
    again = workplace.promote(registered, gates=other_gates)
    assert (again.reused, again.summary["decision"]) == (False, "already champion")


def test_a_worse_candidate_is_refused_with_every_failed_gate_and_its_numbers(workplace: Workplace) -> None:
    workplace.champion(seed=1, recall=0.5)
    worse = workplace.register(workplace.probed(seed=2), workplace.benchmarked(trained=0.3, untrained=0.35))
    with pytest.raises(UserError) as refusal:
        workplace.promote(worse)
    message = str(refusal.value)
    assert "2 of 4 gates fail" in message
    assert "beats the untrained encoder: 0.3000, asked for above the untrained encoder's 0.3500" in message
    assert "at least the champion's, less 0.02, 0.4800 (misses 0.4800 by 0.1800)" in message
    assert refusal.value.exit_code == 2
    assert holder(workplace, "champion") == "1"
    candidate = version(workplace, "candidate")
    assert candidate is not None
    assert (candidate.version, candidate.tags["promotion"]) == ("2", "refused")
    assert Registry(workplace.runtime).read_evidence(candidate, file="promotion.json") is not None


def test_a_refused_promotion_is_judged_again_once_the_champion_has_changed(workplace: Workplace) -> None:
    workplace.champion(seed=1, recall=0.3)
    workplace.champion(seed=2, recall=0.5)
    middling = workplace.register(workplace.probed(seed=3), workplace.benchmarked(trained=0.4, untrained=0.2))
    assert workplace.promote(middling, when_refused="record").summary["decision"] == "refused"
    assert workplace.promote(middling, when_refused="record").reused
    run_rollback(RollbackConfig(reason="bad plates", runtime=workplace.runtime))
    assert workplace.promote(middling, when_refused="record").summary["decision"] == "promoted"


def test_a_rollback_gives_the_place_back_and_keeps_the_reason(workplace: Workplace) -> None:
    workplace.champion(seed=1, recall=0.4)
    workplace.champion(seed=2, recall=0.5)
    assert holder(workplace, "champion") == "2"
    done = run_rollback(RollbackConfig(reason="recall fell on plate 7", by="Ada", runtime=workplace.runtime))
    assert (done.champion, done.previous) == ("1", "2")
    assert holder(workplace, "champion") == "1"
    fallen = Registry(workplace.runtime).find_by_number(NAME, number="2")
    assert fallen is not None
    assert fallen.tags["rolled_back"].startswith("recall fell on plate 7 (by Ada")


def test_a_rollback_can_name_its_version(workplace: Workplace) -> None:
    for seed, recall in ((1, 0.4), (2, 0.45), (3, 0.5)):
        workplace.champion(seed=seed, recall=recall)
    assert run_rollback(RollbackConfig(reason="x", version="1", runtime=workplace.runtime)).champion == "1"


def test_a_rollback_without_a_way_back_is_a_user_error(workplace: Workplace) -> None:
    workplace.champion(seed=1, recall=0.4)
    refusals: list[tuple[dict[str, Any], str]] = [
        ({}, "needs --reason"),
        ({"reason": "x"}, "there is none before it"),
        ({"reason": "x", "version": "7"}, "does not exist"),
        ({"reason": "x", "version": "1"}, "is the champion already"),
        ({"reason": "x", "name": "nobody"}, "has no champion"),
    ]
    for settings, message in refusals:
        with pytest.raises(UserError, match=message):
            run_rollback(RollbackConfig(**settings, runtime=workplace.runtime))


def test_promoting_without_a_folder_takes_the_candidate_alias(workplace: Workplace) -> None:
    with pytest.raises(UserError, match="has no candidate"):
        run_promote(PromoteConfig(runtime=workplace.runtime))
    workplace.register(workplace.probed(), workplace.benchmarked(trained=0.4, untrained=0.2))
    assert run_promote(PromoteConfig(runtime=workplace.runtime)).summary["decision"] == "promoted"
    # A new candidate is judged although config and inputs are the same as before.
    workplace.register(workplace.probed(seed=9), workplace.benchmarked(trained=0.45, untrained=0.2))
    assert run_promote(PromoteConfig(runtime=workplace.runtime)).summary["champion"] == "2"


def test_register_without_an_encoder_says_which_flag_is_missing(workplace: Workplace) -> None:
    with pytest.raises(UserError, match="register needs --encoder"):
        run_register(RegisterConfig(runtime=workplace.runtime))


def test_a_registry_that_is_away_is_a_reason_to_retry(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    encoder, rows = workplace.probed(), workplace.benchmarked(trained=0.4, untrained=0.2)
    away = workplace.runtime.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(RetryError, match=r"registry at http://127\.0\.0\.1:9 is away"):
        run_register(RegisterConfig(encoder=str(encoder), benchmark=str(rows), runtime=away))
