"""The well table: one row per image object, a field of view or one cell crop of it, parsed once at the door.

Its key is FIELD_KEY; unknown columns are kept.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from phenoscale.errors import UserError
from phenoscale.schema.addresses import canonical_address, is_address
from phenoscale.schema.keys import FIELD_KEY, PLATE_KEY, WELL_KEY

REQUIRED: Final = (*WELL_KEY, "perturbation", "perturbation_type")
PERTURBATION_TYPES: Final = ("crispr", "sirna", "orf", "compound", "control")

TEXT_COLUMNS: Final = (
    *WELL_KEY, "source", "cell_type", "perturbation", "perturbation_type", "gene", "guide", "compound",
    "smiles", "control_type", "channels", "split", "batch", "quality",
)  # fmt: skip
COUNT_COLUMNS: Final = {"site": 1, "object": 0}
NUMBER_COLUMNS: Final = ("timepoint_h", "concentration_um")
FLAG_COLUMNS: Final = ("is_negative_control", "is_positive_control")
COLUMNS: Final = (
    *FIELD_KEY, "field_id", "source", "timepoint_h",
    "cell_type", "perturbation", "perturbation_type", "gene", "guide", "compound", "smiles",
    "concentration_um",
    "is_negative_control", "is_positive_control", "control_type", "channels", "image",
    "split", "batch", "quality",
)  # fmt: skip

_MAX_NAME_LENGTH: Final = 100
_MAX_EXAMPLES: Final = 5
_MISSING_WORDS: Final = frozenset({"", "nan", "na", "n/a", "none", "null"})
_FLAG_WORDS: Final = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "false", "no", *_MISSING_WORDS), False),
}


@dataclass(frozen=True)
class WellTable:
    """A parsed well table: every column of `COLUMNS` is there with its type; every row obeys the rules."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class _Violation:
    rule: str
    rows: tuple[int, ...]
    values: tuple[str, ...]

    def __str__(self) -> str:
        shown = [f"row {row}: {value}" for row, value in zip(self.rows, self.values, strict=True)][
            :_MAX_EXAMPLES
        ]
        more = len(self.rows) - len(shown)
        return f"{self.rule} ({'; '.join(shown)}{f'; and {more} more rows' if more else ''})"


def parse_wells(frame: pd.DataFrame, *, source: str) -> WellTable:
    """Parse a table of wells, fields or cells into a well table.

    Args:
        frame: at least the columns of `REQUIRED`; the others are filled with their defaults.
        source: where the table came from, named in the error.

    Raises:
        UserError: names every violated rule, each with up to five offending rows (counted from 1, no header).
    """
    _check_columns(frame, source=source)
    parsed = frame.reset_index(drop=True).copy()
    violations: list[_Violation] = []
    for name in TEXT_COLUMNS:
        parsed[name] = _text(parsed.get(name), len(parsed))
    for name, default in COUNT_COLUMNS.items():
        parsed[name], broken = _counts(parsed.get(name), len(parsed), default=default)
        violations += _offenders(
            parsed, broken, rule=f"{name} must be a whole number from 0 on", columns=[name]
        )
    for name in NUMBER_COLUMNS:
        given = parsed.get(name)
        parsed[name], broken = _numbers(given, len(parsed))
        shown = parsed if given is None else parsed.assign(**{name: given})
        violations += _offenders(
            shown, broken, rule=f"{name} must be a number from 0 on, or empty", columns=[name]
        )
    for name in FLAG_COLUMNS:
        given = parsed.get(name)
        parsed[name], broken = _flags(given, len(parsed))
        shown = parsed if given is None else parsed.assign(**{name: given})
        violations += _offenders(shown, broken, rule=f"{name} must be true or false", columns=[name])
    parsed["image"] = _images(parsed.get("image"), len(parsed))
    parsed["perturbation_type"] = parsed["perturbation_type"].str.lower()
    parsed["well"] = [canonical_address(well) for well in parsed["well"]]
    violations += _broken_rules(parsed)
    if violations:
        raise UserError(_message(violations, source=source))
    parsed["field_id"] = field_ids(parsed)
    others = [str(name) for name in frame.columns if name not in COLUMNS]
    return WellTable(parsed[[*COLUMNS, *others]])


