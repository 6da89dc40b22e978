"""Certificates for tests, by the lines of docs/operations.md for a trial, and damaged ones."""

import shlex
import subprocess
from datetime import datetime
from pathlib import Path

import trustme

from tests.pages import blocks

PAGE = "docs/operations.md"


def by_the_book(folder: Path) -> Path:
    """The folder `certificates` that the page's own lines make."""
    (block,) = (block for block in blocks(PAGE) if "openssl req" in block.text)
    lines = [line for line in block.text.splitlines() if line.startswith(("mkdir ", "openssl "))]
    assert len(lines) == 4
    for line in lines:
        subprocess.run(shlex.split(line), cwd=folder, check=True, capture_output=True)
    return folder / "certificates"


def issued(
    folder: Path,
    *names: str,
    authority: trustme.CA | None = None,
    begins: datetime | None = None,
    ends: datetime | None = None,
) -> Path:
    """A folder with server.crt and server.key of these names, and no ca.crt."""
    pair = (authority or trustme.CA()).issue_cert(*names, not_before=begins, not_after=ends)
    folder.mkdir(exist_ok=True)
    (folder / "server.crt").write_bytes(pair.cert_chain_pems[0].bytes())
    key = folder / "server.key"
    key.touch(0o600)
    key.write_bytes(pair.private_key_pem.bytes())
    return folder
