"""Names of things that are imported when they are needed: `--help` stays light, tables stay readable."""

from __future__ import annotations

import importlib
from operator import attrgetter
from typing import Any


def find(reference: str) -> Any:
    """Import what "module:name" or "module:name.attribute" refers to."""
    module, _, name = reference.partition(":")
    return attrgetter(name)(importlib.import_module(module))
