"""`phenoscale VERB`: find the verb, fill its config, run it, and turn every end into an exit code.

Nothing heavy is imported before a verb is known: `phenoscale --help` needs the table of verbs only.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phenoscale.cli.verbs import VERBS, Verb
from phenoscale.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_RETRY,
    EXIT_USER,
    Terminated,
    UserError,
    exit_code_of,
)
from phenoscale.references import find

if TYPE_CHECKING:
    from phenoscale.cli.arguments import Arguments
    from phenoscale.config import Config

EXECUTE: Final = "phenoscale.operations.execute:execute"
LOCAL_INPUTS: Final = "phenoscale.operations.addresses:with_local_inputs"
_HELP_FLAGS: Final = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 done, 2 input, 70 our bug, 75 please retry."""
    argv = list(sys.argv[1:] if argv is None else argv)
    before = signal.signal(signal.SIGTERM, _on_sigterm)
    workspace: list[str] = []
    try:
        return _run(argv, note_workspace=workspace.append)
    except BrokenPipeError:
        # the reader of our output has gone (`| head`); Python must not try to flush to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except (Exception, KeyboardInterrupt, Terminated) as error:
        return _report(error, argv=argv, workspace=workspace)
    finally:
        signal.signal(signal.SIGTERM, before)


def top_help(group: str = "") -> str:
    """Return the help of the command itself, or of a group of verbs such as `run`."""
    verbs = {name: verb for name, verb in VERBS.items() if not group or name.startswith(group + " ")}
    width = max(len(name) for name in verbs)
    lines = [
        "usage: phenoscale VERB [--config FILE] [--field value] [--section.field value] [--dry-run]",
        "",
        "Turns high-content-screening plates into a trained, probed and registered image encoder, and into",
        "maps of perturbations.",
        "",
        "verbs:",
        *(f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items()),
        "",
        "`phenoscale VERB --help` shows a verb's fields, `phenoscale --version` the version.",
        "exit codes: 0 done, 2 your input or config, 70 a bug of ours, 75 please retry",
    ]
    return "\n".join(lines)


