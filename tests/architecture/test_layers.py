"""Who may import whom: the contracts in pyproject.toml, and biology without torch."""

import subprocess
import sys
import tomllib

from tests.architecture.tree import LIBRARY, ROOT, library_modules

TORCH_FREE = (
    "errors",
    "files",
    "config",
    "schema",
    "logs",
    "stages",
    "screens",
    "stats",
    "mapping",
    "benchmarks",
    "curation",
)
_BLOCK_AND_IMPORT = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "timm", "torchvision"}:
            raise ImportError(f"{name} is not installed on this machine")
sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_no_module_imports_what_stands_above_it():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_biology_imports_on_a_machine_without_torch():
    names = [
        name for name, _ in library_modules() if name.split(".")[1:2] and name.split(".")[1] in TORCH_FREE
    ]
    assert len(names) > len(TORCH_FREE), "no biology modules were found"
    done = subprocess.run(
        [sys.executable, "-c", _BLOCK_AND_IMPORT, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_contracts_know_every_package():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["type"] == "layers")
    named = {part.strip() for layer in layers["layers"] for part in layer.split("|")}
    packages = {path.name for path in LIBRARY.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    modules = {path.stem for path in LIBRARY.glob("*.py") if path.stem not in ("__init__", "__main__")}
    assert packages | modules == named


def test_the_package_of_the_checkout_leaves_the_standard_library_alone():
    assert not (ROOT / "platform" / "__init__.py").exists(), (
        "platform/__init__.py shadows the standard library's platform"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import platform, uuid; platform.system(); uuid.uuid4()"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
