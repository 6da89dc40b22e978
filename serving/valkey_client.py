"""Clients of a Valkey server: for one URL, with one time limit, and without a password in what they say.

Nothing is tried twice: who asks on behalf of a request has no time for that, and says what is to be done instead.
"""

import os
import re
from typing import Any
from urllib.parse import urlsplit

import valkey
from valkey.backoff import NoBackoff
from valkey.exceptions import OutOfMemoryError, ValkeyError
from valkey.retry import Retry

PASSWORD = "RECSERVE_VALKEY_PASSWORD"  # noqa: S105 - the variable's name
"""Environment variable with the password where a URL has none: other users of a machine can read command lines."""
READ_TIMEOUT_S = 0.1
"""Of connecting, and of each answer to who serves a request: it has no time for a store that hangs."""
_FORM = (
    "the URL of a Valkey is valkey://[user:password@]host:port/database; a password's own / : @ # ? % are written "
    "%2F %3A %40 %23 %3F %25"
)
_LONGEST = 200
"""Characters of an error that are told."""


def client(url: str, timeout_s: float) -> Any:
    """`url` is valkey://[user:password@]host:port/database, or valkeys:// for TLS; connects when it is first asked.

    Raises ValueError for a URL that is none.
    """
    try:
        made = valkey.Valkey.from_url(
            url,
            password=os.environ.get(PASSWORD),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        # What no connection can be made with is found here, and not by the first who asks.
        made.connection_pool.connection_class(**made.connection_pool.connection_kwargs)
        return made
    except (ValueError, TypeError) as error:  # whose text may be a part of the password
        raise ValueError(f"{_unknown(url, error)}{_FORM}") from None


def check_url(url: str) -> None:
    """Raises ValueError for a URL that is none; asks nobody."""
    client(url, READ_TIMEOUT_S).close()


def _unknown(url: str, error: Exception) -> str:
    """The parameter that there is not, where it can be no part of a password."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return f"there is no parameter '{found[1]}'; " if found and "@" not in urlsplit(url).query else ""


def answers(pipeline: Any) -> list[Any]:
    """What the server says to each command, its errors among it: those that a pipeline raises hold the values that were
    written. Raises ValkeyError where the server does not answer."""
    return pipeline.execute(raise_on_error=False) if len(pipeline) else []


def told(error: ValkeyError) -> str:
    """What failed, in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:_LONGEST]}"


def is_full(error: ValkeyError) -> bool:
    """Whether the server has no memory for what it was told."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("OOM")


def escaped(start: bytes) -> bytes:
    """What MATCH takes for these very bytes."""
    return b"".join(b"\\" + bytes([one]) if one in b"*?[]\\" else bytes([one]) for one in start)
