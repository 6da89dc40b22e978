"""What goes along with a call beside its message."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from recserve_client.errors import InvalidRequest

REQUEST_ID = "x-request-id"
USER_ID = "x-user-id"
"""Whose request it is: an edge sends those of one user to one server, and counts them."""
_USER_INPUT = "user_id"
_LONGEST_USER = 1024
_MOST_BYTES = 6 * 1024
"""Of all headers of a call, as gRPC counts them; its servers take 8 KiB with what gRPC itself and `USER_ID` add."""
_OVERHEAD = 32
"""Bytes that count for each header beside its name and its value."""
_SECRET = re.compile(r"auth|cookie|key|token|secret")
"""In names of headers by whose values one is let in."""
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]+")


def checked(headers: Mapping[str, str]) -> dict[str, str]:
    """By lower-case names. Raises InvalidRequest, naming the header, for one that gRPC would not send."""
    found = {}
    for name, value in headers.items():
        lower = str(name).lower()
        if not _NAME.fullmatch(lower) or lower.startswith("grpc-") or lower.endswith("-bin"):
            raise InvalidRequest(f"header {name!r}: a name has letters, digits and -_. and is none of gRPC's own")
        if lower == REQUEST_ID:
            raise InvalidRequest(f"header {REQUEST_ID}: say request_id= instead, so that the server's log has it too")
        found[lower] = checked_value(f"header {lower}", value)
    return found


def with_user(headers: Sequence[tuple[str, str]], inputs: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The headers of one inference: with its user, where it is of a single one and the caller did not say."""
    if _USER_INPUT not in inputs or any(name == USER_ID for name, _ in headers):
        return headers
    users = {*np.asarray(inputs[_USER_INPUT]).ravel().tolist()}
    if len(users) != 1:
        return headers
    (user,) = users
    text = user.decode(errors="replace") if isinstance(user, bytes) else str(user)
    return (*headers, (USER_ID, _sendable(text)))


def bounded(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """All headers of a call. Raises InvalidRequest where they are more than servers take, who close the connection."""
    sizes = {name: len(name) + len(value) + _OVERHEAD for name, value in headers.items()}
    if sum(sizes.values()) > _MOST_BYTES:
        longest = max(sizes, key=sizes.__getitem__)
        raise InvalidRequest(
            f"headers have {sum(sizes.values())} bytes, {longest} the most of them; send {_MOST_BYTES} or fewer in all"
        )
    return tuple(headers.items())


def read(path: str | os.PathLike[str]) -> dict[str, str]:
    """Headers of a file that has one a line, as name: value, beside empty lines and those that begin with #.

    Raises ValueError, naming file and line and never a value, for what is no header, for one that is there twice, and
    where others may read the file of one that lets its owner in, such as authorization.
    """
    found: dict[str, str] = {}
    for number, line in _lines(Path(path)):
        name, colon, value = line.partition(":")
        where = f"{os.fspath(path)}, line {number}"
        if not colon:
            raise ValueError(f"{where}: write name: value, such as x-release: canary")
        try:
            ((lower, value),) = checked({name.strip(): value.strip()}).items()
        except InvalidRequest as error:
            raise ValueError(f"{where}: {error}") from None
        if lower in found:
            raise ValueError(f"{where}: header {lower} is there twice; leave one of them")
        found[lower] = value
    secret = next(filter(_SECRET.search, found), None)
    if secret and Path(path).stat().st_mode & 0o007:
        raise ValueError(f"{os.fspath(path)} holds the header {secret} and can be read by others; chmod 600 it")
    return found


def _lines(path: Path) -> list[tuple[int, str]]:
    """Number and text of each line that says something."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"{path} cannot be read: {reason}; name a file with name: value in each line") from error
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line.lstrip()[0] != "#"]


def _sendable(user: str) -> str:
    """An id may be any text, a header only some: of a long one its SHA-256, which leads to one server just as well."""
    quoted = quote(user, safe=" !#$&'()*+,/:;=?@[]")
    return quoted if len(quoted) <= _LONGEST_USER else f"sha256:{hashlib.sha256(user.encode()).hexdigest()}"


def checked_value(name: str, value: str) -> str:
    """The same. Raises InvalidRequest for what is no printable ASCII text."""
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        # Not the value itself: it may be a token.
        raise InvalidRequest(f"{name} is empty, or no printable ASCII text; send it as such")
    return value
