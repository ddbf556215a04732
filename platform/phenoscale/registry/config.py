"""Settings of `register`, `promote` and `rollback`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from phenoscale.config import Config, Runtime, location, runtime, setting
from phenoscale.errors import UserError
from phenoscale.schema.rows import BALANCED_ACCURACY, FINAL, PROBE, RECALL, STEP

DEFAULT_NAME = "phenoscale-encoder"
WhenRefused = Literal["fail", "record"]
_WHEN_REFUSED = "fail: end with exit code 2; record: go on, so that a pipeline still writes its report"


class Gate(Config):
    """One written condition on one number of the candidate's rows.

    The number is that of the candidate's row with this benchmark, metric, source and setting (`where`); when
    several rows remain, the gate is about their mean. At least one of the three conditions is given.
    """

    name: str = setting("", help="name of the gate in messages; empty: its benchmark, source and metric")
    benchmark: str = setting(help="benchmark of the row, such as recall or probe")
    metric: str = setting(help="metric of the row, such as recall or balanced_accuracy")
    source: str = setting("", help="source of the row; empty: any")
    where: dict[str, Any] = setting(
        default_factory=dict, help="fields of the row's setting that must have these values"
    )
    number: Literal["value", "low", "high"] = setting(
        "value", help="which number of the row: the value, or an end of its 95 % interval"
    )
    higher_is_better: bool = setting(True, help="false: smaller is better, such as plate predictability")
    at_least: float | None = setting(
        None, help="the number must be at least this (at most, if smaller is better)"
    )
    above_untrained: bool = setting(False, help="the number must be better than the untrained encoder's")
    not_below_champion_by: float | None = setting(
        None, ge=0, help="the number may be worse than the champion's value by at most this"
    )
    if_absent: Literal["fail", "pass"] = setting(
        "fail", help="verdict where the candidate or the champion has no such row: fail, or pass with a note"
    )

    @model_validator(mode="after")
    def _asks_something(self) -> Gate:
        if self.at_least is None and self.not_below_champion_by is None and not self.above_untrained:
            raise UserError(
                f"gate {self.title!r} asks nothing; give at_least, above_untrained or not_below_champion_by"
            )
        return self

    @property
    def title(self) -> str:
        """The gate's name, or what it is about."""
        return self.name or " ".join(part for part in (self.benchmark, self.source, self.metric) if part)


def default_gates() -> tuple[Gate, ...]:
    """The gates when none are written: better than untrained, not worse than the champion.

    A screen without known relationships has no recall: write gates on what it has.
    """
    return (
        Gate(
            name="probe beats the untrained encoder",
            benchmark=PROBE,
            metric=BALANCED_ACCURACY,
            where={"chosen": True},
            above_untrained=True,
        ),
        Gate(
            name="corrected recall beats the untrained encoder",
            benchmark=RECALL,
            metric=RECALL,
            where={STEP: FINAL, "lower": 0.05, "upper": 0.95},
            above_untrained=True,
        ),
        Gate(
            name="corrected recall holds the champion's",
            benchmark=RECALL,
            metric=RECALL,
            where={STEP: FINAL, "lower": 0.05, "upper": 0.95},
            not_below_champion_by=0.02,
        ),
    )


class RegisterConfig(Config):
    """Register an encoder with its rows and lineage, as a version with the alias `candidate`.

    An untrained encoder, one without complete lineage, and one that is no better than the null are
    refused. The same encoder (by digest) is registered once: again gives the same version.
    """

    encoder: str = location("", help="encoder folder inside the output of `probe`, `pretrain` or `import`")
    benchmark: str = location("", help="rows of `benchmark`: a folder, Parquet or JSON")
    probe: str = location("", help="rows of `probe`; empty: those beside the encoder, if there are any")
    name: str = setting(DEFAULT_NAME, min_length=1, help="registered model")
    label: str = setting("trained", help="name of this encoder in rows that do not give its digest")
    untrained: str = setting("untrained", help="name of the untrained encoder in the rows")
    when_refused: WhenRefused = setting("fail", help=_WHEN_REFUSED)
    runtime: Runtime = Runtime()


class PromoteConfig(Config):
    """Make the candidate the champion, if every written gate holds; the evidence stays with the version."""

    candidate: str = location("", help="output folder of `register`; empty: the alias `candidate`")
    name: str = setting(DEFAULT_NAME, min_length=1, help="registered model, if no candidate folder is given")
    gates: tuple[Gate, ...] = setting(default_factory=default_gates, help="conditions that must all hold")
    when_refused: WhenRefused = setting("fail", help=_WHEN_REFUSED)
    by: str = runtime("", help="who promotes; empty: the user of this process")
    runtime: Runtime = Runtime()


class RollbackConfig(Config):
    """Give the alias `champion` back to the version that held it before, and record why."""

    name: str = setting(DEFAULT_NAME, min_length=1, help="registered model")
    reason: str = setting("", help="why; kept with both versions")
    version: str = setting("", help="version to go back to; empty: the champion before this one")
    by: str = runtime("", help="who rolls back; empty: the user of this process")
    runtime: Runtime = Runtime()
