"""What no encoder is registered without: training, and a complete lineage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phenoscale.config import digest_json
from phenoscale.errors import UserError
from phenoscale.schema.encoders import EncoderConfig
from phenoscale.stages import check_complete, read_lineage
from phenoscale.stages.inputs import stage_folder
from phenoscale.stages.records import LINEAGE


@dataclass(frozen=True)
class Origin:
    """The stage that made an encoder.

    Attributes:
        text: its lineage record, as the stage wrote it.
    """

    text: str

    @property
    def lineage(self) -> dict[str, Any]:
        """The record's content."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def digest(self) -> str:
        """Digest of what the encoder was made from: stage, key and inputs."""
        return digest_json({name: self.lineage.get(name) for name in ("stage", "key", "inputs", "digest")})


def require_trained(config: EncoderConfig, *, source: Path) -> None:
    """Refuse an encoder with random weights or none.

    Raises:
        UserError: it was never trained.
    """
    if config.is_trained and config.num_training_crops > 0:
        return
    raise UserError(
        f"{source} holds an untrained encoder ({config.describe()}; is_trained {config.is_trained}, "
        f"{config.num_training_crops} training crops), and only trained ones are registered; "
        "give the encoder that `pretrain` or `probe` wrote"
    )


def require_lineage(encoder: Path) -> Origin:
    """Refuse an encoder of unknown origin, or one whose files were changed since its stage wrote them.

    Raises:
        UserError: no stage output, an incomplete or changed one, or one without a lineage record.
    """
    folder = stage_folder(encoder.resolve())
    if folder is None:
        raise UserError(
            f"{encoder} has no lineage: it does not lie in the output of a stage, so nobody can say what "
            "it was trained on; register the encoder inside the output folder of `probe` or `pretrain`"
        )
    success = check_complete(folder)
    lineage = read_lineage(folder)
    if lineage.get("key") != success.key or not lineage.get("inputs"):
        raise UserError(
            f"{folder} has no complete lineage: its lineage.json does not belong to its commit record or "
            "names no input; run the stage again"
        )
    return Origin((folder / LINEAGE).read_text(encoding="utf-8"))
