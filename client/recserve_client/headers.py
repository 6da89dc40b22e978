"""What goes along with a call beside its message."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from recserve_client.errors import InvalidRequest

REQUEST_ID = "x-request-id"
USER_ID = "x-user-id"
"""Whose request it is: an edge sends those of one user to one server, and counts them."""
_USER_INPUT = "user_id"
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
    # An id may be any text, a header only some.
    return (*headers, (USER_ID, quote(text, safe=" !#$&'()*+,/:;=?@[]")))


def checked_value(name: str, value: str) -> str:
    """The same. Raises InvalidRequest for what is no printable ASCII text."""
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        # Not the value itself: it may be a token.
        raise InvalidRequest(f"{name} is empty, or no printable ASCII text; send it as such")
    return value
