"""Match the channels of fields and encoders: what does not fit is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phenoscale.errors import UserError
from phenoscale.loading.fields import ManifestFields, refuse_absent
from phenoscale.schema.encoders import EncoderConfig


def reads_any_channels(encoder: EncoderConfig) -> bool:
    """Whether an encoder reads other channels than those that it was trained with."""
    return encoder.architecture == "channel_agnostic_vit"


def match_channels(
    encoder: EncoderConfig,
    *,
    known: tuple[str, ...],
    source: str,
    by_name: bool = False,
    chosen: tuple[str, ...] = (),
    channel_map: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """The channels to read for an encoder.

    Args:
        encoder: what reads them.
        known: the channels of the fields, in their order.
        source: where the fields come from, for the error message.
        by_name: whether other channels and another order are fine, as long as the encoder's are there.
        chosen: what an encoder that reads any channels is given; all that are known by default.
        channel_map: an encoder's channel to the one that stands in for it; the others are read by name.

    Raises:
        UserError: the channels differ; the message holds both lists.
    """
    if reads_any_channels(encoder):
        return _any_channels(chosen or known, known=known, source=source, channel_map=channel_map)
    if chosen:
        raise UserError(
            f"the channels {list(chosen)} are to be read, but this encoder always reads "
            f"{list(encoder.channels)}; leave `channels` out, and say which stain stands in for another with "
            "channel_map"
        )
    strange = [name for name in channel_map if name not in encoder.channels]
    if strange:
        raise UserError(
            f"channel_map names {strange}, but the encoder reads {list(encoder.channels)}; map names of the "
            "encoder's channels to those of the screen"
        )
    wanted = tuple(channel_map.get(name, name) for name in encoder.channels)
    if wanted == known:
        return known
    lists = f"{source} has the channels {list(known)}, but the encoder reads {list(wanted)}"
    missing = [name for name in wanted if name not in known]
    if missing:
        raise UserError(
            f"{lists}; {missing} are absent: train an encoder on the channels at hand, ingest the screen "
            "with the encoder's channel names, or say with channel_map which stain stands in for which"
        )
    if by_name or channel_map:
        return wanted
    raise UserError(
        f"{lists}, and names and order must agree; set match_channels_by_name to read the encoder's channels "
        "by name, or ingest the screen with `channels` in the encoder's order"
    )


def _any_channels(
    wanted: tuple[str, ...], *, known: tuple[str, ...], source: str, channel_map: Mapping[str, str]
) -> tuple[str, ...]:
    if channel_map:
        raise UserError(
            f"channel_map is {dict(channel_map)}, but this encoder reads any channels; name those that it is "
            "given in `channels`, or leave both out for all that a store has"
        )
    missing = [name for name in wanted if name not in known]
    if missing:
        raise UserError(
            f"{source} has the channels {list(known)}, and {missing} of `channels` are absent; choose among "
            "those that are there"
        )
    return wanted


def check_fit(encoder: EncoderConfig, *, fields: ManifestFields, source: str) -> None:
    """Raise a UserError where the channels of single stores, intensity scale or field size do not suit."""
    if not reads_any_channels(encoder):
        refuse_absent(fields)
    elif encoder.pooling == "channel_means" and not fields.present.all():
        raise UserError(
            f"the stores of {source} have different channels, but the encoder puts one mean per channel "
            "side by side, and vectors of different lengths make no table; choose `channels` that all stores "
            "have, or an encoder that averages over channels"
        )
    most = int(fields.present.sum(axis=1).max())
    if reads_any_channels(encoder) and encoder.max_channels is not None and most > encoder.max_channels:
        raise UserError(
            f"{source} has {most} channels, but the encoder reads up to {encoder.max_channels}; choose fewer "
            "with `channels`"
        )
    if encoder.intensity_scale != fields.intensity_scale:
        raise UserError(
            f"{source} has intensity_scale {fields.intensity_scale:g}, but the encoder was made for "
            f"{encoder.intensity_scale:g}, and self-standardization depends on it; ingest the screen with "
            f"`intensity_scale: {encoder.intensity_scale:g}` if its pixels mean the same"
        )
    fields.check_crop_size(encoder.crop_size)


def embedding_length(encoder: EncoderConfig, *, num_channels: int) -> int:
    """How long the embedding of crops of so many channels is."""
    if encoder.pooling != "channel_means":
        return encoder.embedding_dim
    return encoder.embedding_dim // len(encoder.channels) * num_channels
