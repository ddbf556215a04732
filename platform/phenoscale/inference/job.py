"""An embedding job: all that any process needs to embed any shard, and the work itself, plate by plate.

A shard is a plate. Its bytes depend on code, encoder, settings and its own fields alone: not on other shards,
on who embeds it or in which order.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa

from phenoscale.config import digest_json, fingerprint
from phenoscale.errors import UserError
from phenoscale.inference.channels import check_fit, match_channels
from phenoscale.inference.config import EmbedConfig
from phenoscale.inference.field_means import CropPlan, Rows, chosen_block, embed_fields
from phenoscale.inference.tables import average_wells, field_columns
from phenoscale.loading.fields import ManifestFields, open_fields, refuse_absent
from phenoscale.loading.iterate import num_crops
from phenoscale.models.device import choose_device
from phenoscale.models.encoder import load_encoder
from phenoscale.models.readout import Encoder
from phenoscale.schema.embeddings import NUM_CROPS, EmbeddingTable, write_partition
from phenoscale.schema.encoders import encoder_digest, encoder_folder
from phenoscale.schema.keys import PLATE_KEY
from phenoscale.stages import Output, OutputAddress, open_output

FIELDS, WELLS = "fields", "wells"

Advance = Callable[..., None]
"""Called with a number of crops that are done, and with figures to show."""


def _say_nothing(num_crops: int, **figures: float) -> None:
    """The progress of a shard that nobody follows."""


@dataclass(frozen=True)
class EmbedJob:
    """What embeds shards in any process, here or elsewhere: small, picklable, nothing is open.

    Attributes:
        config: which encoder and fields, how these are cut, what is written.
        output: where shards are published.
    """

    config: EmbedConfig
    output: OutputAddress


@dataclass(frozen=True)
class Shard:
    """A plate, by the values of PLATE_KEY."""

    plate: tuple[str, ...]

    @property
    def part(self) -> str:
        """The name under which it is published."""
        return "/".join(quote(name, safe="") for name in self.plate)


@dataclass(frozen=True, eq=False)
class OpenJob:
    """A job in this process: the encoder is loaded, the fields are open.

    Attributes:
        config: of the job.
        encoder: on the device.
        encoder_digest: of its folder.
        fields: what is embedded.
        plan: how fields are cut.
        rows: the fields of each shard in store order, plates in the order of their first field.
    """

    config: EmbedConfig
    encoder: Encoder
    encoder_digest: str
    fields: ManifestFields
    plan: CropPlan
    rows: dict[Shard, Rows]

    @property
    def shards(self) -> list[Shard]:
        """All shards, in their order."""
        return list(self.rows)

    def num_crops(self, shards: list[Shard]) -> int:
        """The crops of some shards."""
        return sum(
            num_crops(self.fields, crop_size=self.plan.size, layout=self.plan.layout, rows=self.rows[shard])
            for shard in shards
        )

    def request(self, shard: Shard, *, sources_digest: str) -> str:
        """The digest of all that decides a shard's bytes: no other plate, no place, no device."""
        rows, fields = self.rows[shard], self.fields
        mine = fields.frame.iloc[rows]
        places = sorted(set(zip(mine["store"].tolist(), mine["plate_index"].tolist(), strict=True)))
        return digest_json(
            {
                "stage": "embed",
                "sources": sources_digest,
                "encoder": self.encoder_digest,
                "block": self.encoder.config.chosen_block,
                "settings": fingerprint(self.config),
                "channels": list(fields.channels),
                "plates": [_plate_facts(fields, store=store, plate=plate) for store, plate in places],
                "positions": mine["field_index"].tolist(),
                "columns": _digest_frame(field_columns(mine)),
            }
        )

    def embed(self, shard: Shard, *, advance: Advance) -> EmbeddingTable:
        """The embeddings of a plate's fields at the encoder's chosen block."""
        readouts = {"embed": chosen_block(self.encoder)}
        means = embed_fields(readouts, self.fields, rows=self.rows[shard], plan=self.plan, advance=advance)
        frame = field_columns(self.fields.frame.iloc[means.rows])
        frame[NUM_CROPS] = means.num_crops
        return EmbeddingTable(
            frame=frame,
            embeddings=means.embeddings["embed"][0],
            level="field",
            encoder=self.encoder_digest,
            block=self.encoder.config.chosen_block,
            pooling=self.encoder.config.pooling,
        )

    def publish(self, shard: Shard, *, output: Output, advance: Advance = _say_nothing) -> None:
        """Embed a shard and publish its fields and wells: both of them or none."""
        fields = self.embed(shard, advance=advance)
        levels = self.config.outputs
        tables = {FIELDS: fields} if "field" in levels else {}
        if "well" in levels:
            tables[WELLS] = average_wells(fields)
        files = [write_partition(output.folder / name, table) for name, table in tables.items()]
        names = [file.relative_to(output.folder).as_posix() for file in files]
        request = self.request(shard, sources_digest=output.sources_digest)
        output.publish(shard.part, names, request=request)


def run_shard(job: EmbedJob, shard: Shard) -> None:
    """Embed and publish one shard in any process of any machine; the encoder stays for the next one."""
    with open_output(job.output) as output:
        if not output.has(shard.part):
            _open_once(job.config.model_dump_json()).publish(shard, output=output)


def open_job(config: EmbedConfig) -> OpenJob:
    """Load the encoder and open the fields.

    Raises:
        UserError: they do not fit, or there is nothing to embed.
    """
    place, device = encoder_folder(config.encoder), choose_device(config.runtime.device)
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
    rows = dict(_plates(fields))
    return OpenJob(config, encoder, encoder_digest(place), fields=fields, plan=plan, rows=rows)


@functools.lru_cache(maxsize=1)
def _open_once(config: str) -> OpenJob:
    return open_job(EmbedConfig.model_validate_json(config))


def _open_for(encoder: Encoder, *, config: EmbedConfig) -> ManifestFields:
    source = config.manifest or ", ".join(config.stores)
    fields = open_fields(manifest=config.manifest, stores=config.stores, absent="zero")
    channels = match_channels(
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


def _plates(fields: ManifestFields) -> Iterator[tuple[Shard, Rows]]:
    order = fields.in_store_order()
    plates = fields.frame[list(PLATE_KEY)].astype(str).iloc[order]
    codes = plates.groupby(list(PLATE_KEY), sort=False).ngroup().to_numpy()
    for code, plate in enumerate(plates.drop_duplicates().itertuples(index=False, name=None)):
        yield Shard(plate), order[codes == code]


def _plate_facts(fields: ManifestFields, *, store: int, plate: int) -> list[Any]:
    header = fields.stores[store].header
    return [list(header.channels), header.dtype, header.intensity_scale, header.plates[plate].digest]


def _digest_frame(frame: pd.DataFrame) -> str:
    """The digest of what is written of a frame: its columns, their types and values, in order."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()
