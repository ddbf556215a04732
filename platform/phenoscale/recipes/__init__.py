"""Named configs that the package carries: `--config demo` means the file `demo.yaml` here.

Those at the top are for `run full`, those in `pretrain` for the verb of that name; any other folder is named
after the pipeline that its recipes are for.
"""

from pathlib import Path

from phenoscale.errors import UserError

_FOLDER = Path(__file__).parent


def recipe_names() -> tuple[str, ...]:
    """Every name that `--config` understands."""
    files = sorted(_FOLDER.rglob("*.yaml"))
    return tuple(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in files)


def find_recipe(name_or_path: str | Path) -> Path:
    """The config file that a name or a path means; a file that exists wins over a name.

    Raises:
        UserError: when there is neither such a file nor such a name.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if str(name_or_path) in recipe_names():
        return _FOLDER / f"{name_or_path}.yaml"
    raise UserError(
        f"config {str(name_or_path)!r} is neither a file nor a recipe; "
        f"give the path of a YAML file or one of: {', '.join(recipe_names())}"
    )
