"""The manifest: what a data set is, an immutable, hashed selection of fields over screen stores."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.files import write_atomic, written_whole
from phenoscale.schema.formats import Format

MANIFEST_FILE: Final = "manifest.json"
FIELDS_FILE: Final = "fields.parquet"
FORMAT: Final = Format("phenoscale.manifest", 1, way_out="run `phenoscale curate` again")
SPLITS: Final = ("train", "validation", "test")
FIELD_COLUMNS: Final = ("field_id", "store", "split", "weight")

ChannelRule = Literal["common", "union"]


@dataclass(frozen=True)
class StoreRef:
    """A screen store that a manifest selects from: where it was, and the digest of its content."""

    uri: str
    digest: str


@dataclass(frozen=True)
class FunnelStep:
    """What one curation rule kept and removed.

    Attributes:
        rule: the rule's name.
        setting: the rule's setting in words and numbers.
        kept: fields that remained after it.
        removed: fields that it removed.
        kept_per_type: `kept` by perturbation type (`""` where the perturbation is missing).
        removed_per_type: `removed` by perturbation type.
    """

    rule: str
    setting: str
    kept: int
    removed: int
    kept_per_type: Mapping[str, int] = field(default_factory=dict)
    removed_per_type: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """A data set: fields of stores, each with a split and a sampling weight.

    Attributes:
        stores: the stores that the fields lie in.
        channels: the channels of the stores, in their order.
        fields: columns `field_id`, `store` (position in `stores`), `split` (one of `SPLITS`) and `weight`.
        funnel: the rules that made the selection, in order.
        channel_rule: `common`: every store has all the channels; `union`: each of them is in some store.
    """

    stores: tuple[StoreRef, ...]
    channels: tuple[str, ...]
    fields: pd.DataFrame
    funnel: tuple[FunnelStep, ...] = ()
    channel_rule: ChannelRule = "common"

    def __post_init__(self) -> None:
        _check_fields(self.fields, num_stores=len(self.stores))

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def digest(self) -> str:
        """The digest of the selection: store digests, channels and fields, wherever the stores lie."""
        content = [[store.digest for store in self.stores], list(self.channels)]
        hashed = hashlib.sha256(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())
        rows = (self.fields[name].tolist() for name in FIELD_COLUMNS)
        for field_id, store, split, weight in zip(*rows, strict=True):
            hashed.update(f"{field_id}|{store}|{split}|{weight!r}\n".encode())
        return hashed.hexdigest()

    def count(self, split: str) -> int:
        """Return the number of fields in one split."""
        return int((self.fields["split"] == split).sum())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `fields.parquet` and then `manifest.json` into a folder.

    A store under the same workspace (two folders up) is written as a relative path, so that a workspace can
    be moved.
    """
    with written_whole(folder / FIELDS_FILE) as temporary:
        manifest.fields.to_parquet(temporary, index=False)
    header = {
        **FORMAT.header,
        "digest": manifest.digest,
        "stores": [
            {"uri": _portable(store.uri, folder), "digest": store.digest} for store in manifest.stores
        ],
        "channels": list(manifest.channels),
        "channel_rule": manifest.channel_rule,
        "counts": {split: manifest.count(split) for split in SPLITS},
        "funnel": [asdict(step) for step in manifest.funnel],
    }
    text = json.dumps(header, indent=2, ensure_ascii=False)
    write_atomic(folder / MANIFEST_FILE, f"{text}\n".encode())


def read_manifest(folder: str | Path) -> Manifest:
    """Read a manifest.

    Raises:
        UserError: the folder holds no manifest, or one that was changed after it was written.
    """
    folder = Path(folder)
    file = folder / MANIFEST_FILE
    if not file.is_file() or not (folder / FIELDS_FILE).is_file():
        raise UserError(
            f"{folder} is not a manifest (it needs {MANIFEST_FILE} and {FIELDS_FILE}); make one with "
            "`phenoscale curate`"
        )
    try:
        header: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        manifest = _manifest_from(header, folder=folder)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"{file} cannot be read as a manifest ({error}); run `phenoscale curate` again"
        ) from error
    if manifest.digest != header["digest"]:
        raise UserError(
            f"{folder}: the fields differ from the digest in {MANIFEST_FILE}; a manifest is immutable: "
            "curate again"
        )
    return manifest


def _manifest_from(header: Mapping[str, Any], *, folder: Path) -> Manifest:
    FORMAT.check(header, source=str(folder / MANIFEST_FILE))
    return Manifest(
        stores=tuple(
            StoreRef(_resolved(store["uri"], folder), store["digest"]) for store in header["stores"]
        ),
        channels=tuple(header["channels"]),
        fields=pd.read_parquet(folder / FIELDS_FILE),
        funnel=tuple(FunnelStep(**step) for step in header["funnel"]),
        channel_rule=header.get("channel_rule", "common"),
    )


def _portable(uri: str, folder: Path) -> str:
    if "://" in uri:
        return uri
    store, workspace = Path(uri).resolve(), folder.resolve().parent.parent
    if store.is_relative_to(workspace) and workspace != Path(workspace.anchor):
        return Path(os.path.relpath(store, folder.resolve())).as_posix()
    return store.as_posix()


def _resolved(uri: str, folder: Path) -> str:
    if "://" in uri or Path(uri).is_absolute():
        return uri
    return (folder.resolve() / uri).resolve().as_posix()


def _check_fields(fields: pd.DataFrame, *, num_stores: int) -> None:
    missing = [name for name in FIELD_COLUMNS if name not in fields.columns]
    if missing:
        raise UserError(
            f"a manifest's fields need the columns {', '.join(FIELD_COLUMNS)}; missing: {', '.join(missing)}"
        )
    if len(fields) == 0:
        raise UserError("a manifest without fields selects nothing; loosen the curation rules")
    strange = sorted(set(fields["split"]) - set(SPLITS))
    if strange:
        raise UserError(
            f"split {strange[0]!r} is not one of {', '.join(SPLITS)}; correct the manifest's fields"
        )
    twice = fields.loc[fields["field_id"].duplicated(), "field_id"]
    if len(twice):
        raise UserError(
            f"field {twice.iloc[0]} is selected twice, a manifest names each field once; do two of the "
            "stores hold the same screen? Name each store once"
        )
    weights = fields["weight"].to_numpy(dtype=float)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise UserError(
            "a manifest's weights must be positive numbers; leave a field out instead of weighting it 0"
        )
    stores = fields["store"].to_numpy(dtype=int)
    if stores.min() < 0 or stores.max() >= num_stores:
        raise UserError(
            f"a field names store {stores.max()}, but the manifest has {num_stores}; curate again"
        )