def split_verb(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the verb at the start of a command line, sub-verb included, and the arguments after it.

    Raises:
        UserError: for an unknown verb, with the nearest one.
    """
    first, second = argv[0], argv[1] if len(argv) > 1 else ""
    if f"{first} {second}" in VERBS:
        return f"{first} {second}", list(argv[2:])
    sub_verbs = [name.partition(" ")[2] for name in VERBS if name.startswith(first + " ")]
    is_word = bool(second) and not second.startswith("-")
    if sub_verbs and (is_word or first not in VERBS):
        way_out = _nearest(second, sub_verbs, prefix=first + " ")
        asked = f"{first} {second}" if is_word else first
        raise UserError(f"unknown verb `{asked}`; {way_out}; see `phenoscale --help`")
    if first not in VERBS:
        names = list(dict.fromkeys(name.partition(" ")[0] for name in VERBS))
        raise UserError(f"unknown verb `{first}`; {_nearest(first, names)}; see `phenoscale --help`")
    return first, list(argv[1:])


def _run(argv: Sequence[str], *, note_workspace: Callable[[str], None]) -> int:
    if not argv or argv[0] in _HELP_FLAGS:
        sys.stdout.write(top_help() + "\n")
        return EXIT_DONE if argv else EXIT_USER
    if argv[0] in ("--version", "-V"):
        import importlib.metadata

        sys.stdout.write(f"phenoscale {importlib.metadata.version('phenoscale')}\n")
        return EXIT_DONE
    if len(argv) > 1 and argv[0] in _groups() and argv[1] in _HELP_FLAGS:
        sys.stdout.write(top_help(argv[0]) + "\n")
        return EXIT_DONE
    name, rest = split_verb(argv)
    return _run_verb(name, rest, note_workspace=note_workspace)


def _run_verb(name: str, argv: Sequence[str], *, note_workspace: Callable[[str], None]) -> int:
    from phenoscale.cli.answers import answer_exit_code, write_answer, write_line
    from phenoscale.cli.arguments import parse_arguments
    from phenoscale.config import load_config
    from phenoscale.distributed import rank
    from phenoscale.logs import configure_logging
    from phenoscale.recipes import find_recipe

    verb = VERBS[name]
    config_class: type[Config] = find(verb.config)
    arguments, help_text = parse_arguments(name, verb, config=config_class, argv=argv)
    if arguments.wants_help:
        write_line(help_text.rstrip("\n"))
        return EXIT_DONE
    configure_logging(arguments.log_level)
    file = find_recipe(arguments.file) if arguments.file else None
    config = load_config(config_class, file, flags=arguments.flags)
    note_workspace(getattr(getattr(config, "runtime", None), "workspace", ""))
    if not verb.keeps_addresses and not (verb.is_stage and not arguments.is_dry_run):
        config = find(LOCAL_INPUTS)(config)
    if arguments.is_dry_run:
        return _dry_run(verb, config, arguments=arguments)
    # what libraries print on the way must not come between a program and its answer
    with contextlib.redirect_stdout(sys.stderr) if arguments.is_json else contextlib.nullcontext():
        value = find(EXECUTE)(name, config) if verb.is_stage else find(verb.function)(config)
    if rank() == 0:  # all ranks of torchrun's have the same answer
        write_answer(value, is_json=arguments.is_json)
    return answer_exit_code(value)


def _dry_run(verb: Verb, config: Config, *, arguments: Arguments) -> int:
    from phenoscale.cli.answers import write_plan
    from phenoscale.stages import plan_stage

    plan: Any = None
    try:
        if verb.is_stage:
            plan = plan_stage(find(verb.function), config)
        elif verb.plan:
            plan = find(verb.plan)(config)
    except UserError as error:
        plan = error
    write_plan(config, plan, is_json=arguments.is_json)
    return EXIT_USER if isinstance(plan, UserError) else EXIT_DONE


def _groups() -> frozenset[str]:
    """Return the words that only come with a second one."""
    return frozenset(name.partition(" ")[0] for name in VERBS) - frozenset(VERBS)


def _nearest(name: str, choices: Sequence[str], *, prefix: str = "") -> str:
    # not config.problems.suggest: that would import pydantic to say that a verb is misspelled
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    if close:
        return f"did you mean `{prefix}{close[0]}`?"
    return "valid: " + ", ".join(prefix + choice for choice in choices)


def _on_sigterm(number: int, frame: Any) -> None:
    raise Terminated("stopped by SIGTERM; the same command goes on where this one stopped")


def _report(error: BaseException, *, argv: Sequence[str], workspace: Sequence[str]) -> int:
    code = exit_code_of(error)
    words = argv[:2] if " ".join(argv[:2]) in VERBS else argv[:1]
    name = " ".join(["phenoscale", *words])
    if code == EXIT_INTERRUPTED:
        _say(f"{name}: interrupted; the same command goes on where this one stopped")
    elif code == EXIT_BUG:
        place = _write_traceback(error, workspace=workspace)
        summary = f"{type(error).__name__}: {error}".replace("\n", " ")
        _say(f"{name}: a bug of ours, {summary}; please report it with the traceback in {place}")
    else:
        hint = " (please retry)" if code == EXIT_RETRY else ""
        _say(f"{name}: {error}{hint}")
    return code


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _write_traceback(error: BaseException, *, workspace: Sequence[str]) -> str:
    """Write the traceback into the workspace, or, where that cannot be, into the temporary folder."""
    text = "".join(traceback.format_exception(error))
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    folders = [Path(folder) / "tracebacks" for folder in workspace if folder and "://" not in folder]
    for folder in [*folders, Path(tempfile.gettempdir())]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        except OSError:
            continue
        return str(folder / name)
    _say(text)
    return "the lines above"
