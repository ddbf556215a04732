"""What tells one plate, well, field or cell from all others: the only place where a key is spelled.

A plate's name is unique only inside its experiment, an experiment's only inside its screen.
"""

from typing import Final

EXPERIMENT_KEY: Final[tuple[str, ...]] = ("screen", "experiment")
PLATE_KEY: Final[tuple[str, ...]] = (*EXPERIMENT_KEY, "plate")
WELL_KEY: Final[tuple[str, ...]] = (*PLATE_KEY, "well")
FIELD_KEY: Final[tuple[str, ...]] = (*WELL_KEY, "site", "object")
"""The key of an image object: `object` 0 is the whole field of view, else the cell in it."""

KEY_OF: Final = {key[-1]: key for key in (EXPERIMENT_KEY, PLATE_KEY, WELL_KEY)}
"""The columns behind a name that is unique only inside something."""
