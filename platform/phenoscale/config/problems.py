"""Say in one message what is wrong with a config: every field, its value, the rule and the way out."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Sequence
from typing import Any, Final

import pydantic

from phenoscale.config.fields import Config
from phenoscale.config.flags import sections_in

_MAX_LISTED_NAMES: Final = 12
_MAX_VALUE_LENGTH: Final = 80
_SECTION: Final = "must be a section: a mapping of field: value"
_RULES: Final = {  # by pydantic's name of the problem
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of name: value",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "model_attributes_type": _SECTION,
    "model_type": _SECTION,
    "string_too_short": "is too short: it must have at least {min_length} characters",
    "string_type": "must be text",
    "too_long": "has too many entries: at most {max_length} are allowed",
    "too_short": "has too few entries: at least {min_length} are needed",
    "tuple_type": "must be a list",
    "union_tag_invalid": "must have {discriminator} set to one of {expected_tags}",
    "union_tag_not_found": "must have the field {discriminator}",
}


def describe_problems(
    cls: type[Config], error: pydantic.ValidationError, *, origin: Callable[[str], str]
) -> str:
    """Return the message for a config that breaks one or more rules.

    Args:
        cls: the config class that was to be filled.
        error: what pydantic found.
        origin: from a dotted field name to where its value came from.
    """
    found = error.errors()
    places = [problem["loc"] for problem in found]
    problems = [
        _describe(cls, problem, origin=origin) for problem in found if not _is_consequence(problem, places)
    ]
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"{len(problems)} settings are wrong:", *(f"  {problem}" for problem in problems)])


def nearest(name: str, choices: Sequence[str]) -> str:
    """Return the choice that is spelled most like a name, or an empty string when none is close."""
    found = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return found[0] if found else ""


def suggest(name: str, choices: Sequence[str], *, prefix: str = "") -> str:
    """Return the way out of an unknown name: the nearest valid one, or the list of them."""
    close = nearest(name, choices)
    if close:
        return f"did you mean {prefix}{close}?"
    listed = ", ".join(prefix + choice for choice in choices[:_MAX_LISTED_NAMES])
    more = ", ..." if len(choices) > _MAX_LISTED_NAMES else ""
    return f"valid: {listed}{more}" if listed else "nothing is valid here"


def _is_consequence(problem: Any, places: Sequence[tuple[int | str, ...]]) -> bool:
    """Whether a list is too short only because pydantic has left out entries that are problems themselves."""
    place = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other) > len(place) and other[: len(place)] == place for other in places
    )


def _describe(cls: type[Config], problem: Any, *, origin: Callable[[str], str]) -> str:
    location: tuple[int | str, ...] = problem["loc"]
    names, valid = _resolve(cls, location)
    field = ".".join(names)
    place = origin(field) if field else origin("")
    kind = problem["type"]
    if kind == "extra_forbidden":
        prefix = ".".join([*names[:-1], ""]) if len(names) > 1 else ""
        return f"unknown field {field} ({place}); {suggest(names[-1], valid, prefix=prefix)}"
    if kind == "missing":
        return f"{field} is required and was not given; add it to the config file or as --{field} ({place})"
    value = repr(problem["input"])
    value = value if len(value) <= _MAX_VALUE_LENGTH else value[: _MAX_VALUE_LENGTH - 3] + "..."
    return f"{field or 'config'} = {value} ({place}) {_rule(problem)}"


def _rule(problem: Any) -> str:
    """Return the rule that a value breaks, as the end of a sentence about it."""
    known = _RULES.get(problem["type"])
    if known is not None:
        return known.format(**problem.get("ctx", {}))
    rule = problem["msg"].removeprefix("Value error, ")
    return f"breaks a rule: {rule[:1].lower() + rule[1:]}"


def _resolve(cls: type[Config], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return a problem's dotted field name without pydantic's union tags, and the names valid at its end."""
    sections: list[type[Config]] = [cls]
    names: list[str] = []
    valid: list[str] = []
    is_entry = False  # inside a list or dict, where an index, a key or a union's tag comes before the field
    for depth, part in enumerate(location):
        fields = {name: info for section in sections for name, info in section.model_fields.items()}
        known = fields.get(str(part))
        is_last = depth == len(location) - 1
        if known is not None and not isinstance(part, int):
            sections, names, is_entry = list(sections_in(known.annotation)), [*names, str(part)], True
        elif not is_last and is_entry and _narrow(sections, str(part)):
            sections = _narrow(sections, str(part))
        else:
            names.append(str(part))
            valid = list(fields)
    return names, valid


def _narrow(sections: Sequence[type[Config]], tag: str) -> list[type[Config]]:
    """Return the sections that a union's tag chooses: by class name, or by a Literal field that equals it."""
    return [
        section
        for section in sections
        if section.__name__ == tag
        or any(tag in map(str, typing.get_args(info.annotation)) for info in section.model_fields.values())
    ]
