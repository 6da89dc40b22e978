"""Files of the log of requests: each record a request and its answer, whole or not there.

A record is its length and its CRC-32, each 4 bytes little-endian, and then a safetensors file: tensors
"inputs/<name>" and "outputs/<name>", text as in `serving.flat_texts`, and among its metadata model, version and time.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from serving import flat_texts
from serving.files import no_folder

SUFFIX = ".records"
_HEAD = struct.Struct("<II")
_PARTS = ("inputs", "outputs")

Tensors = Mapping[str, np.ndarray]


class Record(NamedTuple):
    """One request that was answered."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    version: int
    time: str
    """ISO 8601, UTC."""
    ids: str
    """hashed or raw: how it names users."""


class Place(NamedTuple):
    """Where a record is."""

    file: Path
    offset: int
    """Of its bytes, behind their head."""
    length: int


def encoded(inputs: Tensors, outputs: Tensors, facts: Mapping[str, str]) -> bytes:
    """A record."""
    arrays = {f"inputs/{name}": array for name, array in inputs.items()}
    arrays |= {f"outputs/{name}": array for name, array in outputs.items()}
    plain = {name: np.ascontiguousarray(array) for name, array in flat_texts.flattened(arrays).items()}
    body = save(plain, dict(facts))
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def places(folder: Path, model: str) -> list[Place]:
    """All records of a model, the oldest files first. Raises ValueError where there is none."""
    if not folder.is_dir():
        raise ValueError(f"--log: {no_folder(folder)}; recserve serve --request-log writes a log of requests")
    found = [place for path in sorted((folder / model).glob(f"*{SUFFIX}")) for place in _places(path)]
    if not found:
        there = ", ".join(sorted({path.parent.name for path in folder.glob(f"*/*{SUFFIX}")})) or "none"
        raise ValueError(f"--log {folder} holds no request to '{model}'; it has those to: {there}")
    return found


def spread(there: Sequence[Place], most: int) -> list[Place]:
    """At most so many, evenly over the log."""
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))
    return [there[number] for number in chosen]


def read(place: Place) -> Record:
    """Raises ValueError for a record that is damaged."""
    try:
        with place.file.open("rb") as file:
            file.seek(place.offset - _HEAD.size)
            length, checksum = _HEAD.unpack(file.read(_HEAD.size))
            body = file.read(length)
        if zlib.crc32(body) != checksum:
            raise ValueError("its checksum is wrong")
        facts = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])["__metadata__"]
        arrays = flat_texts.restored(load(body))
        inputs, outputs = (_of(arrays, part) for part in _PARTS)
        return Record(inputs, outputs, int(facts["version"]), facts["time"], facts["ids"])
    except (OSError, struct.error, SafetensorError, KeyError, ValueError) as error:
        where = f"{place.file}: the record at byte {place.offset}"
        raise ValueError(f"{where} is damaged ({error}); remove the file") from error


def _of(arrays: Tensors, part: str) -> dict[str, np.ndarray]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{part}/")}


def _places(path: Path) -> Iterator[Place]:
    """Up to the last whole record: what a process was writing when it was killed is not there, nor a file that made
    room for others meanwhile."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = path.stat().st_size
        offset = 0
        while offset + _HEAD.size <= end:
            file.seek(offset)
            length, _ = _HEAD.unpack(file.read(_HEAD.size))
            offset += _HEAD.size
            if offset + length > end:
                return
            yield Place(path, offset, length)
            offset += length
