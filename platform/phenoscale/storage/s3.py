"""S3, or a server that speaks it, as a store of bytes; the only module that imports boto3."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Self

from phenoscale.errors import RetryError, UserError
from phenoscale.files import written_whole
from phenoscale.storage.interface import ObjectInfo, check_key

_MISSING: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_DENIED: Final = frozenset(
    {
        "401",
        "403",
        "AccessDenied",
        "AllAccessDisabled",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)
# "400" is all that an answer without a body says, and a login that has expired is what it mostly means
_EXPIRED: Final = frozenset(
    {"400", "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
_TAKEN: Final = frozenset({"409", "412", "ConditionalRequestConflict", "PreconditionFailed"})
_ONE_PART_BYTES: Final = 64 << 20
_FEW: Final = 4
_PAGE: Final = 1000
_SUMS: Final = {"ChecksumAlgorithm": "SHA256"}
_PAST_THE_END: Final = frozenset({"416", "InvalidRange"})
_WAY_OUT_DENIED: Final = "check AWS_PROFILE or AWS_ACCESS_KEY_ID, and that the account may use this bucket"


class S3Storage:
    """A bucket's prefix whose objects are the keys below it."""

    def __init__(self, client: Any, *, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    @classmethod
    def open(cls, uri: str) -> S3Storage:
        """Open `s3://bucket/prefix`; endpoint, credentials and region come from the environment."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not bucket:
            raise UserError(f"{uri!r} names no bucket; write s3://bucket/prefix")
        return cls(_client(os.environ.get("AWS_ENDPOINT_URL", "")), bucket=bucket, prefix=prefix.strip("/"))

    @property
    def uri(self) -> str:
        """The address that the keys are relative to."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def at(self, prefix: str) -> Self:
        """Return the store of the objects below `prefix/`."""
        below = self._object(prefix)["Key"]
        return type(self)(self._client, bucket=self._bucket, prefix=below)

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes; a missing one is a UserError."""
        with self._explained(key):
            return bytes(self._client.get_object(**self._object(key))["Body"].read())

    def read_range(self, key: str, *, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`; past the end there are none."""
        if length <= 0:
            return b""
        span = f"bytes={start}-{start + length - 1}"
        with self._explained(key):
            try:
                return bytes(self._client.get_object(**self._object(key), Range=span)["Body"].read())
            except _client_error() as error:
                if _code(error) in _PAST_THE_END:
                    return b""
                raise

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write an object whole or not at all, replacing what was there."""
        with self._explained(key):
            self._client.put_object(**self._object(key), Body=data)

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none; of several writers exactly one gets True."""
        with self._explained(key):
            try:
                self._client.put_object(**self._object(key), Body=data, IfNoneMatch="*")
            except _client_error() as error:
                if _code(error) in _TAKEN:
                    return False
                raise
            return True

    def exists(self, key: str) -> bool:
        """Say whether there is an object under the key."""
        return self._head(key) is not None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose key starts with the prefix, sorted by key."""
        base = f"{self._prefix}/" if self._prefix else ""
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=base + prefix
            )
            for page in pages:
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(base)
                    yield ObjectInfo(key=key, size=entry["Size"], etag=entry["ETag"].strip('"'))

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Return the names directly below a folder that are folders themselves, sorted; "" is the whole."""
        start = "/".join(part for part in (self._prefix, prefix) if part)
        start = f"{start}/" if start else ""
        with self._explained(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=start, Delimiter="/"
            )
            found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        return sorted(name.removeprefix(start).rstrip("/") for name in found)

    def info(self, key: str) -> ObjectInfo | None:
        """Return an object's size and etag, None when there is none."""
        found = self._head(key)
        return None if found is None else _info(key, found)

    def find(self, keys: Collection[str]) -> dict[str, ObjectInfo]:
        """Return size and etag of those of the objects that there are, in as few requests as it takes."""
        if len(keys) <= _FEW:
            return {key: info for key in keys if (info := self.info(key)) is not None}
        start = os.path.commonpath(list(keys))
        return {info.key: info for info in self.list(start) if info.key in keys}

    def age_seconds(self, key: str) -> float | None:
        """Return how long ago an object was written, None when there is none; the server says both times."""
        found = self._head(key)
        if found is None:
            return None
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return float((now - found["LastModified"]).total_seconds())

    def put_file(self, key: str, path: Path, *, sha256: str) -> ObjectInfo:
        """Make a local file the object; it appears whole or not at all, and with the bytes of this digest."""
        with self._explained(key):
            size = path.stat().st_size
            if size > _ONE_PART_BYTES:
                # each part is checksummed on arrival
                self._client.upload_file(str(path), **self._object(key), ExtraArgs=_SUMS)
            else:
                checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
                with path.open("rb") as file:
                    self._client.put_object(**self._object(key), Body=file, ChecksumSHA256=checksum, **_SUMS)
            found = self._head(key)
        if found is None or found["ContentLength"] != size:
            raise RetryError(f"{self.uri}/{key}: the upload of {size} bytes did not arrive; repeat later")
        return _info(key, found)

    def get_file(self, key: str, path: Path) -> None:
        """Make the object a local file; it appears whole or not at all."""
        with self._explained(key), written_whole(path) as temporary:
            self._client.download_file(**self._object(key), Filename=str(temporary))

    def delete(self, key: str) -> None:
        """Remove an object; removing a missing one is no error."""
        with self._explained(key):
            self._client.delete_object(**self._object(key))

    def delete_below(self, prefix: str) -> None:
        """Remove all objects below `prefix/`."""
        keys = [self._object(info.key)["Key"] for info in self.list(prefix + "/")]
        for start in range(0, len(keys), _PAGE):
            objects = [{"Key": key} for key in keys[start : start + _PAGE]]
            with self._explained(prefix):
                self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})

    def _head(self, key: str) -> dict[str, Any] | None:
        with self._explained(key):
            try:
                return dict(self._client.head_object(**self._object(key)))
            except _client_error() as error:
                if _code(error) in _MISSING:
                    return None
                raise

    def _object(self, key: str) -> dict[str, str]:
        check_key(key)
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{key}" if self._prefix else key}

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        import botocore.exceptions as exceptions

        address = f"{self.uri}/{key}"
        try:
            yield
        except exceptions.ClientError as error:
            code = _code(error)
            if code in _MISSING:
                raise UserError(f"{address} does not exist ({code}); check bucket and key") from error
            if code in _DENIED:
                raise UserError(f"{address}: access denied ({code}); {_WAY_OUT_DENIED}") from error
            if code in _EXPIRED:
                raise RetryError(
                    f"{address}: the login has expired ({code}); log in again, then repeat"
                ) from error
            if _is_passing(error):
                raise RetryError(f"{address}: the store is away or busy ({code}); repeat later") from error
            raise UserError(
                f"{address}: the store refused ({error}); correct the address or request"
            ) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise UserError(f"{address}: no S3 credentials ({error}); {_WAY_OUT_DENIED}") from error
        except (
            exceptions.CredentialRetrievalError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ) as error:
            raise RetryError(
                f"{address}: the login has expired ({error}); log in again, then repeat"
            ) from error
        except (exceptions.HTTPClientError, exceptions.ConnectionError, ConnectionError) as error:
            raise RetryError(f"{address}: the store does not answer ({error}); repeat later") from error
        except exceptions.ParamValidationError as error:
            raise UserError(f"{address} is no S3 address ({error}); write s3://bucket/prefix") from error


@functools.cache
def _client(endpoint: str) -> Any:
    import boto3
    import botocore.config

    # path-style addresses work with every S3 server; sums only where a server asks: not all of them know them
    settings = botocore.config.Config(
        retries={"mode": "standard"},
        connect_timeout=10,
        s3={"addressing_style": "path"} if endpoint else {},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.client("s3", endpoint_url=endpoint or None, config=settings, region_name=region)


def _client_error() -> type[Exception]:
    import botocore.exceptions

    return botocore.exceptions.ClientError  # type: ignore[no-any-return]


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _info(key: str, head: Mapping[str, Any]) -> ObjectInfo:
    return ObjectInfo(key=key, size=int(head["ContentLength"]), etag=str(head["ETag"]).strip('"'))


def _is_passing(error: Any) -> bool:
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status >= 500 or status == 429 or _code(error) in ("SlowDown", "RequestTimeout", "Throttling")
