"""Fetch an encoder from the registry: `models:/phenoscale-encoder@champion` becomes a local folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from phenoscale.config import Runtime
from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.registry.store import ENCODER_FOLDER, Registry, Version
from phenoscale.schema.encoders import encoder_digest
from phenoscale.stages import open_workspace
from phenoscale.stages.commit import read_success, record_output
from phenoscale.stages.records import LINEAGE, SUCCESS
from phenoscale.storage.mirror import cache_folder

_ADDRESS: Final = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<number>\d+))")


def fetch_encoder(address: str, *, runtime: Runtime | None = None) -> Path:
    """Return a local folder with a registered encoder; a second call finds it there.

    Args:
        address: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        runtime: says where the registry is, and the workspace in which the encoder is kept.

    Raises:
        UserError: not an address, no such version, or files that are not what was registered.
        RetryError: the registry is away.
    """
    runtime = runtime or Runtime()
    version = find_version(address, registry=(registry := Registry(runtime)))
    workspace = open_workspace(runtime.workspace)
    base = cache_folder() if workspace.is_remote else workspace.root
    folder = base / "encoders" / version.encoder_digest[:20]
    if _is_whole(folder / ENCODER_FOLDER, version=version) and read_success(folder) is not None:
        return folder / ENCODER_FOLDER
    place = registry.download_encoder(version, folder=folder)
    if not _is_whole(place, version=version):
        raise UserError(
            f"{address} holds files that are not those of encoder {version.encoder_digest[:12]}; they were "
            "changed in the registry's store: register the encoder again"
        )
    # like the output that it was registered from: stages find the same digest and key in both places
    success = record_output(folder, key=version.tags.get("stage_key", ""))
    write_atomic(folder / LINEAGE, json.dumps({"stage": version.tags.get("stage", "")}).encode())
    write_atomic(folder / SUCCESS, success.as_bytes())
    return place


def find_version(address: str, *, registry: Registry) -> Version:
    """The version behind an address.

    Raises:
        UserError: not an address, or nothing there.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise UserError(
            f"{address!r} is not a registered encoder; write models:/NAME@champion or models:/NAME/VERSION"
        )
    if parts["alias"]:
        found = registry.find_by_alias(parts["name"], alias=parts["alias"])
    else:
        found = registry.find_by_number(parts["name"], number=parts["number"])
    if found is None:
        raise UserError(
            f"{address} points at nothing in the registry at {registry.address}; register or promote first"
        )
    return found


def _is_whole(folder: Path, *, version: Version) -> bool:
    try:
        return encoder_digest(folder) == version.encoder_digest
    except (UserError, OSError):
        return False
