"""Write the golden files again (`make golden`); their diff is what to review."""

import os
import tempfile
from pathlib import Path

from phenoscale.config import Config, config_yaml, load_config
from phenoscale.operations.pipelines.config import config_class
from phenoscale.operations.pipelines.table import find_pipeline
from phenoscale.recipes import find_recipe, recipe_names
from phenoscale.training.config import PretrainConfig
from tests.golden.loss_curves import write_curves

FOLDER = Path(__file__).parent


def _config_of(folder: str) -> type[Config]:
    """Which config the recipes of a folder fill."""
    return PretrainConfig if folder == "pretrain" else config_class(find_pipeline(folder or "full"))


def resolved_recipe(name: str) -> str:
    """A recipe with every default filled in, as YAML."""
    return config_yaml(load_config(_config_of(name.rpartition("/")[0]), find_recipe(name), flags={}))


def write_recipes(folder: Path) -> list[Path]:
    """Write every resolved recipe into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in recipe_names():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(resolved_recipe(name))
        paths.append(path)
    return paths


if __name__ == "__main__":
    os.environ.pop("PHENOSCALE_TEST_DATA", None)
    write_recipes(FOLDER / "recipes")
    with tempfile.TemporaryDirectory() as place:
        write_curves(Path(place))
