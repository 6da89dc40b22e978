"""Names for users in the log of requests: keyed hashes, so that who has the log without the key knows nobody.

HMAC-SHA256 (RFC 2104) with a key of the log's own. Who has the key can tell whether a user that he names is in the
log; so it stays on the server, and a copy of the log goes without it.
"""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from serving.histories.examples import example_of

KEY_FILE = "users.key"
USER_ID = "user_id"
"""The input that names a user."""
_BYTES = 32


def make_key(folder: Path) -> None:
    """Makes the key of a log where there is none; only its owner may read it."""
    with suppress(FileExistsError):
        descriptor = os.open(folder / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_BYTES))


def key_of(folder: Path) -> bytes | None:
    """The key of a log; None where it has none. Raises ValueError for a file that holds none."""
    path = folder / KEY_FILE
    if not path.is_file():
        return None
    try:
        key = bytes.fromhex(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no key of a log ({error}); copy it anew, or remove it") from error
    if len(key) != _BYTES:
        raise ValueError(f"{path} holds {len(key)} bytes, not the {_BYTES} of a key; copy it anew, or remove it")
    return key


def hashed(key: bytes, user_id: np.ndarray) -> np.ndarray:
    """Other ids of the same kind, int64 or text."""
    given: list[Any] = user_id.reshape(-1).tolist()
    return np.array([_hashed(key, one) for one in given], user_id.dtype).reshape(user_id.shape)


def is_of_example(user_id: np.ndarray | None) -> bool:
    """Whether a request is of a user of golden requests, who is nobody."""
    given: list[Any] = [] if user_id is None else user_id.reshape(-1).tolist()
    return any(example_of(_text(one)) is not None for one in given)


def _text(raw: int | str | bytes) -> int | str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw


def _hashed(key: bytes, raw: int | str | bytes) -> int | str:
    text = _text(raw)
    digest = hmac.digest(key, f"{type(text).__name__} {text}".encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 2 if isinstance(text, int) else digest[:16].hex()
