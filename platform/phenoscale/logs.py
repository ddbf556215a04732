"""Logging for people and machines: key=value lines, silent ranks, a live bar on a terminal."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, Protocol

ROOT_LOGGER: Final = "phenoscale"
_SECONDS_BETWEEN_LINES: Final = 10.0
_KEPT_LINES: Final = 200


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module (pass `__name__`)."""
    return logging.getLogger(name if name.startswith(ROOT_LOGGER) else f"{ROOT_LOGGER}.{name}")


def key_values(**fields: Any) -> str:
    """Write fields as one `key=value` line; text with spaces is quoted, floats have four digits."""
    return " ".join(f"{name}={_write_value(value)}" for name, value in fields.items())


def configure_logging(level: str = "INFO") -> None:
    """Send the library's log to standard error: ranks above 0 only from WARNING on.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
    """
    logger = logging.getLogger(ROOT_LOGGER)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _ConsoleHandler)]:
        logger.removeHandler(handler)
    handler = _ConsoleHandler()
    handler.addFilter(RankFilter())
    handler.setFormatter(_ShortFormatter() if sys.stderr.isatty() else KeyValueFormatter())
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False


class RankFilter(logging.Filter):
    """Lets a record pass on rank 0, or when it is a warning or worse."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        return record.levelno >= logging.WARNING or _is_first_rank()


class KeyValueFormatter(logging.Formatter):
    """One `key=value` line a record: time, level, source, then the message's own pairs."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without line breaks; a traceback follows on its own lines."""
        message = record.getMessage().replace("\n", " | ")
        first = message.partition(" ")[0]
        body = message if "=" in first else key_values(message=message)
        source = record.name.removeprefix(ROOT_LOGGER + ".")
        line = f"time={self.formatTime(record)} level={record.levelname.lower()} source={source} {body}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _ShortFormatter(logging.Formatter):
    """What a person at a terminal reads: the time and the message, the level when it matters."""

    default_time_format = "%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname} " if record.levelno >= logging.WARNING else ""
        line = f"{self.formatTime(record, self.default_time_format)} {level}{record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _ConsoleHandler(logging.StreamHandler[Any]):
    """Writes to whatever standard error is now; rich's live bar redirects it, so lines go above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _KeepingHandler(logging.Handler):
    """Keeps the last lines for a failure record."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.setFormatter(KeyValueFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def keep_last_lines() -> Iterator[deque[str]]:
    """Keep the log's last lines while the context is open."""
    handler = _KeepingHandler()
    logger = logging.getLogger(ROOT_LOGGER)
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


class Progress(Protocol):
    """What `progress` hands out."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Count n more units done, and show the figures (loss, throughput, ...) beside the bar."""


@contextlib.contextmanager
def progress(total: int, *, label: str) -> Iterator[Progress]:
    """Show progress over `total` units: a live bar on a terminal, a log line now and then otherwise."""
    if _is_first_rank() and sys.stderr.isatty() and get_logger("progress").isEnabledFor(logging.INFO):
        with _live_bar(total, label=label) as bar:
            yield bar
        return
    lines = _LineProgress(total, label=label)
    yield lines
    lines.close()


class _LineProgress:
    """Logs a `key=value` line at most every ten seconds, and one at the end."""

    def __init__(self, total: int, *, label: str) -> None:
        self._total, self._label = total, label
        self._done, self._logged = 0, -1
        self._figures: dict[str, float] = {}
        self._started = self._last_line = time.monotonic()
        self._logger = get_logger("progress")

    def advance(self, n: int = 1, **figures: float) -> None:
        self._done += n
        self._figures = figures or self._figures
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._log()

    def close(self) -> None:
        if self._logged != self._done:
            self._log()

    def _log(self) -> None:
        self._last_line, self._logged = time.monotonic(), self._done
        seconds = self._last_line - self._started
        line = key_values(
            progress=self._label, done=self._done, total=self._total, seconds=seconds, **self._figures
        )
        self._logger.info("%s", line)


class _BarProgress:
    """A rich live bar with the figures at its end."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, n: int = 1, **figures: float) -> None:
        fields = {"figures": key_values(**figures)} if figures else {}
        self._bar.update(self._task, advance=n, **fields)


@contextlib.contextmanager
def _live_bar(total: int, *, label: str) -> Iterator[_BarProgress]:
    import rich.console
    import rich.progress

    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[figures]}"),
    )
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(*columns, console=console, redirect_stderr=True) as bar:
        yield _BarProgress(bar, bar.add_task(label, total=total, figures=""))


def _is_first_rank() -> bool:
    # not through `distributed`, its sibling: a log must go on where a malformed rank is refused
    return os.environ.get("RANK", "0") in ("", "0")


def _write_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    if text and not any(character in text for character in ' "=\n'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
