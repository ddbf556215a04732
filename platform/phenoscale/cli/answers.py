"""Write a verb's answer: JSON for programs, or lines for people."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol, runtime_checkable

from phenoscale.config import Config, config_yaml, resolved
from phenoscale.config.digests import plain
from phenoscale.errors import EXIT_DONE, UserError
from phenoscale.stages import StagePlan, StageResult


@runtime_checkable
class Readable(Protocol):
    """A value that knows how to be read by a person."""

    def text(self) -> str:
        """Return the lines to print."""


def write_answer(value: Any, *, is_json: bool) -> None:
    """Print the value that a verb returned."""
    if is_json:
        write_line(json.dumps(plain(value), indent=1))
    elif value is not None:
        write_line(_readable(value).rstrip("\n"))


def write_plan(config: Config, plan: Any, *, is_json: bool) -> None:
    """Print what a verb would do: its config as YAML, and the plan as comments below it.

    Args:
        config: the resolved config.
        plan: what would happen, the error that would stop it, or None where there is nothing to plan.
        is_json: whether to print both as one JSON object.
    """
    if is_json:
        answer = {
            "config": resolved(config),
            "plan": str(plan) if isinstance(plan, UserError) else plain(plan),
        }
        write_line(json.dumps(answer, indent=1))
        return
    lines = [config_yaml(config).rstrip("\n"), *(f"# {line}" for line in _plan_lines(plan))]
    write_line("\n".join(lines))


def answer_exit_code(value: Any) -> int:
    """Return the exit code that an answer asks for, such as a doctor's that found something missing."""
    return int(getattr(value, "exit_code", EXIT_DONE))


def write_line(text: str) -> None:
    """Print text and a line break to standard output."""
    sys.stdout.write(text + "\n")


def _plan_lines(plan: Any) -> list[str]:
    if plan is None:
        return ["plan: this verb has no output of its own to plan"]
    if isinstance(plan, UserError):
        return ["plan: none, an input is wrong", *str(plan).splitlines()]
    if not isinstance(plan, StagePlan):
        return ["plan:", *_readable(plan).splitlines()]
    state = "cached: the output is there and would be reused" if plan.is_cached else "not cached: would run"
    inputs = [f"input {entry.name}: {entry.uri} (digest {entry.digest[:12]})" for entry in plan.inputs]
    return [f"plan: {plan.stage}, {state}", f"key: {plan.key}", f"output: {plan.path}", *inputs]


def _readable(value: Any) -> str:
    if isinstance(value, StageResult):
        return _result_text(value)
    if isinstance(value, Readable):
        return value.text()
    if isinstance(value, str):
        return value
    return _outline(plain(value))


def _result_text(result: StageResult) -> str:
    share = "" if result.digest else "a share of it "
    state = "reused" if result.reused else f"{share}done in {result.seconds:.1f} s"
    lines = [f"{result.stage}: {state}", f"  output  {result.path}", f"  digest  {result.digest[:20]}"]
    summary = _outline(plain(result.summary), indent="    ")
    return "\n".join([*lines, "  summary", summary] if summary else lines)


def _outline(value: Any, *, indent: str = "") -> str:
    """Write plain JSON values as indented lines."""
    if not isinstance(value, dict):
        return indent + (json.dumps(value) if isinstance(value, list) else str(value)) if value != {} else ""
    lines = []
    for name, entry in value.items():
        if isinstance(entry, dict) and entry:
            lines += [f"{indent}{name}:", _outline(entry, indent=indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {json.dumps(entry) if isinstance(entry, dict | list) else entry}")
    return "\n".join(lines)
