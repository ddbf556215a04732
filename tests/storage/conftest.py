"""The S3 server of the storage tests."""

from collections.abc import Iterator

import pytest

from tests.support.s3 import BUCKET, CREDENTIALS, s3_server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a running S3 server with one bucket."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_uri(s3_endpoint: str, *, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """An empty prefix of the bucket, of this test alone."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name.partition('[')[0]}"
