"""Keeping passwords out of command lines, which process lists, job logs and error texts show."""

from urllib.parse import urlsplit


def refuse_password(uri: str | None, *, option: str) -> None:
    """Raises ValueError, without repeating it, if `uri` holds a password."""
    if uri and "://" in uri and urlsplit(uri).password is not None:
        raise ValueError(
            f"{option} holds a password, which process lists and logs would show; leave it out and "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a server), or PGPASSWORD "
            "(a PostgreSQL store)"
        )
