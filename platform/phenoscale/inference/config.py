"""Settings of `embed`: which encoder, which fields, how crops become fields and wells."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, runtime, setting
from phenoscale.errors import UserError

Layout = Literal["grid", "inner", "center"]
Output = Literal["field", "well"]
EmbedPrecision = Literal["encoder", "fp32", "bf16"]


class EmbedConfig(Config):
    """Embed every field of a manifest, or of whole screen stores, with an encoder.

    A field is cut into a centered grid of crops without overlap; the mean of its crops is the field's
    embedding (an image object that is a single cell is a field of its own), and the mean of a well's fields
    is the well's. So every field of a well weighs the same, however many crops it has. Writes `fields/` and
    `wells/`, one Parquet file per plate; a plate that was written is not computed again, neither after an
    interruption nor when other plates join the screen.

    An encoder with batch-norm statistics of the plate (AdaBN) reads a plate's fields in a fixed shuffled
    order, in groups of crops of different fields; its embeddings depend on which fields of the plate are
    embedded.
    """

    encoder: str = location("", help="encoder folder, or the output of `probe`, `pretrain` or `import`")
    manifest: str = location("", help="manifest folder, output of `curate`; all its splits are embedded")
    stores: list[str] = location(
        default_factory=list, in_place=True, help="screen stores, outputs of `ingest`, in place of a manifest"
    )
    outputs: tuple[Output, ...] = setting(
        ("field", "well"), min_length=1, help="levels to write: field, well or both"
    )
    crop_layout: Layout = setting(
        "grid", help="grid: all crops; inner: without the outer ring; center: the one in the middle"
    )
    precision: EmbedPrecision = setting(
        "encoder", help="encoder: the precision it was saved with; fp32 or bf16: that one"
    )
    match_channels_by_name: bool = setting(
        False, help="read the encoder's channels by name from stores that hold them in another order, or more"
    )
    channels: tuple[str, ...] = setting(
        (), help="stains for an encoder that reads any (channel-agnostic); none: all that a store has"
    )
    channel_map: dict[str, str] = setting(
        default_factory=dict,
        help="the encoder's channel to the screen's that is read for it, the others go by name; one stain "
        "may stand in for several: actin=AGP WGA=AGP",
    )
    engine: str = runtime("in_process", help="what embeds the plates; in_process: this process, one by one")
    shard: str = runtime(
        "",
        help="i/n, i from 0 to n - 1: embed every n-th plate only, in n processes anywhere; then the same "
        "command without it finds all plates there",
    )
    minibatch_size: int = runtime(0, ge=0, help="crops embedded at once; 0: 64 on a CPU, 512 on a GPU")
    compile: bool = runtime(
        False, help="compile each block of a transformer (needs a C++ compiler; pays on GPUs)"
    )
    runtime: Runtime = Runtime()

    @property
    def share(self) -> slice:
        """Which of all plates this process embeds."""
        number, _, count = (self.shard or "0/1").partition("/")
        return slice(int(number), None, int(count))

    @model_validator(mode="after")
    def _a_share(self) -> EmbedConfig:
        number, _, count = (self.shard or "0/1").partition("/")
        if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
            raise UserError(
                f"shard is {self.shard!r}, but must be i/n, two whole numbers with i from 0 to n - 1; the "
                "first of three is 0/3"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> EmbedConfig:
        if self.manifest and self.stores:
            raise UserError(
                f"embed got the manifest {self.manifest!r} and the stores {self.stores}, but reads one of "
                "them; leave out the stores to embed the manifest's fields, or the manifest to embed all "
                "fields of the stores"
            )
        return self
