"""What a person sees of a pipeline run: one line a step, and under it what the step itself has to say."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from phenoscale.stages import StageResult

_LOG_HEAD = re.compile(r"^time=\S+ level=(?P<level>\w+) source=\S+ ")
_MESSAGE = re.compile(r'^message="(?P<text>.*)"$')
_SHOWN_LEVELS = ("warning", "error", "critical")


class Console:
    """Writes how a run goes, step by step, to standard error."""

    def __init__(self, steps: Sequence[str], *, stream: TextIO | None = None) -> None:
        self._steps, self._stream = list(steps), stream or sys.stderr
        self._done: list[str] = []
        self._width = max(map(len, steps), default=0)
        self._last_end = time.monotonic()
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Write one line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def finished(self, step: str, *, result: StageResult | None) -> None:
        """A step has its output."""
        if result is None:
            return
        self._done.append(step)
        # Steps run one after another: what lies between two ends is the step, its start-up included.
        self.seconds[step] = time.monotonic() - self._last_end
        self._last_end += self.seconds[step]
        outcome = "reused" if result.reused else "done"
        self.say(
            f"{self._head(step)}  {outcome:6} {self.seconds[step]:7.1f} s  {_first_figures(result)}".rstrip()
        )

    def line(self, text: str) -> None:
        """Hand on what a step printed, if a person wants to see it live: progress, warnings, errors."""
        head = _LOG_HEAD.match(text)
        if head is None:
            return
        body = text[head.end() :]
        if body.startswith("progress=") or head["level"] in _SHOWN_LEVELS:
            message = _MESSAGE.match(body)
            shown = message["text"].replace('\\"', '"').replace("\\\\", "\\") if message else body
            self.say(f"{'':9}{shown}")

    def _head(self, step: str) -> str:
        return f"[{len(self._done):2}/{len(self._steps)}] {step:{self._width}}"


def _first_figures(result: StageResult, *, most: int = 3) -> str:
    """The first few numbers that a stage says about its output."""
    numbers = [
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in result.summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return " ".join(numbers[:most])
