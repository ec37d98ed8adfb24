"""What cannot be reached or used is refused in one line, fast, and without a secret in it."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from s3_server import KEY, SECRET, Server

from pipeline.places import place_of, reached

pytestmark = pytest.mark.services


def fcdd(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


def refused(uri: str, told: str, *, command: tuple[str, ...] = ("status",)) -> None:
    """`fcdd` says `told` in one line, nothing else, and soon."""
    started = time.monotonic()
    done = fcdd(*command, uri)
    assert time.monotonic() - started < 60
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert re.search(told, done.stderr), done.stderr
    assert SECRET not in done.stderr


RUN = ("run", "quickstart", "--device", "cpu", "--out")


@pytest.mark.parametrize("command", [("status",), ("compact",), RUN])
def test_unknown_scheme(command: tuple[str, ...]) -> None:
    told = "error: floppy://a: .*known: a path, s3://, gs://, abfs://, hdfs://, and what fsspec"
    refused("floppy://a/b", told, command=command)


@pytest.mark.parametrize("command", [("status",), RUN])
def test_no_such_bucket(server: Server, command: tuple[str, ...]) -> None:
    uri = f"s3://no-such-bucket/a?{server.query}"
    told = f"error: {re.escape(uri)}: no such bucket, or none that these credentials may see"
    refused(uri, told, command=command)


@pytest.mark.parametrize("command", [("status",), RUN])
def test_no_credentials(
    server: Server, bucket: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refused(
        f"s3://{bucket}/a?{server.query}",
        "access is denied .*; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE",
        command=command,
    )


def test_wrong_credentials(server: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAANOTHER")
    refused(f"s3://{bucket}/a?{server.query}", "access is denied ")


@pytest.mark.parametrize("command", [("status",), RUN])
def test_nobody_listens(server: Server, bucket: str, command: tuple[str, ...]) -> None:
    server.stop()
    refused(
        f"s3://{bucket}/a?{server.query}",
        "it does not answer .*Could not connect to server.*is the endpoint right",
        command=command,
    )
    server.start()


def test_server_that_takes_connections_and_says_nothing(server: Server, bucket: str) -> None:
    server.delay("", times=1000, seconds=40)
    started = time.monotonic()
    with pytest.raises(ValueError, match="does not answer within 20 s"):
        reached(f"s3://{bucket}/a?{server.query}")
    assert time.monotonic() - started < 40


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://{KEY}:{SECRET}@bucket/a",
        f"s3://{KEY}@bucket/a",
        f"s3://bucket/a?access_key={KEY}&secret_key={SECRET}",
        f"gs://bucket/a?access_token={SECRET}",
        f"sftp://me:{SECRET}@host/a",
        f"abfs://box@account/a?sas_token={SECRET}",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ValueError, match="URI holds credentials.*leave them out and set") as told:
        place_of(uri)
    assert SECRET not in str(told.value)
    assert KEY not in str(told.value)


def test_credentials_in_a_uri_do_not_reach_a_job_either() -> None:
    command = (*RUN, f"s3://{KEY}:{SECRET}@bucket/a", "--address", "http://127.0.0.1:9")
    done = fcdd(*command)
    assert done.returncode == 2
    assert "URI holds credentials" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3:/bucket/a", "two slashes have to follow its colon"),
        ("s3:bucket", "two slashes have to follow its colon"),
        ("s3:///a", "write it as s3://BUCKET/FOLDER"),
        ("s3://bucket/a#b", "write it as s3://BUCKET/FOLDER"),
        ("s3://bucket/a?colour=red", "unknown option 'colour'; known: endpoint_override, scheme"),
        ("s3://bucket/a?endpoint_override=h&scheme=ftp", "'ftp' is neither http nor https"),
    ],
)
def test_what_is_no_place_is_named_with_its_rule(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        reached(text)


def test_no_google_credentials() -> None:
    refused(
        "gs://bucket/a?endpoint_override=127.0.0.1:9&scheme=http",
        "gs://bucket/a.*: no Google credentials are found; set GOOGLE_APPLICATION_CREDENTIALS",
    )


def test_report_is_not_written_into_a_store(server: Server, bucket: str, tmp_path: Path) -> None:
    uri = f"s3://{bucket}/report?{server.query}"
    done = fcdd("report", str(tmp_path), "--out", uri)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --out {uri} is in an object store; a report is a folder of this machine, which "
        "the store's own tool copies\n"
    )
    assert fcdd("verify", uri).returncode == 2
