"""A bucket of a server of its own for each test."""

import uuid
from collections.abc import Iterator

import pytest
from pyarrow.fs import S3FileSystem
from s3_server import KEY, SECRET, Server

from pipeline.places import Stored


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's, and nothing of the user's."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.fixture
def server(credentials: None) -> Iterator[Server]:
    """An S3 server on loopback."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(server: Server) -> str:
    """The name of a new bucket of `server`."""
    name = f"bucket-{uuid.uuid4().hex}"
    endpoint = f"127.0.0.1:{server.port}"
    filesystem = S3FileSystem(
        endpoint_override=endpoint, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    filesystem.create_dir(name)
    return name


@pytest.fixture
def stored(server: Server, bucket: str) -> Stored:
    """A place in the bucket for an output folder."""
    return Stored(f"s3://{bucket}/sweeps/one", server.query)
