"""Promote a candidate under written gates, and give the place back when that was a mistake."""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.registry.config import PromoteConfig, RollbackConfig
from phenoscale.registry.gates import GateResult, check_null, evaluate_gates
from phenoscale.registry.records import (
    PROMOTION_FILE,
    Promotion,
    RegisteredVersion,
    Rollback,
    read_registered,
    write_promotion,
)
from phenoscale.registry.registration import evidence_of
from phenoscale.registry.store import CANDIDATE, CHAMPION, Registry, Version, describe
from phenoscale.stages import Output

PROMOTED, ALREADY, REFUSED = "promoted", "already champion", "refused"
PREVIOUS_TAG = "previous_champion"

logger = get_logger(__name__)


def promote(output: Output, *, config: PromoteConfig) -> Mapping[str, Any]:
    """Evaluate the gates, keep the evidence, move the alias, and write `promotion.json` into a folder.

    Returns:
        The summary of the stage.

    Raises:
        UserError: no candidate, or failed gates.
    """
    registry = Registry(config.runtime)
    refused = _refused_candidate(config)
    if refused is not None:
        champion = registry.find_by_alias(refused.name, alias=CHAMPION)
        decided = _decide_refused(refused, champion=champion, config=config)
    else:
        candidate = _candidate(registry, config)
        champion = registry.find_by_alias(candidate.name, alias=CHAMPION)
        decided = _decide(registry, candidate, champion=champion, config=config)
        _keep(registry, candidate, champion=champion, decided=decided)
    if decided.decision == REFUSED and config.when_refused == "fail":
        raise UserError(refusal(decided))
    if decided.decision == REFUSED:
        logger.warning("%s", refusal(decided))
    write_promotion(output, decided)
    return {
        "name": decided.name,
        "version": decided.version,
        "decision": decided.decision,
        "champion": decided.version if decided.decision != REFUSED else decided.champion_compared,
        "gates_held": len(decided.gates) - len(decided.failed),
        "gates": len(decided.gates),
    }


def is_promoted(folder: Path, *, config: PromoteConfig) -> bool:
    """Whether a folder's decision is about the candidate in question and the champion is still the same."""
    recorded = json.loads((folder / PROMOTION_FILE).read_text(encoding="utf-8"))
    registry = Registry(config.runtime)
    champion = registry.find_by_alias(str(recorded["name"]), alias=CHAMPION)
    standing = "" if champion is None else champion.version
    if recorded["decision"] != REFUSED and standing != recorded["version"]:
        return False
    if recorded["decision"] == REFUSED and standing != recorded["champion_compared"]:
        return False
    return _refused_candidate(config) is not None or (
        bool(_candidate(registry, config).version == recorded["version"])
    )


def refusal(decided: Promotion) -> str:
    """The message for a candidate that does not become champion."""
    what = f"version {decided.version}" if decided.version else "the candidate"
    failed = "".join(f"\n  - {gate.sentence()}" for gate in decided.failed)
    return (
        f"{what} of {decided.name} is not promoted: {len(decided.failed)} of "
        f"{len(decided.gates)} gates fail:{failed}\nimprove the encoder, or change the written gates; "
        "the evidence is kept with the version"
    )


