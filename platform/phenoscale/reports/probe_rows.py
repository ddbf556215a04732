"""Probe rows sorted into what is drawn: one curve per task, encoder and kind of features.

A row's setting says `features` (embedding, embedding+confounds, confounds, chance), `block`, the strength
`inverse_regularization` and whether the block was `chosen`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phenoscale.reports.figures.palette import in_order
from phenoscale.schema.rows import BALANCED_ACCURACY, CHANCE, PROBE, Row


@dataclass(frozen=True)
class BlockCurve:
    """Balanced accuracy of one encoder against the block.

    Attributes:
        encoder: its name in the rows.
        rows: one per block, in order.
        chosen_block: the block that the encoder was cut at, None when this encoder was not probed for one.
    """

    encoder: str
    rows: tuple[Row, ...]
    chosen_block: int | None

    @property
    def blocks(self) -> list[int]:
        """The blocks, in order."""
        return [int(row.settings["block"]) for row in self.rows]

    @property
    def best(self) -> Row:
        """The row of the best block."""
        return max(self.rows, key=lambda row: -1.0 if row.value is None else row.value)

    @property
    def shown(self) -> Row:
        """The row of the chosen block, of the best one where none was chosen."""
        for row in self.rows:
            if row.settings["block"] == self.chosen_block:
                return row
        return self.best


@dataclass(frozen=True)
class ProbeTaskRows:
    """All rows of one task at one strength.

    Attributes:
        task: its name.
        strength: C of the probes.
        setting: setting of one of the rows, for the description.
        curves: by features, one curve per encoder.
        chance: accuracy of guessing.
        confounds: the row of the confounds alone, None when it was not measured.
    """

    task: str
    strength: float
    setting: dict[str, Any]
    curves: dict[str, list[BlockCurve]]
    chance: float | None
    confounds: Row | None


def chosen_blocks(rows: Sequence[Row]) -> dict[str, int]:
    """The block that each encoder was cut at."""
    return {row.encoder: int(row.settings["block"]) for row in rows if row.settings.get("chosen")}


def choosing_row(rows: Sequence[Row], *, encoder: str) -> Row | None:
    """The row that chose an encoder's block."""
    return next((row for row in rows if row.encoder == encoder and row.settings.get("chosen")), None)


def probe_tasks(rows: Sequence[Row]) -> list[ProbeTaskRows]:
    """The tasks in the order of the rows, each at each of its strengths; the choosing strength first."""
    own = [row for row in rows if row.benchmark == PROBE and row.metric == BALANCED_ACCURACY]
    preferred = {row.settings.get("inverse_regularization") for row in own if row.settings.get("chosen")}
    tasks = []
    for task in dict.fromkeys(row.source for row in own):
        of_task = [row for row in own if row.source == task]
        strengths = dict.fromkeys(row.settings.get("inverse_regularization") for row in of_task)
        for strength in sorted((s for s in strengths if s is not None), key=lambda s: s not in preferred):
            tasks.append(_task(task, of_task, strength=strength, chosen=chosen_blocks(own)))
    return tasks


def _task(task: str, rows: Sequence[Row], *, strength: float, chosen: dict[str, int]) -> ProbeTaskRows:
    here = [row for row in rows if row.settings.get("inverse_regularization") == strength]
    curves: dict[str, list[BlockCurve]] = {}
    for features in ("embedding", "embedding+confounds"):
        found = [row for row in here if row.settings.get("features") == features]
        curves[features] = [
            BlockCurve(
                encoder=encoder,
                rows=tuple(
                    sorted(
                        (row for row in found if row.encoder == encoder),
                        key=lambda row: row.settings["block"],
                    )
                ),
                chosen_block=chosen.get(encoder),
            )
            for encoder in in_order(row.encoder for row in found)
        ]
    chance = next((row.value for row in rows if row.settings.get("features") == CHANCE), None)
    confounds = next((row for row in here if row.settings.get("features") == "confounds"), None)
    return ProbeTaskRows(task, strength, here[0].settings if here else {}, curves, chance, confounds)
