"""The file that holds the key of a server's administrative APIs."""

import os
import re
import secrets
from pathlib import Path

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")


def read_or_make(path: Path) -> str:
    """The key in the file; a new one is written where there is no file, which then only its owner can read.

    Raises:
        ValueError: the file can neither be read nor made, holds no key, or can be read by others.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ValueError(f"--admin-key-file {path} cannot be made: {error.strerror}; name another file") from error
    key = secrets.token_hex(16)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key


def _read(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"--admin-key-file {path} is no file; name another one")
    if path.stat().st_mode & 0o077:
        raise ValueError(f"--admin-key-file {path} can be read by others; chmod 600 it")
    key = path.read_bytes().decode(errors="replace").strip()
    if not _KEY.fullmatch(key):
        raise ValueError(f"--admin-key-file {path} holds no key: 16 to 128 letters, digits, '_' and '-' on one line")
    return key
