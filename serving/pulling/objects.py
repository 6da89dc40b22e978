"""Objects below a prefix of an object store, by S3's protocol."""

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from serving.pulling import environment

if TYPE_CHECKING:
    from obstore.store import ObjectStore

INSTALL = "pip install 'obstore>=0.12'"
_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/\S*)?")
_CHUNK_BYTES = 2**20
_PATIENCE = timedelta(seconds=60)
_ERROR_CHARACTERS = 400
_PANIC = "PanicException"
"""What the package raises where it did not expect a failure; no Exception, and of no module that can be imported."""


class Objects:
    """What lies below one prefix; keys are relative to it."""

    def __init__(self, store: "ObjectStore", url: str) -> None:
        """`url` names it in messages."""
        self._store = store
        self.url = url

    @classmethod
    def at(cls, url: str) -> Self:
        """Endpoint, region and credentials are those of the environment: AWS_ENDPOINT_URL, AWS_REGION,
        AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the identity of the machine or pod.

        Raises ValueError for a URL of another kind, for a variable that cannot be right, and where the package is
        missing that speaks the protocol.
        """
        if not _URL.fullmatch(url):
            raise ValueError(f"'{url}' is no place in an object store; write s3://bucket/prefix")
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise ValueError(f"an object store needs the package obstore: {INSTALL}") from error
        environment.check()
        with _told(url):
            store = from_url(
                url.rstrip("/"),
                client_options={"allow_http": environment.is_plain(), "timeout": "5m", "connect_timeout": "5s"},
                retry_config={"max_retries": 5, "retry_timeout": _PATIENCE},
            )
        return cls(store, url.rstrip("/"))

    def sizes(self) -> dict[str, int]:
        """Bytes of each object, by key.

        Raises OSError where the store does not answer, or refuses.
        """
        import obstore

        with _told(self.url):
            return {one["path"]: one["size"] for page in obstore.list(self._store) for one in page}

    def read(self, key: str) -> bytes:
        """A small object, whole. Raises OSError."""
        return b"".join(self.chunks(key, 0))

    def chunks(self, key: str, start: int) -> Iterator[bytes]:
        """The bytes of an object from `start` on, a mebibyte or so at a time. Raises OSError, also on the way."""
        import obstore

        with _told(f"{self.url}/{key}"):
            found = obstore.get(self._store, key, options={"range": {"offset": start}} if start else {})
            for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)


class _told:  # noqa: N801 a context manager that is used as a word
    """Turns what the package raises into an OSError of one line, without credentials."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, BaseError | ValueError) or type(error).__name__ == _PANIC:
            reason = _line(error)
            bucket = self._what.removeprefix("s3://").partition("/")[0]
            # Without the cause: its text is the package's own, of which nobody here knows what it holds.
            raise OSError(f"{self._what}: {environment.remedy(bucket, reason)} ({reason})") from None


def _line(error: BaseException | None) -> str:
    text = " ".join(str(error).partition("Debug source")[0].split())
    for name in environment.CREDENTIALS:
        if secret := os.environ.get(name):
            text = text.replace(secret, f"${name}")
    return f"{type(error).__name__.removesuffix('Error')}: {text[:_ERROR_CHARACTERS]}"
