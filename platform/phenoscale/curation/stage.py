"""The `curate` verb: judge quality, apply the rules, split, and write the manifest with its funnel.

Only tables are read: the pixels were measured when they were ingested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import pandas as pd

from phenoscale.curation.config import CurateConfig
from phenoscale.curation.flags import FLAGS, flag_stores
from phenoscale.curation.rules import (
    apply_rules,
    funnel_step,
    metadata_rules,
    quality_rules,
    selection_rules,
    stop_if_empty,
    stop_if_plates_lack_negative_controls,
)
from phenoscale.curation.splits import split_fields, weigh_fields
from phenoscale.errors import UserError
from phenoscale.logs import get_logger, key_values
from phenoscale.schema.keys import PLATE_KEY, WELL_KEY
from phenoscale.schema.manifest import SPLITS, FunnelStep, Manifest, StoreRef, write_manifest
from phenoscale.screens.store import ScreenStore, common_channels, open_screen, united_channels
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

FLAGS_FILE: Final = "flags.parquet"
FUNNEL_START: Final = "in the stores"
CHANNEL_RULES: Final = {"common": common_channels, "union": united_channels}

logger = get_logger(__name__)


def run_curate(config: CurateConfig, *, observe: Observer = ignore) -> StageResult:
    """Select the fields of a data set from screen stores.

    Raises:
        UserError: no store is named, no field is left, or a plate has no negative control.
    """
    if not config.stores:
        raise UserError(
            "curate needs at least one screen store; name them in `stores` (make one with `ingest`)"
        )
    return run_stage(
        "curate",
        entry=__name__,
        config=config,
        inputs={"stores": config.stores},
        build=partial(_build, config=config, observe=observe),
    )


def _build(output: Output, *, config: CurateConfig, observe: Observer) -> Mapping[str, Any]:
    folder = output.folder
    stores = [open_screen(path) for path in config.stores]
    channels = CHANNEL_RULES[config.channels](stores)
    fields = _all_fields(stores)
    if config.require_negative_controls:
        stop_if_plates_lack_negative_controls(fields, when="in the well table")
    flags = flag_stores(stores, rules=config.quality)
    flags.to_parquet(folder / FLAGS_FILE, index=False)
    fields = fields.merge(flags[["field_id", *FLAGS]], on="field_id", how="left", validate="one_to_one")
    selected, steps = select_fields(fields, config=config)
    for number, step in enumerate(steps):
        line = key_values(rule=step.rule, setting=step.setting, kept=step.kept, removed=step.removed)
        logger.info("%s", line)
        observe(number, {"num_kept": float(step.kept), "num_removed": float(step.removed)})
    manifest = Manifest(
        stores=tuple(StoreRef(uri=str(store.folder), digest=store.digest) for store in stores),
        channels=channels,
        fields=_manifest_fields(selected, config=config),
        funnel=tuple(steps),
        channel_rule=config.channels,
    )
    write_manifest(folder, manifest)
    return _summary(manifest, selected)


def select_fields(fields: pd.DataFrame, *, config: CurateConfig) -> tuple[pd.DataFrame, list[FunnelStep]]:
    """Apply all rules to fields with their well columns and quality flags.

    Raises:
        UserError: no field is left, or the quality rules removed every negative control of a plate.
    """
    steps = [funnel_step(FUNNEL_START, "", kept=fields, removed=fields.iloc[:0])]
    kept, done = apply_rules(fields, [*quality_rules(config), *metadata_rules(config)])
    steps += done
    stop_if_empty(kept, steps)
    if config.require_negative_controls:
        stop_if_plates_lack_negative_controls(kept, when="after the quality rules")
    kept, done = apply_rules(kept, selection_rules(config))
    steps += done
    stop_if_empty(kept, steps)
    return kept.reset_index(drop=True), steps


def _all_fields(stores: Sequence[ScreenStore]) -> pd.DataFrame:
    fields = pd.concat(
        [store.wells.assign(store=number) for number, store in enumerate(stores)], ignore_index=True
    )
    twice = fields[fields["field_id"].duplicated()]
    if len(twice):
        row = twice.iloc[0]
        raise UserError(
            f"field {'/'.join(row[list(WELL_KEY)])} is in two stores "
            f"({stores[int(row['store'])].folder} is one); name each screen once"
        )
    return fields


def _manifest_fields(selected: pd.DataFrame, *, config: CurateConfig) -> pd.DataFrame:
    split = split_fields(selected, config=config)
    return pd.DataFrame(
        {
            "field_id": selected["field_id"].astype("str"),
            "store": selected["store"].astype("int64"),
            "split": pd.Series(split, dtype="str"),
            "weight": weigh_fields(selected, split=split, weighting=config.weighting),
        }
    )


def _summary(manifest: Manifest, selected: pd.DataFrame) -> dict[str, Any]:
    return {
        "num_fields": len(manifest),
        "num_screens": int(selected["screen"].nunique()),
        "num_plates": len(selected[list(PLATE_KEY)].drop_duplicates()),
        **{f"num_{split}": manifest.count(split) for split in SPLITS},
        "num_perturbations": int(selected["perturbation"].nunique()),
        "num_removed": sum(step.removed for step in manifest.funnel),
        "removed": {step.rule: step.removed for step in manifest.funnel if step.removed},
        "manifest_digest": manifest.digest,
    }
