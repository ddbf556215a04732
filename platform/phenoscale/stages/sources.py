"""Which modules of the library compute a stage: found by reading sources, never by running them."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from phenoscale.storage.digests import digest_entries, digest_file

PACKAGE: Final = "phenoscale"
PLUMBING: Final = frozenset(
    {
        "stages",
        "storage",
        "files",
        "references",
        "config",
        "logs",
        "errors",
        "tracking",
        "distributed",
        "recipes",
        "compiled",
        "operations",
        # a list of names, which one more name must not change
        "screens.ingest.readers.known",
    }
)
"""Packages and modules that move bytes or talk: no key depends on their text, only on what they write."""
OUTPUT_FORMAT: Final = 1
"""Version of what the plumbing itself leaves in an output; one more here, and every stage runs again."""
_VERSIONED_LIBRARIES: Final = ("torch", "timm")


def library_root() -> Path:
    """Return the folder that holds the running package."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None, f"{PACKAGE} is not importable"
    return Path(spec.origin).parent.parent


def sources_digest(entry: str, *, modules: Sequence[str] = (), root: Path | None = None) -> str:
    """Return the digest of the bytes of every module that computes a stage, with torch's and timm's versions.

    The versions enter only where the modules import these libraries, so that a stage without them has the
    same key on a machine that lacks them. Cached for the process: its modules are loaded once, too.

    Args:
        entry: dotted name of the module that the stage starts in.
        modules: further modules that compute and that no import names: those that the config chooses, or
            that run in processes of their own.
        root: folder that holds the package; the running one's by default.
    """
    return _sources_digest((entry, *sorted(modules)), root or library_root())


@functools.cache
def _sources_digest(starts: tuple[str, ...], root: Path) -> str:
    reached = reached_modules(*starts, root=root)
    entries = {path.relative_to(root).as_posix(): digest_file(path) for path in reached.values()}
    imported = {library for name in reached for library in _read(name, root).libraries}
    for library in imported.intersection(_VERSIONED_LIBRARIES):
        entries[f"{library}=={_version(library)}"] = ""
    entries[f"output format {OUTPUT_FORMAT}"] = ""
    return digest_entries(entries)


def reached_modules(*starts: str, root: Path | None = None) -> dict[str, Path]:
    """Return the modules (dotted name to file) that modules reach, themselves included, plumbing left out.

    Followed are absolute and relative imports anywhere in a module, and the packages on the way to a module
    (Python runs their `__init__`). Not followed are imports for type checkers only, and the top package's
    `__init__`, which only re-exports.
    """
    root = root or library_root()
    for start in starts:
        assert _file_of(start, root=root) is not None, f"module {start} is not under {root}"
    reached: dict[str, Path] = {}
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root=root)
        if name in reached or path is None or name == PACKAGE or is_plumbing(name):
            continue
        reached[name] = path
        waiting.extend(_with_parents(name))
        for found in _read(name, root).modules:
            waiting.extend(_with_parents(found))
    return dict(sorted(reached.items()))


def is_plumbing(module: str) -> bool:
    """Whether a module, given by its dotted name, moves bytes or talks but computes nothing."""
    parts = module.split(".")
    return any(".".join(parts[1:end]) in PLUMBING for end in range(2, len(parts) + 1))


class _Module:
    """What one source file names: modules of the package, and other top-level libraries."""

    def __init__(self, modules: frozenset[str], libraries: frozenset[str]) -> None:
        self.modules, self.libraries = modules, libraries


@functools.cache
def _read(name: str, root: Path) -> _Module:
    path = _file_of(name, root=root)
    assert path is not None, f"module {name} is not under {root}"
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    candidates: set[str] = set()
    for node in _executed_nodes(ast.parse(path.read_bytes(), filename=str(path))):
        candidates.update(_named_modules(node, package=package))
    modules = {name for name in candidates if _is_ours(name) and _file_of(name, root=root) is not None}
    libraries = {name.partition(".")[0] for name in candidates if not _is_ours(name)}
    return _Module(frozenset(modules), frozenset(libraries))


def _executed_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree, leaving out the bodies of `if TYPE_CHECKING:`."""
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children = list(node.orelse)
    for child in children:
        yield from _executed_nodes(child)


def _named_modules(node: ast.AST, *, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        base = _absolute(node, package=package)
        yield base
        for alias in node.names:
            # `from phenoscale.x import y`: y is a submodule or a name in x; _file_of tells which
            if _is_ours(base):
                yield f"{base}.{alias.name}"


def _absolute(node: ast.ImportFrom, *, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, node.module] if node.module else parts)


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(PACKAGE + ".")


def _file_of(name: str, *, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(2, len(parts) + 1):
        yield ".".join(parts[:length])


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
