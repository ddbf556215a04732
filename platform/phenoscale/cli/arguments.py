"""Make the flags of a verb from its config class, and read them; only the chosen verb's config is loaded."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from pydantic.fields import FieldInfo

from phenoscale.cli.verbs import Verb
from phenoscale.config import Config, field_kind
from phenoscale.config.flags import alternatives
from phenoscale.config.problems import suggest
from phenoscale.errors import UserError

LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_HELP_WIDTH: Final = 100


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What the command line says: config file or recipe, flags by field name, how to run and answer."""

    file: str
    flags: dict[str, Any]
    is_dry_run: bool
    is_json: bool
    log_level: str
    wants_help: bool


def parse_arguments(
    name: str, verb: Verb, *, config: type[Config], argv: Sequence[str]
) -> tuple[Arguments, str]:
    """Read the arguments after a verb.

    Returns:
        The arguments, and the verb's help text.

    Raises:
        UserError: for an unknown option (with the nearest valid one) or a missing value.
    """
    parser = build_parser(name, verb, config=config)
    values = vars(parser.parse_args(_normalize(argv, parser=parser)))
    arguments = Arguments(
        file=values.pop("--config"),
        is_dry_run=values.pop("--dry-run"),
        is_json=values.pop("--json"),
        log_level=values.pop("--log-level"),
        wants_help=values.pop("--help"),
        flags=values,
    )
    return arguments, parser.format_help()


