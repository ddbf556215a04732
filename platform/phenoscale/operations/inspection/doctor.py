"""Is this machine ready: one check per thing that a run needs, each with its fix."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from phenoscale.errors import EXIT_DONE, EXIT_USER, PhenoscaleError
from phenoscale.operations.inspection.config import DoctorConfig
from phenoscale.stages import open_workspace
from phenoscale.stages.host import code_facts, memory_bytes, num_cpus
from phenoscale.stages.lease import LEASE_SUFFIX, hold_lease
from phenoscale.storage import is_remote, open_storage

Status = Literal["ok", "warning", "failed"]

_BYTES_PER_GB: Final = 1e9
_PYTHONS: Final = ((3, 11), (3, 12))
_SIGNS: Final[dict[str, str]] = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}
_PIP: Final = "pip install 'phenoscale[{extra}]' -c constraints.txt"


@dataclasses.dataclass(frozen=True)
class Check:
    """What one check found, and what to do about it; a warning only limits what can be run."""

    name: str
    status: Status
    finding: str
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """All checks of a machine."""

    is_ready: bool
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, otherwise 2: it is for the user to fix."""
        return EXIT_DONE if self.is_ready else EXIT_USER

    def text(self) -> str:
        """Return one line per check, with the fix under those that are not ok."""
        lines = []
        for check in self.checks:
            lines.append(f"{_SIGNS[check.status]} {check.name}: {check.finding}")
            if check.fix:
                lines.append(f"{'':8}fix: {check.fix}")
        return "\n".join([*lines, "this machine is ready" if self.is_ready else "this machine is not ready"])


def run_doctor(config: DoctorConfig) -> Diagnosis:
    """Run every check; none changes anything, but for a temporary file in the workspace."""
    checks = [check(config) for check in CHECKS]
    if config.store:
        checks.append(_check_store(config))
    return Diagnosis(is_ready=all(check.status != "failed" for check in checks), checks=tuple(checks))


def _check_python(config: DoctorConfig) -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in _PYTHONS:
        return Check("python", "ok", found)
    return Check("python", "failed", found, fix="make the virtual environment with Python 3.11 or 3.12")


def _check_libraries(config: DoctorConfig) -> Check:
    names = (
        "numpy",
        "scipy",
        "sklearn",
        "pandas",
        "pyarrow",
        "tensorstore",
        "tifffile",
        "imagecodecs",
        "PIL",
    )
    broken = [f"{name} ({reason})" for name in names if (reason := _import_problem(name))]
    if not broken:
        return Check("libraries", "ok", f"{len(names)} numerical and image libraries load")
    return Check("libraries", "failed", "cannot load " + ", ".join(broken), fix=_PIP.format(extra="all"))


def _check_torch(config: DoctorConfig) -> Check:
    broken = [
        f"{name} ({reason})" for name in ("torch", "timm", "safetensors") if (reason := _import_problem(name))
    ]
    if broken:
        finding = f"cannot load {', '.join(broken)}: no training, probing or embedding here"
        return Check("torch", "warning", finding, fix=_PIP.format(extra="train"))
    return Check("torch", "ok", f"torch {_version('torch')}, timm {_version('timm')}")


def _check_gpu(config: DoctorConfig) -> Check:
    if _import_problem("torch"):
        return Check("gpu", "warning", "unknown without torch", fix=_PIP.format(extra="train"))
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check("gpu", "ok", f"{len(names)}: {', '.join(sorted(set(names)))}")
    if config.runtime.device.startswith("cuda"):
        fix = "install the NVIDIA driver (nvidia-smi must answer), or set --runtime.device cpu"
        return Check("gpu", "failed", f"none, but --runtime.device is {config.runtime.device}", fix=fix)
    return Check("gpu", "ok", "none; everything runs on the CPU, large trainings slowly")


def _check_cpus(config: DoctorConfig) -> Check:
    count = num_cpus()
    wanted = config.runtime.num_processes
    if count >= wanted:
        return Check("processors", "ok", str(count))
    fix = f"set --runtime.num_processes to at most {count}"
    return Check("processors", "warning", f"{count}, but {wanted} processes are asked for", fix=fix)


