"""The files of the checkout that the architecture tests read."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "platform" / "phenoscale"


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file of the checkout: what git tracks or would, or all outside tool folders in an export."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return tuple(sorted(ROOT / name for name in names if name and (ROOT / name).is_file()))
    return tuple(sorted(path for path in ROOT.rglob("*") if path.is_file() and not _is_tool_folder(path)))


def _is_tool_folder(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any((part[0] == "." and part != ".ci") or part in ("build", "__pycache__") for part in parts)


def python_files(*folders: str) -> list[Path]:
    """Every Python file, or those under the given folders of the checkout."""
    files = [path for path in tracked_files() if path.suffix == ".py"]
    if not folders:
        return files
    return [path for path in files if any(path.is_relative_to(ROOT / folder) for folder in folders)]


def library_modules() -> list[tuple[str, Path]]:
    """Dotted name and file of every module of the library."""
    modules = []
    for path in python_files("platform/phenoscale"):
        parts = path.relative_to(ROOT / "platform").with_suffix("").parts
        modules.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return modules


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names that a tree imports, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


def shown(path: Path) -> str:
    """A file's place relative to the checkout."""
    return str(path.relative_to(ROOT))
