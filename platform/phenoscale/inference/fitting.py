"""Open fields for encoders: refuse pixels that they were not made for, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence

from phenoscale.errors import UserError
from phenoscale.loading.fields import ManifestFields, load_manifest_fields, load_store_fields
from phenoscale.schema.encoders import EncoderConfig


def open_fields(
    *, manifest: str, stores: Sequence[str] = (), channels: tuple[str, ...] = ()
) -> ManifestFields:
    """The fields of a manifest or of whole stores, channels in the given order (theirs by default)."""
    if manifest:
        return load_manifest_fields(manifest, channels=channels)
    return load_store_fields(stores, channels=channels)


def fit_channels(
    encoder: EncoderConfig, *, known: tuple[str, ...], by_name: bool, source: str
) -> tuple[str, ...]:
    """The channels to read for an encoder.

    Args:
        encoder: what reads them.
        known: the channels of the fields, in their order.
        by_name: whether other channels and another order are fine, as long as the encoder's are there.
        source: where the fields come from, for the error message.

    Raises:
        UserError: the channels differ; the message holds both lists.
    """
    if known == encoder.channels:
        return known
    missing = [name for name in encoder.channels if name not in known]
    if by_name and not missing:
        return encoder.channels
    lists = f"{source} has the channels {list(known)}, but the encoder reads {list(encoder.channels)}"
    if missing:
        raise UserError(
            f"{lists}; {missing} are absent: train an encoder on the channels at hand, or ingest the screen "
            "with the encoder's channel names"
        )
    raise UserError(
        f"{lists}, and names and order must agree; set match_channels_by_name to read the encoder's channels "
        "by name, or ingest the screen with `channels` in the encoder's order"
    )


def check_fit(encoder: EncoderConfig, *, fields: ManifestFields, source: str) -> None:
    """Raise a UserError where intensity scale or field size do not suit an encoder."""
    if encoder.intensity_scale != fields.intensity_scale:
        raise UserError(
            f"{source} has intensity_scale {fields.intensity_scale:g}, but the encoder was made for "
            f"{encoder.intensity_scale:g}, and self-standardization depends on it; ingest the screen with "
            f"`intensity_scale: {encoder.intensity_scale:g}` if its pixels mean the same"
        )
    fields.check_crop_size(encoder.crop_size)
