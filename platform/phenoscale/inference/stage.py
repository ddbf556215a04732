"""The `embed` verb: fields and wells of a screen through an encoder, one committed file per plate."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phenoscale.config import require
from phenoscale.errors import UserError
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.field_means import CropPlan, Rows, chosen_block, embed_fields
from phenoscale.inference.fitting import check_fit, embedding_length, fit_channels, open_fields
from phenoscale.inference.tables import average_wells, field_columns
from phenoscale.loading.fields import ManifestFields, refuse_absent
from phenoscale.loading.iterate import num_crops
from phenoscale.logs import Progress, get_logger, key_values, progress
from phenoscale.models.device import choose_device
from phenoscale.models.encoder import load_encoder
from phenoscale.models.readout import Encoder
from phenoscale.schema.embeddings import (
    NUM_CROPS,
    EmbeddingTable,
    partition_path,
    write_partition,
)
from phenoscale.schema.encoders import encoder_digest, encoder_folder
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.stages import Observer, Output, StageResult, ignore, run_stage

FIELDS, WELLS = "fields", "wells"
PART = "part-0"
logger = get_logger(__name__)


@dataclass(frozen=True)
class Shard:
    """The fields of one plate (the values of PLATE_KEY): what is computed and committed together."""

    plate: tuple[str, ...]
    rows: Rows

    def is_committed(self, folder: Path, *, outputs: tuple[str, ...]) -> bool:
        """Whether every file of the shard is there; each appears whole or not at all."""
        parts = [FIELDS] * ("field" in outputs) + [WELLS] * ("well" in outputs)
        return all(
            (partition_path(folder / part, self.plate) / f"{PART}.parquet").is_file() for part in parts
        )


def run_embed(config: EmbedConfig, *, observe: Observer = ignore) -> StageResult:
    """Embed fields and wells into `fields/` and `wells/` of the stage's output."""
    encoder = encoder_folder(require(config, "encoder", verb="embed"))
    if not config.stores:
        require(config, "manifest", verb="embed")
    return run_stage(
        "embed",
        entry=__name__,
        config=config,
        inputs={"encoder": encoder, "manifest": config.manifest, "stores": config.stores},
        build=partial(_build, config=config, place=encoder, observe=observe),
    )


def _build(output: Output, *, config: EmbedConfig, place: Path, observe: Observer) -> Mapping[str, Any]:
    folder = output.folder
    device = choose_device(config.runtime.device)
    encoder = load_encoder(place, device=device)
    if config.precision != "encoder":
        encoder.config = dataclasses.replace(encoder.config, precision=config.precision)
    if config.compile:
        encoder.compile_blocks()
    fields = _open_for(encoder, config=config)
    plan = CropPlan(
        size=encoder.config.crop_size,
        minibatch_size=config.minibatch_size,
        device=device,
        layout=config.crop_layout,
        ghost_batch=encoder.config.ghost_batch,
    )
    digest = encoder_digest(place)
    shards = list(plate_shards(fields))
    waiting = [shard for shard in shards if not shard.is_committed(folder, outputs=config.outputs)]
    if len(waiting) < len(shards):
        logger.info("%s", key_values(embed="resumed", shards_done=len(shards) - len(waiting)))
    total = num_crops(fields, crop_size=plan.size, layout=plan.layout)
    left = sum(
        num_crops(fields, crop_size=plan.size, layout=plan.layout, rows=shard.rows) for shard in waiting
    )
    with progress(left, label="embed") as bar:
        for number, shard in enumerate(waiting, start=1 + len(shards) - len(waiting)):
            table = embed_shard(encoder, fields, shard=shard, plan=plan, bar=bar)
            commit_shard(folder, dataclasses.replace(table, encoder=digest), outputs=config.outputs)
            observe(number, {"embed/shards": float(number)})
    return {
        "encoder_digest": digest,
        "block": encoder.config.chosen_block,
        "dimensions": embedding_length(encoder.config, num_channels=len(fields.channels)),
        "num_screens": len({shard.plate[0] for shard in shards}),
        "num_shards": len(shards),
        "num_fields": len(fields),
        "num_crops": total,
        "outputs": list(config.outputs),
    }


def _open_for(encoder: Encoder, *, config: EmbedConfig) -> ManifestFields:
    source = config.manifest or ", ".join(config.stores)
    fields = open_fields(manifest=config.manifest, stores=config.stores)
    channels = fit_channels(
        encoder.config,
        known=fields.channels,
        source=source,
        by_name=config.match_channels_by_name,
        chosen=config.channels,
        channel_map=config.channel_map,
    )
    fields = fields.reading(channels)
    if config.channels:
        refuse_absent(fields)
    if not len(fields):
        raise UserError(f"{source} selects no field; curate with rules that keep some")
    check_fit(encoder.config, fields=fields, source=source)
    return fields


def plate_shards(fields: ManifestFields) -> Iterator[Shard]:
    """The fields of each plate in store order, plates in the order of their first field."""
    order = fields.in_store_order()
    plates = fields.frame[list(PLATE_KEY)].astype(str).iloc[order]
    names = plates.drop_duplicates()
    codes = plates.groupby(list(PLATE_KEY), sort=False).ngroup().to_numpy()
    for code, plate in enumerate(names.itertuples(index=False, name=None)):
        yield Shard(plate, order[codes == code])


def embed_shard(
    encoder: Encoder, fields: ManifestFields, *, shard: Shard, plan: CropPlan, bar: Progress
) -> EmbeddingTable:
    """The embeddings of one plate's fields at the encoder's chosen block, in store order."""
    means = embed_fields(
        {"embed": chosen_block(encoder)}, fields, rows=shard.rows, plan=plan, advance=bar.advance
    )
    frame = field_columns(fields.frame.iloc[means.rows])
    frame[NUM_CROPS] = means.num_crops
    return EmbeddingTable(
        frame=frame,
        embeddings=means.embeddings["embed"][0],
        level="field",
        block=encoder.config.chosen_block,
        pooling=encoder.config.pooling,
    )


def commit_shard(folder: Path, table: EmbeddingTable, *, outputs: tuple[str, ...]) -> None:
    """Write one plate's fields, then its wells; each file appears whole or not at all."""
    wells = average_wells(table) if "well" in outputs else None
    if "field" in outputs:
        write_partition(folder / FIELDS, table, part=PART)
    if wells is not None:
        write_partition(folder / WELLS, wells, part=PART)
