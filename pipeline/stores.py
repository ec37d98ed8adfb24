"""Object stores and other file systems that a URI can name, opened with pyarrow.

Credentials come from where the store's own tools look for them (AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, profiles, the role of a machine; GOOGLE_APPLICATION_CREDENTIALS), never from
a URI, which ends in reports and logs.
"""

import os
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_S3_QUERY = ("endpoint_override", "scheme", "region")
_GS_QUERY = ("endpoint_override", "scheme")
_SECRET = ("key", "secret", "token", "password", "credential", "signature", "sas")
_PATIENT, _HASTY = 8, 2  # attempts of a request: up to a minute, about a second
_CONNECT_SECONDS = 5.0
_LONGEST = 300  # characters of what a store says
_SILENCE_SECONDS = {False: 30.0, True: 15.0}  # of an attempt, hasty or not

opened: set[str] = set()  # roots of the stores that this process has opened


class StoreError(OSError, ValueError):
    """What an object store did not do: trouble of a disk to whom that concerns, and to a user one
    line that says what to mend."""


def refuse_secrets(uri: str) -> None:
    """Raises ValueError, without repeating it, if `uri` holds credentials."""
    parts = urlsplit(uri)
    named = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    user = parts.scheme in ("s3", "gs", "gcs") and parts.username is not None
    odd = [name for name in named if any(word in name.lower() for word in _SECRET)]
    if user or parts.password is not None or odd:
        raise ValueError(
            f"the {parts.scheme}:// URI holds credentials, which process lists and logs would "
            "show; leave them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what "
            "the store's own tools read"
        )


def root_of(uri: str) -> str:
    """Scheme and bucket (host, container) of a URI."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def open_store(root: str, query: str, *, hasty: bool) -> tuple[Any, str]:
    """The filesystem of `root` ("s3://bucket") and the name of the root within it.

    Raises ValueError for a scheme or an option that nobody knows.
    """
    opened.add(root)
    scheme, _, netloc = root.partition("://")
    if scheme == "s3":
        return _s3(root, _options(root, query, _S3_QUERY), hasty=hasty), netloc
    if scheme in ("gs", "gcs"):
        return _gs(_options(root, query, _GS_QUERY), hasty=hasty), netloc
    return _any(root, query)


def _s3(root: str, options: dict[str, str], *, hasty: bool) -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    # pyarrow's client does not look at these, which AWS's own tools read
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    scheme, _, host = endpoint.rpartition("://")
    if "endpoint_override" in options:
        scheme, host = options.get("scheme", "https"), options["endpoint_override"]
    if scheme not in ("", "http", "https"):
        raise ValueError(f"{root}: scheme {scheme!r} is neither http nor https")
    return S3FileSystem(
        scheme=scheme or options.get("scheme") or "https",
        endpoint_override=host.rstrip("/") or None,
        region=options.get("region"),
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_SILENCE_SECONDS[hasty],
        allow_delayed_open=True,  # one PUT for an object of up to 10 MB
        background_writes=True,  # without it a failed part leaves an object of those before it
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_HASTY if hasty else _PATIENT),
    )


def _gs(options: dict[str, str], *, hasty: bool) -> Any:
    from pyarrow.fs import GcsFileSystem

    return GcsFileSystem(
        scheme=options.get("scheme", "https"),
        endpoint_override=options.get("endpoint_override"),
        retry_time_limit=timedelta(seconds=2 if hasty else 60),  # pyarrow's own: 15 minutes
    )


def _any(root: str, query: str) -> tuple[Any, str]:
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        filesystem, path = FileSystem.from_uri(f"{root}/?{query}" if query else f"{root}/")
        return filesystem, path.rstrip("/")
    except (ArrowException, OSError, NotImplementedError) as error:
        known = _fsspec(root) if "nrecognized filesystem type" in str(error) else None
        if known is None or query:
            raise ValueError(
                f"{root}: {brief(error)}; known: a path, s3://, gs://, abfs://, hdfs://, and what "
                "fsspec knows where it is installed"
            ) from None
        return known


def _fsspec(root: str) -> tuple[Any, str] | None:
    try:
        import fsspec
    except ImportError:
        return None
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    try:
        filesystem, path = fsspec.core.url_to_fs(f"{root}/")
    except (ImportError, ValueError):  # unknown, or its package is missing
        return None
    return PyFileSystem(FSSpecHandler(filesystem)), path.rstrip("/")


def _options(root: str, query: str, known: tuple[str, ...]) -> dict[str, str]:
    found = dict(parse_qsl(query, keep_blank_values=True))
    if odd := sorted(set(found) - set(known)):
        raise ValueError(f"{root}: unknown option {odd[0]!r}; known: {', '.join(known)}")
    return found


def brief(error: BaseException) -> str:
    """What a store said, in one line, with what to do where that is plain."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else repr(error)
    told = line.partition("AWS Error ")[2] or line
    told = told.partition(" (Request ID")[0].rstrip(".")
    if "NETWORK_CONNECTION" in told or "curlCode" in told:
        return f"it does not answer ({told.rpartition('Details: ')[2]}); is the endpoint right?"
    if "ACCESS_DENIED" in told or "HTTP status 403" in told or "INVALID_ACCESS_KEY" in told:
        return (
            f"access is denied ({told}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or "
            "AWS_PROFILE on every machine, or give the machines a role"
        )
    if "OAuth2 access token" in told:
        return "no Google credentials are found; set GOOGLE_APPLICATION_CREDENTIALS everywhere"
    if "HTTP status 301" in told:
        return f"the bucket is in another region ({told}); set AWS_REGION, or add ?region=REGION"
    return told[:_LONGEST]
