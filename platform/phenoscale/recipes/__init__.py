"""Named full configs that the package carries: `--config demo` means the file `demo.yaml` here."""

from pathlib import Path

from phenoscale.errors import UserError

_FOLDER = Path(__file__).parent


def recipe_names() -> tuple[str, ...]:
    """Every name that `--config` understands."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def find_recipe(name_or_path: str | Path) -> Path:
    """The config file that a name or a path means; a file that exists wins over a name.

    Raises:
        UserError: when there is neither such a file nor such a name.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = _FOLDER / f"{name_or_path}.yaml"
    if path.name == str(name_or_path) and shipped.is_file():
        return shipped
    raise UserError(
        f"config {str(name_or_path)!r} is neither a file nor a recipe; "
        f"give the path of a YAML file or one of: {', '.join(recipe_names())}"
    )
