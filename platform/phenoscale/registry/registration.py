"""Register an encoder: the checks, the evidence, the upload, the alias."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phenoscale.errors import UserError
from phenoscale.logs import get_logger
from phenoscale.registry.checks import Origin, require_lineage, require_trained
from phenoscale.registry.config import RegisterConfig
from phenoscale.registry.evidence import Evidence, gather_rows, probe_beside
from phenoscale.registry.gates import GateResult, require_null_check
from phenoscale.registry.records import (
    RegisteredVersion,
    read_registered,
    write_registered,
)
from phenoscale.registry.store import CANDIDATE, Registry, Version
from phenoscale.schema.encoders import EncoderConfig, encoder_digest, read_encoder_config
from phenoscale.schema.rows import FINAL, MOA, PROBE, RECALL, ROWS_JSON, STEP, Row, rows_to_json
from phenoscale.stages import Output
from phenoscale.stages.records import LINEAGE

logger = get_logger(__name__)


def register(output: Output, *, config: RegisterConfig, encoder: Path) -> Mapping[str, Any]:
    """Check and register an encoder, and write `registered.json` into a folder.

    Returns:
        The summary of the stage.

    Raises:
        UserError: what the checks refuse.
    """
    described = read_encoder_config(encoder)
    digest = encoder_digest(encoder)
    rows = gather_rows([config.benchmark, config.probe or probe_beside(encoder)])
    evidence = Evidence(rows, names=(config.label, digest), untrained=config.untrained)
    try:
        require_trained(described, source=encoder)
        origin = _origin(encoder, config=config, digest=digest)
        null_check = require_null_check(evidence)
    except UserError as refusal:
        if config.when_refused == "fail":
            raise
        return _record_refusal(output, str(refusal), config=config, digest=digest)
    registry = Registry(config.runtime)
    found = registry.find_by_digest(config.name, encoder_digest=digest)
    metrics = headline_metrics(rows, names=evidence.names)
    tags = _tags(config, described=described, origin=origin, null_check=null_check)
    tags |= {
        "encoder_digest": digest,
        **{f"metric.{name}": f"{value:.4f}" for name, value in metrics.items()},
    }
    version = found or registry.create(config.name, encoder=encoder, tags=tags, params=_params(described))
    if found is not None:
        registry.set_tags(found, tags=tags)
    registry.add_evidence(version, files={ROWS_JSON: rows_to_json(rows), LINEAGE: origin.text})
    registry.set_alias(version, alias=CANDIDATE)
    registered = RegisteredVersion(
        version.name,
        version=version.version,
        encoder_digest=digest,
        uri=version.uri,
        label=config.label,
        untrained=config.untrained,
        null_check=null_check.sentence(),
        metrics=metrics,
    )
    write_registered(output, registered)
    summary = {name: getattr(registered, name) for name in ("name", "version", "encoder_digest", "uri")}
    return {**summary, "was_known": found is not None}


def _origin(encoder: Path, *, config: RegisterConfig, digest: str) -> Origin:
    """The lineage of an encoder: beside it, or kept by the registry from which it was fetched.

    Raises:
        UserError: neither.
    """
    try:
        return require_lineage(encoder)
    except UserError:
        registry = Registry(config.runtime)
        version = registry.find_by_digest(config.name, encoder_digest=digest)
        text = registry.read_evidence(version, file=LINEAGE) if version is not None else None
        if text is None:
            raise
        return Origin(text)


def _record_refusal(
    output: Output, refusal: str, *, config: RegisterConfig, digest: str
) -> Mapping[str, Any]:
    """Leave the reason where `promote` and the report find it; the registry stays as it is."""
    logger.warning("the encoder is not registered: %s", refusal)
    registered = RegisteredVersion(
        config.name, encoder_digest=digest, label=config.label, untrained=config.untrained, refusal=refusal
    )
    write_registered(output, registered)
    return {"name": config.name, "version": "", "encoder_digest": digest, "refusal": refusal}


def is_registered(folder: Path, *, config: RegisterConfig) -> bool:
    """Whether the registry still has what a folder says, with the alias `candidate` on it."""
    recorded = read_registered(folder)
    if recorded.refusal:
        return True
    registry = Registry(config.runtime)
    found = registry.find_by_digest(config.name, encoder_digest=recorded.encoder_digest)
    return found is not None and found.version == recorded.version and CANDIDATE in found.aliases


def headline_metrics(rows: tuple[Row, ...], *, names: tuple[str, ...]) -> dict[str, float]:
    """The numbers by which a version is recognized in a list: corrected recall per source, probe accuracy."""
    found: dict[str, float] = {}
    for row in rows:
        if row.encoder not in names or row.value is None:
            continue
        settings = row.settings
        if row.metric == RECALL and settings.get(STEP) == FINAL:
            found.setdefault(f"recall.{row.source}", row.value)
        elif row.benchmark == PROBE and settings.get("chosen"):
            found.setdefault(f"probe.{row.source}", row.value)
        elif row.benchmark == MOA and settings.get(STEP) == FINAL:
            found.setdefault(row.metric, row.value)
    return found


def evidence_of(registry: Registry, version: Version) -> Evidence:
    """The rows kept with a version.

    Raises:
        UserError: a version that was not registered by us.
    """
    text = registry.read_evidence(version, file=ROWS_JSON)
    if text is None:
        raise UserError(
            f"version {version.version} of {version.name} carries no evidence; register the encoder again"
        )
    rows = tuple(Row(**item) for item in json.loads(text))
    names = (version.tags.get("label", "trained"), version.encoder_digest)
    return Evidence(rows, names=names, untrained=version.tags.get("untrained", "untrained"))


def _tags(
    config: RegisterConfig, *, described: EncoderConfig, origin: Origin, null_check: GateResult
) -> dict[str, str]:
    code = origin.lineage.get("code", {})
    tags = {
        "architecture": described.describe(),
        "block": described.chosen_block,
        "channels": "|".join(described.channels),
        "git_commit": code.get("git_commit"),
        "git_dirty": code.get("dirty"),
        "phenoscale_version": code.get("version"),
        "image_digest": code.get("image_digest"),
        "lineage_digest": origin.digest,
        "stage": origin.lineage.get("stage"),
        "stage_key": origin.lineage.get("key"),
        "null_check": null_check.sentence(),
        "label": config.label,
        "untrained": config.untrained,
        "parent_run_id": config.runtime.parent_run_id,
    }
    return {name: str(value) for name, value in tags.items() if value not in (None, "")}


def _params(described: EncoderConfig) -> dict[str, str]:
    names = (
        "architecture",
        "crop_size",
        "patch_size",
        "embedding_dim",
        "num_blocks",
        "num_training_crops",
        "seed",
    )
    return {name: str(getattr(described, name)) for name in names}
