"""One answer for every file of a user that cannot be read: absent, cut short, damaged or foreign."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenoscale.errors import UserError

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
    if not file.is_file():
        raise UserError(f"{file} does not exist, but {holds} is needed there; check the path")
    try:
        yield
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file} is not {kind} ({reason}); {way_out}") from error
