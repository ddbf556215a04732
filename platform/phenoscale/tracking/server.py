"""The one door to MLflow: where the store is, which experiment, and MLflow kept quiet and offline."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from phenoscale.errors import UserError
from phenoscale.storage import is_remote

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from phenoscale.config import Runtime

_SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
_NOISY_LOGGERS = ("mlflow", "alembic", "git")
# What MLflow 3.17 itself uses and SQLAlchemy 2.1 deprecates; nobody here can act on it.
_KNOWN_WARNINGS = ("The ``noload`` loader strategy",)
_OFFLINE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    # A server that is away is waited for in our own outbox, not for minutes inside one call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def tracking_uri(runtime: Runtime) -> str:
    """Where runs are kept: as configured, else $MLFLOW_TRACKING_URI, else SQLite in the workspace."""
    address = runtime.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        if is_remote(runtime.workspace):
            raise UserError(
                f"workspace {runtime.workspace} lies in a bucket, which can hold no run store; "
                "give a server: --runtime.tracking_uri http(s)://host:port, or $MLFLOW_TRACKING_URI"
            )
        return f"sqlite:///{Path(runtime.workspace).resolve() / 'mlflow.db'}"
    scheme = address.split("://")[0].split("+")[0].split(":")[0]
    if scheme not in _SCHEMES or (scheme != "databricks" and "://" not in address):
        raise UserError(
            f"tracking_uri {address!r} is not an address that MLflow keeps runs at; give "
            "http(s)://host:port, sqlite:///file.db, postgresql://... or mysql://..., or leave it empty for "
            "a file in the workspace"
        )
    if is_local(address) and is_remote(_file_of(address)):
        raise UserError(f"tracking_uri {address!r} lies in a bucket, where SQLite cannot; give a local file")
    return address


def has_store(runtime: Runtime) -> bool:
    """Whether there may be runs and models: always at a server, in a local workspace once they were kept.

    Raises:
        UserError: a file was named in which nothing was ever kept.
    """
    address = tracking_uri(runtime)
    found = not is_local(address) or Path(_file_of(address)).is_file()
    if not found and (runtime.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")):
        raise UserError(f"tracking_uri {address!r}: there is no such file; correct it")
    return found


def is_local(uri: str) -> bool:
    """Whether the store is a file of this machine, which is written at once instead of waited for."""
    return uri.startswith("sqlite")


def _file_of(address: str) -> str:
    return address.removeprefix("sqlite:///")


def silence_mlflow() -> None:
    """Switch MLflow's telemetry, adverts, progress bars and log lines off; a user's own settings win."""
    for name, value in _OFFLINE.items():
        os.environ.setdefault(name, value)
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=DeprecationWarning)


def connect(runtime: Runtime) -> MlflowClient:
    """The MLflow client of this runtime; the first call in a process imports MLflow (seconds)."""
    address = tracking_uri(runtime)
    if is_local(address):
        _make_folder_of(address)
    client = _client(address)
    silence_mlflow()
    return client


@lru_cache(maxsize=8)
def _client(address: str) -> MlflowClient:
    silence_mlflow()
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise UserError(
            f"tracking needs MLflow, which cannot be imported ({error}); pip install 'phenoscale[mlflow]'"
        ) from error
    # The import has set MLflow's own log level, and making a client makes a new database.
    silence_mlflow()
    with _making_of(address):
        return MlflowClient(tracking_uri=address, registry_uri=address)


def _making_of(address: str) -> AbstractContextManager[object]:
    """One process at a time makes a database: those that start together must not each make its tables."""
    return FileLock(f"{_file_of(address)}.lock") if is_local(address) else nullcontext()


def _make_folder_of(address: str) -> None:
    file = _file_of(address)
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the run store {file} cannot be made ({error.strerror}); give another workspace or tracking_uri"
        ) from error


def experiment_id(client: MlflowClient, runtime: Runtime) -> str:
    """The id of the runtime's experiment, made when missing; $MLFLOW_EXPERIMENT_ID (from Kubeflow) wins."""
    injected = os.environ.get("MLFLOW_EXPERIMENT_ID", "")
    if injected:
        return injected
    found = client.get_experiment_by_name(runtime.experiment_name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    return _create_experiment(client, runtime)


def _create_experiment(client: MlflowClient, runtime: Runtime) -> str:
    from mlflow.exceptions import MlflowException

    artifacts: dict[str, Any] = {}
    if is_local(tracking_uri(runtime)):
        artifacts["artifact_location"] = artifact_folder(runtime).as_uri()
    try:
        return str(client.create_experiment(runtime.experiment_name, **artifacts))
    except MlflowException:
        # Two first runs may race for the name: the loser takes the winner's experiment.
        found = client.get_experiment_by_name(runtime.experiment_name)
        if found is None:
            raise
        return str(found.experiment_id)


def artifact_folder(runtime: Runtime) -> Path:
    """Where a local store keeps its artifacts: beside the database file."""
    return Path(_file_of(tracking_uri(runtime))).resolve().parent / "mlflow-artifacts"
