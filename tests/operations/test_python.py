"""The Python interface: ten names, imported when used, that do what the command line does."""

import subprocess
import sys

import pandas as pd
import pytest

import phenoscale
from phenoscale.errors import UserError


def test_every_name_of_the_interface_is_there_and_no_other():
    assert len(phenoscale.__all__) == 10
    for name in phenoscale.__all__:
        assert callable(getattr(phenoscale, name)), name
    with pytest.raises(AttributeError, match="load_map"):
        _ = phenoscale.load_maps


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "mlflow", "numpy", "pydantic")
    code = f"import phenoscale, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_screen_simulated_from_python_can_be_read_back(tmp_path):
    result = phenoscale.simulate(
        biology={"num_modules": 2, "genes_per_module": 2, "num_unexpressed_genes": 0, "guides_per_gene": 1},
        layout={
            "num_experiments": 1,
            "rows": 4,
            "columns": 6,
            "negative_controls_per_plate": 2,
            "field_size_px": 64,
        },
        runtime={"workspace": str(tmp_path)},
    )
    assert len(pd.read_csv(result.path / "fields.csv")) == result.summary["num_fields"]
    latents = phenoscale.load_map(result.path / "truth" / "latents.parquet")
    assert len(latents.frame) == 4


def test_a_misspelled_setting_is_named_with_the_nearest_one():
    with pytest.raises(UserError, match="channels"):
        phenoscale.simulate(chanels=["DNA"])
