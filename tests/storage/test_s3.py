"""What is special about S3: addresses, refusals, and a store that is away."""

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from phenoscale.errors import RetryError, UserError
from phenoscale.storage import digest_file, digest_listing, open_storage, read_uri
from tests.support.s3 import CREDENTIALS


def test_an_object_is_read_by_its_address(s3_uri):
    open_storage(s3_uri).write_bytes("a/b.tif", b"pixels")
    assert read_uri(f"{s3_uri}/a/b.tif") == b"pixels"


def test_prefixes_of_one_bucket_do_not_see_each_other(s3_uri):
    open_storage(f"{s3_uri}/one").write_bytes("a", b"1")
    open_storage(f"{s3_uri}/one_more").write_bytes("a", b"2")
    assert [info.key for info in open_storage(f"{s3_uri}/one").list()] == ["a"]
    assert open_storage(f"{s3_uri}/one/").read_bytes("a") == b"1"


def test_the_address_of_a_store_ends_without_slash(s3_uri):
    assert open_storage(s3_uri + "/").uri == s3_uri


def test_a_missing_bucket_is_an_error_of_the_user(s3_uri):
    with pytest.raises(UserError, match=r"s3://nowhere-at-all/a does not exist \(NoSuchBucket\)"):
        open_storage("s3://nowhere-at-all").read_bytes("a")
    with pytest.raises(UserError, match="NoSuchBucket"):
        list(open_storage("s3://nowhere-at-all").list())


@pytest.mark.parametrize("uri", ["s3://", "s3:///key"])
def test_an_address_without_bucket_is_refused(s3_uri, uri):
    with pytest.raises(UserError, match="names no bucket"):
        open_storage(uri)


def test_a_bucket_name_that_cannot_be_is_refused(s3_uri):
    with pytest.raises(UserError, match="is no S3 address"):
        open_storage("s3://no spaces/x").read_bytes("a")


def test_the_digest_of_a_prefix_changes_with_its_objects_and_not_with_its_name(s3_uri):
    for name in ("one", "two"):
        open_storage(f"{s3_uri}/{name}").write_bytes("a/b", b"1")
    assert digest_listing(f"{s3_uri}/one") == digest_listing(f"{s3_uri}/two")
    before = digest_listing(f"{s3_uri}/one")
    open_storage(f"{s3_uri}/one").write_bytes("a/b", b"2")
    assert digest_listing(f"{s3_uri}/one") != before
    open_storage(f"{s3_uri}/two").write_bytes("a/c", b"1")
    assert digest_listing(f"{s3_uri}/two") != before


def test_a_single_object_has_a_digest_and_nothing_has_none(s3_uri):
    open_storage(s3_uri).write_bytes("table.csv", b"1")
    open_storage(s3_uri).write_bytes("table.csv.old", b"2")
    before = digest_listing(f"{s3_uri}/table.csv")
    open_storage(s3_uri).write_bytes("table.csv.old", b"3")
    assert digest_listing(f"{s3_uri}/table.csv") == before
    with pytest.raises(UserError, match="holds no object"):
        digest_listing(f"{s3_uri}/nothing")


def test_a_store_that_does_not_answer_means_retry(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
    for name, value in {**CREDENTIALS, "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RetryError, match="does not answer"):
        open_storage("s3://screens/x").read_bytes("a")


@pytest.fixture
def answering(monkeypatch):
    """A server that answers every request with one status and S3 error code, both chosen by the test."""
    answer = {"status": 500, "code": "InternalError"}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(answer["status"])
            self.end_headers()

        def do_GET(self):
            body = f"<Error><Code>{answer['code']}</Code><Message>no</Message></Error>".encode()
            self.send_response(answer["status"])
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name, value in {**CREDENTIALS, "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        yield answer
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "AccessDenied", UserError, "access denied .* check AWS_PROFILE"),
        (403, "SignatureDoesNotMatch", UserError, "access denied"),
        (400, "ExpiredToken", RetryError, "the login has expired .*; log in again, then repeat"),
        (503, "SlowDown", RetryError, "away or busy"),
        (500, "InternalError", RetryError, "away or busy"),
        (400, "InvalidRequest", UserError, "the store refused"),
    ],
)
def test_a_refusal_of_the_store_is_the_users_and_its_trouble_means_retry(
    answering, *, status, code, kind, words
):
    answering.update(status=status, code=code)
    with pytest.raises(kind, match=words):
        open_storage("s3://screens/x").read_bytes("a")


def test_a_login_that_expired_means_retry_also_where_the_answer_has_no_body(answering):
    answering.update(status=400, code="ExpiredToken")
    with pytest.raises(RetryError, match="the login has expired"):
        open_storage("s3://screens/x").info("a")


@pytest.mark.parametrize("size", [1000, pytest.param((64 << 20) + 1, marks=pytest.mark.acceptance)])
def test_an_upload_is_checksummed_by_the_store_in_one_part_or_many(s3_uri, tmp_path, size):
    file = tmp_path / "large"
    with file.open("wb") as written:
        written.truncate(size)
    put = open_storage(s3_uri).put_file("plates/a", file, sha256=digest_file(file))
    bucket, _, key = s3_uri.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    head = client.head_object(Bucket=bucket, Key=f"{key}/plates/a", ChecksumMode="ENABLED")
    assert put.size == head["ContentLength"] == size
    assert head["ChecksumSHA256"]
    open_storage(s3_uri).get_file("plates/a", tmp_path / "back")
    assert digest_file(tmp_path / "back") == digest_file(file)


def test_missing_credentials_are_an_error_of_the_user(monkeypatch, s3_endpoint):
    program = (
        "from phenoscale.errors import UserError\n"
        "from phenoscale.storage import open_storage\n"
        "try: open_storage('s3://screens/x').read_bytes('a')\n"
        "except UserError as error: print(error)\n"
    )
    environment = {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": "/nonexistent",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert "no S3 credentials" in done.stdout, done.stderr


def test_boto3_is_loaded_for_s3_only():
    program = (
        "import sys, phenoscale.storage as storage\n"
        "storage.open_storage('somewhere').exists('a')\n"
        "assert not {'boto3', 'botocore'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
