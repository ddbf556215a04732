"""What `register`, `promote` and `rollback` leave and return."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from phenoscale.errors import UserError
from phenoscale.files import write_atomic
from phenoscale.registry.gates import GateResult
from phenoscale.stages import Output

REGISTERED_FILE: Final = "registered.json"
PROMOTION_FILE: Final = "promotion.json"
CANDIDATE_FILE: Final = "candidate.json"
DECISION_FILE: Final = "decision.json"


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry, as `registered.json` beside the lineage of `register`.

    Attributes:
        name: the registered model.
        version: its version, "" when the encoder was refused.
        encoder_digest: digest of config and weights.
        uri: `models:/<name>/<version>`, "" when it was refused.
        label: what the rows call the encoder.
        untrained: what the rows call the untrained encoder.
        null_check: the evidence that it knows more than nothing.
        metrics: its headline numbers.
        refusal: why it was not registered, "" when it was.
    """

    name: str
    _: KW_ONLY
    version: str = ""
    encoder_digest: str
    uri: str = ""
    label: str
    untrained: str
    null_check: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    refusal: str = ""


@dataclass(frozen=True)
class Promotion:
    """A decision with its evidence, as `promotion.json`.

    Attributes:
        name: the registered model.
        version: the candidate.
        encoder_digest: of the candidate.
        decision: `promoted`, `already champion` or `refused`.
        gates: the gates with the numbers they saw.
        champion_compared: version that was champion before, "" when there was none.
        by: who promoted.
        at: when, in UTC.
    """

    name: str
    version: str
    encoder_digest: str
    decision: str
    gates: tuple[GateResult, ...]
    champion_compared: str
    by: str
    at: str

    @property
    def failed(self) -> tuple[GateResult, ...]:
        """The gates that do not hold."""
        return tuple(gate for gate in self.gates if not gate.passed)

    def to_json(self) -> str:
        """The decision as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Rollback:
    """The champion's place given back."""

    name: str
    champion: str
    previous: str
    reason: str
    by: str
    at: str

    def text(self) -> str:
        """The answer for a person."""
        return (
            f"{self.name}: version {self.champion} is champion again, version {self.previous} is not\n"
            f"  reason  {self.reason}\n  by      {self.by}, {self.at}"
        )


def registered_to_json(registered: RegisteredVersion) -> str:
    """The version as JSON."""
    return json.dumps(asdict(registered), indent=1, sort_keys=True, allow_nan=False) + "\n"


def write_registered(output: Output, registered: RegisteredVersion) -> None:
    """Write the version, and beside it what does not depend on the registry's numbers."""
    undated = replace(registered, version="", uri="")
    _write(
        output, {REGISTERED_FILE: registered_to_json(registered), CANDIDATE_FILE: registered_to_json(undated)}
    )
    output.dated = frozenset({REGISTERED_FILE})


def write_promotion(output: Output, decided: Promotion) -> None:
    """Write the decision, and beside it what does not depend on the registry's numbers, time and person."""
    undated = replace(decided, version="", champion_compared="", by="", at="")
    _write(output, {PROMOTION_FILE: decided.to_json(), DECISION_FILE: undated.to_json()})
    output.dated = frozenset({PROMOTION_FILE})


def _write(output: Output, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write_atomic(output.folder / name, text.encode())


def read_registered(place: str | Path) -> RegisteredVersion:
    """Read what `register` left in its output folder.

    Raises:
        UserError: no such record there.
    """
    file = Path(place) / REGISTERED_FILE
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return RegisteredVersion(**{entry.name: content[entry.name] for entry in fields(RegisteredVersion)})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{place} holds no registered version ({REGISTERED_FILE}: {error}); give the output folder of "
            "`phenoscale register`"
        ) from error
