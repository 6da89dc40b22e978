"""Where a published data set comes from, and the check that it is the published one."""

import gzip
import hashlib
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from training.interactions import Report

Tables = dict[str, pl.DataFrame]
"""The canonical form of a data set: name of the file without its ending -> table."""

_CONNECT_SECONDS = 5
_MAX_BYTES = 16 * 2**20


class Found(NamedTuple):
    """The published files, whichever source had them."""

    source: str
    files: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A data set's sources, and what they must give."""

    name: str
    what: str
    licence: str
    sources: tuple[Callable[[Report], Found | None], ...]
    """Asked in this order; None where one has nothing. Each checks its files with `verify`."""
    parse: Callable[[dict[str, bytes]], Tables]
    rows: dict[str, int]
    """Rows of each table."""
    remedy: str
    """What a person can do when no source answers."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def verify(published: Mapping[str, str], name: str, content: bytes) -> bytes:
    """The content itself if its sha256 is the published one of that name, else ValueError."""
    found = sha256(content)
    if found != published[name]:
        raise ValueError(f"{name}: expected sha256 {published[name]}, found {found}; remove the file and fetch again")
    return content


def read(path: Path) -> bytes | None:
    """What the file holds, or its packed form beside it (`.gz`); None where there is neither."""
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file():
        return path.read_bytes()
    return gzip.decompress(packed.read_bytes()) if packed.is_file() else None


def download(name: str, url: str, report: Report) -> bytes | None:
    """What the URL holds; None, reported, where it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as response:  # noqa: S310 - https URLs of this package
            return response.read(_MAX_BYTES)
    except OSError as error:
        report(f"{name}: {url} did not answer ({error}); trying the next source")
        return None