def roll_back(config: RollbackConfig) -> Rollback:
    """Give the alias `champion` back to an earlier version, and write the reason on both.

    Raises:
        UserError: no reason, no champion, none before it, or no such version.
    """
    if not config.reason.strip():
        raise UserError("rollback needs --reason, got none; say why, as it is kept with both versions")
    registry = Registry(config.runtime)
    champion = registry.find_by_alias(config.name, alias=CHAMPION)
    if champion is None:
        raise UserError(f"{config.name} has no champion, so there is nothing to roll back; promote one first")
    number = config.version or champion.tags.get(PREVIOUS_TAG, "")
    if not number:
        raise UserError(
            f"{describe(champion)} is the first champion of {config.name}, there is none before it; "
            "give --version to name the one to go back to"
        )
    target = registry.find_by_number(config.name, number=number)
    if target is None or target.version == champion.version:
        what = "is the champion already" if target else "does not exist"
        raise UserError(f"version {number} of {config.name} {what}; give --version of another one")
    done = Rollback(
        name=config.name,
        champion=target.version,
        previous=champion.version,
        reason=config.reason,
        by=config.by or _user(),
        at=_now(),
    )
    note = f"{done.reason} (by {done.by}, {done.at})"
    registry.set_alias(target, alias=CHAMPION)
    registry.set_tags(champion, tags={"rolled_back": note})
    registry.set_tags(target, tags={"champion_again": f"in place of version {champion.version}: {note}"})
    return done


def _candidate(registry: Registry, config: PromoteConfig) -> Version:
    if config.candidate:
        recorded = read_registered(config.candidate)
        found = registry.find_by_number(recorded.name, number=recorded.version)
        if found is None or found.encoder_digest != recorded.encoder_digest:
            raise UserError(
                f"version {recorded.version} of {recorded.name} is not in the registry at "
                f"{registry.address}; register the encoder there first"
            )
        return found
    found = registry.find_by_alias(config.name, alias=CANDIDATE)
    if found is None:
        raise UserError(f"{config.name} has no candidate at {registry.address}; register an encoder first")
    return found


def _refused_candidate(config: PromoteConfig) -> RegisteredVersion | None:
    """The record of a candidate that `register` refused and went on."""
    recorded = read_registered(config.candidate) if config.candidate else None
    return recorded if recorded is not None and recorded.refusal else None


def _decide_refused(
    refused: RegisteredVersion, *, champion: Version | None, config: PromoteConfig
) -> Promotion:
    gate = GateResult(
        "registration", passed=False, value=None, asked="a registered encoder", note=refused.refusal
    )
    return Promotion(
        name=refused.name,
        version="",
        encoder_digest=refused.encoder_digest,
        decision=REFUSED,
        gates=(gate,),
        champion_compared="" if champion is None else champion.version,
        by=config.by or _user(),
        at=_now(),
    )


def _decide(
    registry: Registry, candidate: Version, *, champion: Version | None, config: PromoteConfig
) -> Promotion:
    evidence = evidence_of(registry, candidate)
    is_champion = champion is not None and champion.version == candidate.version
    compared = None if champion is None or is_champion else evidence_of(registry, champion)
    gates = (check_null(evidence), *evaluate_gates(config.gates, evidence=evidence, champion=compared))
    decision = PROMOTED if all(gate.passed for gate in gates) else REFUSED
    return Promotion(
        name=candidate.name,
        version=candidate.version,
        encoder_digest=candidate.encoder_digest,
        decision=ALREADY if is_champion else decision,
        gates=gates,
        champion_compared="" if champion is None or is_champion else champion.version,
        by=config.by or _user(),
        at=_now(),
    )


def _keep(registry: Registry, candidate: Version, *, champion: Version | None, decided: Promotion) -> None:
    """Evidence first, alias last: a champion without evidence can never be seen."""
    registry.add_evidence(candidate, files={PROMOTION_FILE: decided.to_json()})
    tags = {
        "promotion": decided.decision,
        "promotion.by": decided.by,
        "promotion.at": decided.at,
        "promotion.gates": f"{len(decided.gates) - len(decided.failed)} of {len(decided.gates)} hold",
    }
    if decided.decision != PROMOTED:
        registry.set_tags(candidate, tags=tags)
        return
    if champion is not None:
        tags[PREVIOUS_TAG] = champion.version
    registry.set_tags(candidate, tags=tags)
    registry.set_alias(candidate, alias=CHAMPION)
    logger.info("%s", key_values(model=candidate.name, version=candidate.version, alias=CHAMPION))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