def field_id(key: Sequence[str | int]) -> str:
    """Return the stable short hash of one key (the values of `FIELD_KEY`, in that order)."""
    assert len(key) == len(FIELD_KEY), f"a key has {len(FIELD_KEY)} values, got {len(key)}"
    joined = "\x1f".join(str(part) for part in key)
    return hashlib.sha256(joined.encode()).hexdigest()[:20]


def field_ids(frame: pd.DataFrame) -> list[str]:
    """Return the field id of every row of a table that has the key columns."""
    return [field_id(key) for key in zip(*(frame[name].tolist() for name in FIELD_KEY), strict=True)]


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name, if one is like it at all."""
    folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _check_columns(frame: pd.DataFrame, *, source: str) -> None:
    present = [str(name) for name in frame.columns]
    duplicated = sorted({name for name in present if present.count(name) > 1})
    if duplicated:
        raise UserError(
            f"{source}: column {duplicated[0]!r} occurs twice; a column name must be unique: rename one"
        )
    missing = [name for name in REQUIRED if name not in present]
    if not missing:
        if len(frame) == 0:
            raise UserError(
                f"{source}: the well table has no rows; give it one row per field of view or cell crop"
            )
        return
    spare = [name for name in present if name not in COLUMNS]
    hints = []
    for name in missing:
        near = nearest_name(name, spare)
        hints.append(
            f"column {name!r} is missing" + (f" (the nearest present column is {near!r})" if near else "")
        )
    example = nearest_name(missing[0], spare) or "your_column"
    raise UserError(
        f"{source}: {'; '.join(hints)}. Present: {', '.join(present) or 'no columns at all'}. Rename a "
        f"column, map it with `columns: {{{missing[0]}: {example}}}`, or set it for every row with "
        f"`constants: {{{missing[0]}: value}}`"
    )


def _text(given: pd.Series[Any] | None, length: int) -> pd.Series[Any]:
    if given is None:
        return pd.Series([""] * length, dtype="str")
    values = ["" if missing else _plain(value) for value, missing in zip(given, given.isna(), strict=True)]
    return pd.Series(values, dtype="str")


def _plain(value: object) -> str:
    """Write a value as text; a whole number that was read as a float is whole again: plate 12, not 12.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _counts(given: pd.Series[Any] | None, length: int, *, default: int) -> tuple[pd.Series[Any], np.ndarray]:
    if given is None:
        return pd.Series([default] * length, dtype="int64"), np.zeros(length, dtype=bool)
    numbers = pd.to_numeric(given, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    broken = ~((numbers >= 0) & (numbers == np.floor(numbers)) & (numbers < 2**53))
    return pd.Series(np.where(broken, -1, numbers).astype(np.int64)), broken


def _numbers(given: pd.Series[Any] | None, length: int) -> tuple[pd.Series[Any], np.ndarray]:
    if given is None:
        return pd.Series([np.nan] * length, dtype="float64"), np.zeros(length, dtype=bool)
    missing = np.array([_is_missing(value) for value in given], dtype=bool)
    numbers = pd.to_numeric(given, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    broken = ~missing & ~((numbers >= 0) & np.isfinite(numbers))
    return pd.Series(np.where(missing | broken, np.nan, numbers)), broken


def _flags(given: pd.Series[Any] | None, length: int) -> tuple[pd.Series[Any], np.ndarray]:
    if given is None:
        return pd.Series([False] * length, dtype="bool"), np.zeros(length, dtype=bool)
    read = [False if _is_missing(value) else _FLAG_WORDS.get(str(value).strip().lower()) for value in given]
    broken = np.array([value is None for value in read], dtype=bool)
    return pd.Series([bool(value) for value in read], dtype="bool"), broken


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or str(value).strip().lower() in _MISSING_WORDS


def _images(given: pd.Series[Any] | None, length: int) -> pd.Series[Any]:
    values = [[] for _ in range(length)] if given is None else [_locators(value) for value in given]
    return pd.Series(values, dtype=object)


def _locators(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, (list, tuple, np.ndarray)):
        return [str(locator) for locator in value]
    return []


def _broken_rules(frame: pd.DataFrame) -> list[_Violation]:
    """Every rule that more than one cell of a row, or more than one row, takes part in."""
    violations: list[_Violation] = []
    for name in PLATE_KEY:
        length = frame[name].str.len().to_numpy(dtype=int)
        rule = f"{name} must have 1 to {_MAX_NAME_LENGTH} characters"
        violations += _offenders(
            frame, (length == 0) | (length > _MAX_NAME_LENGTH), rule=rule, columns=[name]
        )
    on_plate = np.array([is_address(well) for well in frame["well"]], dtype=bool)
    rule = "well must be a row A to AF and a column 1 to 48, such as B02"
    violations += _offenders(frame, ~on_plate, rule=rule, columns=["well"])
    rule = f"the key ({', '.join(FIELD_KEY)}) must be unique"
    key = list(FIELD_KEY)
    violations += _offenders(frame, frame.duplicated(key, keep=False).to_numpy(), rule=rule, columns=key)
    known = frame["perturbation_type"].isin(PERTURBATION_TYPES) | (
        (frame["perturbation_type"] == "") & (frame["perturbation"] == "")
    )
    types = ", ".join(PERTURBATION_TYPES)
    rule = f"perturbation_type must be one of {types} (empty where perturbation is empty)"
    violations += _offenders(
        frame, ~known.to_numpy(), rule=rule, columns=["perturbation", "perturbation_type"]
    )
    rule = "a row must not be a negative and a positive control"
    both = (frame["is_negative_control"] & frame["is_positive_control"]).to_numpy()
    violations += _offenders(frame, both, rule=rule, columns=["perturbation"])
    rule = "perturbation_type control needs is_negative_control, is_positive_control or a control_type"
    vague = (frame["perturbation_type"] == "control") & (frame["control_type"] == "")
    vague &= ~frame["is_negative_control"] & ~frame["is_positive_control"]
    violations += _offenders(frame, vague.to_numpy(), rule=rule, columns=["perturbation"])
    return violations + _broken_image_rules(frame)


def _broken_image_rules(frame: pd.DataFrame) -> list[_Violation]:
    names = [channels.split("|") if channels else [] for channels in frame["channels"]]
    bad_names = np.array([len(set(n)) < len(n) or "" in n for n in names], dtype=bool)
    rule = "channels must be different stain names joined by |"
    violations = _offenders(frame, bad_names, rule=rule, columns=["channels"])
    counts = [(len(image), len(n)) for image, n in zip(frame["image"], names, strict=True)]
    unequal = np.array([images not in (0, 1, channels) for images, channels in counts], dtype=bool)
    rule = "image must be one locator, or one per channel"
    return violations + _offenders(frame, unequal & ~bad_names, rule=rule, columns=["channels", "image"])


def _offenders(frame: pd.DataFrame, broken: np.ndarray, *, rule: str, columns: list[str]) -> list[_Violation]:
    rows = np.flatnonzero(broken)
    if len(rows) == 0:
        return []
    shown = rows[:_MAX_EXAMPLES]
    texts = [", ".join(f"{name}={frame[name].iloc[row]!r}" for name in columns) for row in shown]
    padding = [""] * (len(rows) - len(shown))
    return [_Violation(rule, tuple(int(row) + 1 for row in rows), (*texts, *padding))]


def _message(violations: list[_Violation], *, source: str) -> str:
    rules = "1 rule" if len(violations) == 1 else f"{len(violations)} rules"
    lines = "\n".join(f"- {violation}" for violation in violations)
    return f"{source}: the well table breaks {rules}; correct these rows and run again:\n{lines}"
