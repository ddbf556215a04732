"""Versions of an encoder in the MLflow registry: found by digest, pointed at by alias, evidence beside them.

A version's files are an MLflow LoggedModel: `encoder/` and `evidence/`. The registry does not hand the id of
that model back (MLflow 3.17), so the version carries it as the tag `model_id`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phenoscale.errors import PhenoscaleError, RetryError
from phenoscale.storage import digest_bytes
from phenoscale.tracking.outbox import is_final
from phenoscale.tracking.server import connect, experiment_id, is_local, tracking_uri

if TYPE_CHECKING:
    from phenoscale.config import Runtime

CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"
ENCODER_FOLDER: Final = "encoder"
EVIDENCE_FOLDER: Final = "evidence"
EVIDENCE_TAG: Final = "evidence."
_MODEL_TYPE: Final = "phenoscale.encoder"
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")


@dataclass(frozen=True)
class Version:
    """One registered version of an encoder."""

    name: str
    version: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()

    @property
    def encoder_digest(self) -> str:
        """Digest of the encoder that the version is."""
        return self.tags.get("encoder_digest", "")

    @property
    def uri(self) -> str:
        """The version's address."""
        return f"models:/{self.name}/{self.version}"


class Registry:
    """The versions of encoders at one tracking address."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.address = tracking_uri(runtime)
        with self._reachable():
            self._client = connect(runtime)

    def find_by_digest(self, name: str, *, encoder_digest: str) -> Version | None:
        """The version that is this encoder, None when it was not registered yet."""
        with self._reachable():
            found = self._client.search_model_versions(
                f"name = '{name}' and tag.encoder_digest = '{encoder_digest}'"
            )
            # Two runs that registered the same encoder at once: the first one counts.
            numbers = sorted(int(version.version) for version in found)
            return self._version(name, number=str(numbers[0])) if numbers else None

    def every_version(self) -> list[Version]:
        """All versions of all registered models."""
        with self._reachable():
            found: list[Version] = []
            token: str | None = ""
            while token is not None:
                page = self._client.search_model_versions(page_token=token or None)
                found += [
                    Version(str(entry.name), version=str(entry.version), tags=dict(entry.tags))
                    for entry in page
                ]
                token = page.token or None
            return found

    def find_by_alias(self, name: str, *, alias: str) -> Version | None:
        """The version that an alias points at, None when it points nowhere."""
        from mlflow.exceptions import MlflowException

        with self._reachable():
            try:
                found = self._client.get_model_version_by_alias(name, alias)
            except MlflowException as error:
                if error.error_code in _ABSENT or "alias" in str(error).lower():
                    return None
                raise
            return self._version(name, number=str(found.version))

    def find_by_number(self, name: str, *, number: str) -> Version | None:
        """The version of this number, None when there is none."""
        from mlflow.exceptions import MlflowException

        with self._reachable():
            try:
                return self._version(name, number=number)
            except MlflowException as error:
                if error.error_code in (*_ABSENT, "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def create(
        self, name: str, *, encoder: Path, tags: Mapping[str, str], params: Mapping[str, str]
    ) -> Version:
        """Upload an encoder folder and make it the next version."""
        with self._reachable():
            self._ensure_registered_model(name)
            experiment = experiment_id(self._client, self._runtime)
            model = self._client.create_logged_model(
                experiment, name=name, tags=dict(tags), params=dict(params), model_type=_MODEL_TYPE
            )
            with _staged(encoder, ENCODER_FOLDER) as folder:
                self._client.log_model_artifacts(model.model_id, str(folder))
            self._client.finalize_logged_model(model.model_id, "READY")
            source = f"{model.artifact_location}/{ENCODER_FOLDER}"
            version = self._client.create_model_version(
                name,
                source=source,
                # A server asks which model the files belong to; the SQLite store would look for that model at
                # MLflow's global address and not at its own.
                model_id=None if is_local(self.address) else model.model_id,
                tags={**tags, "model_id": model.model_id},
                await_creation_for=0,
            )
            return self._version(name, number=str(version.version))

    def add_evidence(self, version: Version, *, files: Mapping[str, str]) -> None:
        """Keep text files with a version, by name."""
        with tempfile.TemporaryDirectory(prefix="phenoscale-") as scratch, self._reachable():
            folder = Path(scratch) / EVIDENCE_FOLDER
            folder.mkdir()
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")
            self._client.log_model_artifacts(version.tags["model_id"], scratch)
        # The tag is the commit: what it does not name is not read.
        digests = {f"{EVIDENCE_TAG}{name}": digest_bytes(text.encode()) for name, text in files.items()}
        self.set_tags(version, tags=digests)

    def read_evidence(self, version: Version, *, file: str) -> str | None:
        """A text file kept with a version, None when it was not kept."""
        if f"{EVIDENCE_TAG}{file}" not in version.tags:
            return None
        with tempfile.TemporaryDirectory(prefix="phenoscale-") as scratch, self._reachable():
            place = self._place(version, f"{EVIDENCE_FOLDER}/{file}")
            return self._download(place, folder=Path(scratch)).read_text(encoding="utf-8")

    def download_encoder(self, version: Version, *, folder: Path) -> Path:
        """Copy a version's encoder folder below `folder` and return its place."""
        with self._reachable():
            return self._download(self._place(version, ENCODER_FOLDER), folder=folder)

    def set_tags(self, version: Version, *, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._reachable():
            for key, value in tags.items():
                self._client.set_model_version_tag(version.name, version.version, key, value)

    def set_alias(self, version: Version, *, alias: str) -> None:
        """Point an alias at a version."""
        with self._reachable():
            self._client.set_registered_model_alias(version.name, alias, version.version)

    def _version(self, name: str, *, number: str) -> Version:
        found = self._client.get_model_version(name, number)
        return Version(
            name=name,
            version=str(found.version),
            tags=dict(found.tags),
            aliases=tuple(sorted(map(str, found.aliases))),
        )

    def _ensure_registered_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _place(self, version: Version, path: str) -> str:
        model = self._client.get_logged_model(version.tags["model_id"])
        return f"{model.artifact_location}/{path}"

    def _download(self, uri: str, *, folder: Path) -> Path:
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True)
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=self.address))

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """A registry that is away is a reason to retry, not a bug."""
        try:
            yield
        except PhenoscaleError:
            raise
        except Exception as error:
            if is_mlflow_error(error) and not is_final(error):
                raise RetryError(f"the registry at {self.address} is away ({error}); try again") from error
            raise


def is_mlflow_error(error: Exception) -> bool:
    """Whether an error comes from MLflow or from the way to its server."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) or type(error).__module__.startswith("requests")


@contextlib.contextmanager
def _staged(folder: Path, name: str) -> Iterator[Path]:
    """A folder that holds `folder` under a fixed name, as links: MLflow uploads what a folder holds."""
    with tempfile.TemporaryDirectory(prefix="phenoscale-") as scratch:
        target = Path(scratch) / name
        target.mkdir()
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            (target / file.name).symlink_to(file.resolve())
        yield Path(scratch)


def describe(version: Version | None) -> str:
    """The version in a few words, for messages."""
    if version is None:
        return "none"
    return f"version {version.version} (encoder {version.encoder_digest[:12]})"