def _check_memory(config: DoctorConfig) -> Check:
    total = memory_bytes()
    if total is None:
        return Check("memory", "warning", "this system does not say", fix="see to it that 4 GB are free")
    gigabytes = total / _BYTES_PER_GB
    if gigabytes >= config.min_memory_gb:
        return Check("memory", "ok", f"{gigabytes:.1f} GB")
    fix = f"use a machine with at least {config.min_memory_gb:g} GB"
    return Check("memory", "warning", f"{gigabytes:.1f} GB", fix=fix)


def _check_workspace(config: DoctorConfig) -> Check:
    name, workspace = f".doctor-{os.getpid()}", open_workspace(config.runtime.workspace)
    storage = workspace.storage if workspace.is_remote else open_storage(str(_nearest_existing(config)))
    try:
        with hold_lease(storage, name, stage="doctor"):
            pass
        storage.delete_below(name + LEASE_SUFFIX)
    except (PhenoscaleError, OSError) as error:
        fix = "choose a place that this user may write, with links or conditional writes: --runtime.workspace"
        return Check("workspace", "failed", str(error), fix=fix)
    return Check("workspace", "ok", f"{config.runtime.workspace} can be written and leased")


def _check_disk(config: DoctorConfig) -> Check:
    folder = _nearest_existing(config)
    free = shutil.disk_usage(folder).free / _BYTES_PER_GB
    if free >= config.min_free_gb:
        return Check("disk", "ok", f"{free:.1f} GB free at {folder}")
    fix = f"free space until there are {config.min_free_gb:g} GB, or choose another --runtime.workspace"
    return Check("disk", "failed", f"{free:.1f} GB free at {folder}", fix=fix)


def _nearest_existing(config: DoctorConfig) -> Path:
    """Return the workspace's folder, or what there is on the way to it: a check makes no folders."""
    path = open_workspace(config.runtime.workspace).root
    while not path.exists():
        path = path.parent
    return path


def _check_mlflow(config: DoctorConfig) -> Check:
    # looked for, not imported: only tracking and registry import MLflow
    if importlib.util.find_spec("mlflow") is None:
        finding = "not installed: runs are not tracked, and nothing can be registered"
        return Check("mlflow", "warning", finding, fix=_PIP.format(extra="mlflow"))
    uri = config.runtime.tracking_uri
    if not uri.startswith(("http://", "https://")):
        return Check("mlflow", "ok", f"{_version('mlflow')}, {uri or 'SQLite file in the workspace'}")
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=10) as answer:
            return Check("mlflow", "ok", f"{_version('mlflow')}, {uri} answers {answer.status}")
    except (urllib.error.URLError, OSError) as error:
        fix = (
            "start the server, or correct --runtime.tracking_uri; empty means a SQLite file in the workspace"
        )
        return Check("mlflow", "failed", f"{uri} does not answer: {error}", fix=fix)


def _check_kfp(config: DoctorConfig) -> Check:
    version = _version("kfp")
    if version.startswith("2.17."):
        return Check("kfp", "ok", version)
    finding = f"{version}: no Kubeflow pipelines from here" if version == "absent" else version
    return Check("kfp", "warning", f"{finding}; 2.17 is wanted", fix=_PIP.format(extra="pipeline"))


def _check_git(config: DoctorConfig) -> Check:
    commit = code_facts()["git_commit"]
    if commit:
        return Check("code version", "ok", f"commit {commit[:12]}")
    fix = "run from a git checkout, or set PHENOSCALE_GIT_COMMIT"
    return Check("code version", "warning", "lineage will not name a git commit", fix=fix)


def _check_store(config: DoctorConfig) -> Check:
    try:
        first = next(iter(open_storage(config.store).list()), None)
    except (PhenoscaleError, OSError) as error:
        fix = "correct the address, AWS_ENDPOINT_URL or the credentials"
        return Check(
            "store", "failed", str(error), fix=fix if is_remote(config.store) else "correct the path"
        )
    if first is None:
        return Check(
            "store", "failed", f"{config.store} holds nothing", fix="give the store's folder or prefix"
        )
    return Check("store", "ok", f"{config.store} can be read")


CHECKS: Final[tuple[Callable[[DoctorConfig], Check], ...]] = (
    _check_python,
    _check_libraries,
    _check_torch,
    _check_gpu,
    _check_cpus,
    _check_memory,
    _check_workspace,
    _check_disk,
    _check_mlflow,
    _check_kfp,
    _check_git,
)


def _import_problem(name: str) -> str:
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken binary raises anything from ImportError to RuntimeError
        return f"{type(error).__name__}: {error}"
    return ""


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