def build_parser(name: str, verb: Verb, *, config: type[Config]) -> argparse.ArgumentParser:
    """Return the parser of a verb: a group of flags for each section of its config."""
    verb = verb.loaded()
    parser = _Parser(
        prog=f"phenoscale {name}",
        usage=_usage(name, verb),
        description=inspect.cleandoc(verb.about or config.__doc__ or verb.summary),
        epilog=_epilog(verb),
        formatter_class=_format_help,
        allow_abbrev=False,
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    _add_general(parser)
    for field in verb.positional:
        info = config.model_fields[field]
        parser.add_argument(field, nargs="?", help=_help_text(info), metavar=field.upper())
    groups: dict[str, Any] = {}
    for leaf in _leaves(config):
        title = leaf.section or "settings"
        if title not in groups:
            note = None if _is_inner_runtime(leaf.section) else leaf.section_help or None
            groups[title] = parser.add_argument_group(title, note)
        # a config's own field wins over the short name of a runtime field
        is_short = leaf.section == "runtime" and leaf.field not in config.model_fields
        _add_leaf(groups[title], leaf, is_short=is_short)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def _format_help(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=32, width=_HELP_WIDTH)


def _usage(name: str, verb: Verb) -> str:
    words = [f"phenoscale {name}", *(f"[{field.upper()}]" for field in verb.positional)]
    return " ".join([*words, "[--config FILE] [--field value] [--section.field value] [--dry-run]"])


def _epilog(verb: Verb) -> str:
    lines = [
        "Flags and the YAML file of --config fill the same fields; flags win. Dashes and underscores are",
        "equal. Lists: repeat the flag, or separate by commas. Mappings: --field name=value, repeated. Both",
        "take YAML, too. Fields of the runtime section need no prefix.",
    ]
    if verb.examples:
        lines += ["", "Examples:", *(f"  phenoscale {example}" for example in verb.examples)]
    return "\n".join(lines)


def _add_general(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("general")
    group.add_argument("-h", "--help", **_switch("--help"), help="show this help")
    group.add_argument(
        "--config", dest="--config", default="", metavar="FILE", help="YAML file, or name of a recipe"
    )
    group.add_argument(
        "--dry-run", **_switch("--dry-run"), help="print the resolved config and the plan, and do nothing"
    )
    group.add_argument(
        "--json", **_switch("--json"), help="print the result as JSON, alone on standard output"
    )
    group.add_argument(
        "--log-level",
        dest="--log-level",
        type=str.upper,
        choices=LOG_LEVELS,
        default="INFO",
        metavar="LEVEL",
        help=f"{', '.join(LOG_LEVELS)} (default: INFO); the log goes to standard error",
    )


def _switch(name: str) -> dict[str, Any]:
    return {"dest": name, "action": "store_true", "default": False}


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """One field that a flag can fill."""

    name: str
    field: str
    section: str
    section_help: str
    info: FieldInfo
    options: tuple[Any, ...]


def _leaves(config: type[Config], *, prefix: str = "", section_help: str = "") -> Iterator[_Leaf]:
    sections: list[tuple[str, type[Config]]] = []
    for field, info in config.model_fields.items():
        name = prefix + field
        options = tuple(alternatives(info.annotation))
        inner = [option for option in options if isinstance(option, type) and issubclass(option, Config)]
        if len(inner) == 1:
            sections.append((name, inner[0]))
            if type(None) not in options:
                continue
        yield _Leaf(
            name=name,
            field=field,
            section=prefix.rstrip("."),
            section_help=section_help,
            info=info,
            options=options,
        )
    for name, section in sections:
        summary = inspect.cleandoc(section.__doc__ or "").partition("\n")[0]
        yield from _leaves(section, prefix=name + ".", section_help=summary)


def _add_leaf(group: Any, leaf: _Leaf, *, is_short: bool) -> None:
    names = [f"--{leaf.name}"]
    if is_short:
        names.insert(0, f"--{leaf.field}")
    text = argparse.SUPPRESS if _is_inner_runtime(leaf.section) else _help_text(leaf.info)
    if bool in leaf.options:
        group.add_argument(*names, dest=leaf.name, nargs="?", const="true", metavar="true|false", help=text)
        negative = [f"--no-{name.removeprefix('--')}" for name in names]
        group.add_argument(
            *negative, dest=leaf.name, action="store_const", const="false", help=argparse.SUPPRESS
        )
        return
    is_many = any((typing.get_origin(option) or option) in _CONTAINERS for option in leaf.options)
    action = "append" if is_many else "store"
    group.add_argument(*names, dest=leaf.name, action=action, metavar=_metavar(leaf), help=text)


def _is_inner_runtime(section: str) -> bool:
    """Say whether a section is the runtime of another section: taken, but not worth a page of help each."""
    return section.endswith(".runtime")


_CONTAINERS: Final = (list, tuple, set, frozenset, dict, Sequence)


def _metavar(leaf: _Leaf) -> str:
    option = next((option for option in leaf.options if option is not type(None)), str)
    origin = typing.get_origin(option)
    if origin is typing.Literal:
        return "|".join(str(choice) for choice in typing.get_args(option))
    if origin is dict or option is dict:
        return "NAME=VALUE"
    inner = next(iter(alternatives(typing.get_args(option)[0])), str) if origin in _CONTAINERS else option
    if isinstance(inner, type) and issubclass(inner, Config):
        return "YAML"
    if field_kind(leaf.info) == "location":
        return "PATH"
    return {int: "N", float: "X"}.get(inner, "TEXT")


def _help_text(info: FieldInfo) -> str:
    text = info.description or ""
    if info.is_required():
        note = "required"
    else:
        value = info.get_default(call_default_factory=True, validated_data={})
        note = "" if value in (None, "", (), []) or value == {} else f"default: {_shown(value)}"
    return (f"{text} ({note})" if note else text).replace("%", "%%")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        if any(isinstance(entry, Config) for entry in value):
            return ", ".join(str(getattr(entry, "name", entry)) for entry in value)
        return ",".join(str(entry) for entry in value)
    return str(value)


def _normalize(argv: Sequence[str], *, parser: argparse.ArgumentParser) -> list[str]:
    """Spell every option as the parser does, and tie negative numbers to their flag."""
    known = {_plain(option): option for option in parser._option_string_actions if option.startswith("--")}
    tokens: list[str] = []
    for position, token in enumerate(argv):
        if token == "--":
            return [*tokens, *argv[position:]]
        if not token.startswith("--"):
            is_number = _is_negative_number(token) and tokens and tokens[-1].startswith("--")
            if is_number and "=" not in tokens[-1]:
                tokens[-1] = f"{tokens[-1]}={token}"
            else:
                tokens.append(token)
            continue
        name, equals, value = token.partition("=")
        option = known.get(_plain(name))
        if option is None:
            names = [known[key].removeprefix("--") for key in known]
            close = suggest(name.removeprefix("--").replace("-", "_"), names, prefix="--")
            raise UserError(f"unknown option {name}; {close} (see `{parser.prog} --help`)")
        tokens.append(option + equals + value)
    return tokens


def _plain(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _is_negative_number(token: str) -> bool:
    if not token.startswith("-"):
        return False
    try:
        float(token)
    except ValueError:
        return False
    return True
