"""Facts about the code and machine that made an output: git commit, versions, processors, memory."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from phenoscale.stages.sources import PACKAGE, library_root


@functools.cache
def code_facts() -> dict[str, Any]:
    """Return git commit, dirty flag, package version and image digest; None where unknown.

    In an image without git, PHENOSCALE_GIT_COMMIT and PHENOSCALE_IMAGE_DIGEST say it.
    """
    folder = library_root() / PACKAGE
    # a wheel installed into some other project's checkout is not at that project's commit
    is_tracked = _git(folder, "ls-files", "--error-unmatch", "errors.py") is not None
    commit = _git(folder, "rev-parse", "HEAD") if is_tracked else None
    status = _git(folder, "status", "--porcelain", "--", ".") if is_tracked else None
    return {
        "git_commit": commit or os.environ.get("PHENOSCALE_GIT_COMMIT") or None,
        "dirty": None if status is None else bool(status),
        "version": _package_version(),
        "image_digest": os.environ.get("PHENOSCALE_IMAGE_DIGEST") or None,
    }


def host_facts() -> dict[str, Any]:
    """Return name, platform, Python, processors and memory of this machine."""
    return {
        "name": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "num_cpus": num_cpus(),
        "memory_bytes": memory_bytes(),
    }


def num_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the machine's memory, None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _package_version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
