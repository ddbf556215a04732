"""One answer for every file of a user that cannot be read: absent, cut short, damaged or foreign."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phenoscale.errors import UserError

_MOST_LISTED = 10
# What pandas says of a table (ParserError, EmptyDataError) and codecs of a text are ValueErrors.
_UNREADABLE = (ValueError, EOFError, OSError, zlib.error)


@contextmanager
def readable(file: Path, *, holds: str, kind: str = "a readable CSV", way_out: str) -> Iterator[None]:
    """Turn what reading a file raises into one UserError of one line.

    Args:
        file: is read inside the context.
        holds: what is needed there, such as "a gene table".
        kind: what the file should be, such as "readable text".
        way_out: what to do when it is none.
    """
    require_file(file, holds=holds)
    try:
        yield
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file} is not {kind} ({reason}); {way_out}") from error


def require_file(file: Path, *, holds: str) -> None:
    """Refuse a path at which there is no file, and say what is there instead.

    Args:
        file: is to be read.
        holds: what is needed there, such as "a gene table".
    """
    try:
        if file.is_file():
            return
        found = (
            "is a folder" if file.is_dir() else "is no regular file" if file.exists() else "does not exist"
        )
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
    raise UserError(f"{file} {found}, but {holds} is needed there; check the path")


def listed_columns(names: Iterable[object]) -> str:
    """The names of columns for a message: all of up to ten, else the first ten and how many there are."""
    known = [str(name) for name in names]
    if len(known) <= _MOST_LISTED:
        return f"the columns {known}"
    return f"{len(known)} columns ({', '.join(known[:_MOST_LISTED])}, ...)"
