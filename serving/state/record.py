"""How one user's state is written as bytes: a fixed key, and a value that can prove it is whole.

Key: length of the model's name (1 byte), the name, stamp of the weights and user id (8 bytes each), numbers big-endian
with the sign bit flipped, so that byte order is the order of (model, stamp, user id).

Value: header, table of arrays, payloads, CRC-32, all little-endian. The checksum covers the key too, so a value that
ended up under another user's key does not pass for that user's.
"""

import hashlib
import struct
import zlib
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

MAGIC = b"RSUS"
FORMAT_VERSION = 2
DTYPES = (np.dtype("<f4"), np.dtype("<f2"), np.dtype("<i8"), np.dtype("<i4"))

Precision = Literal["float32", "float16"]

_HEADER = struct.Struct("<4sHH8sq")  # magic, format version, number of arrays, digest, Unix time in ms
_ARRAY = struct.Struct("<BBBB")  # length of the name, dtype given, dtype stored, number of axes
_CHECKSUM = struct.Struct("<I")
_NUMBER = struct.Struct(">Q")
_SIGN = 1 << 63


class Key(NamedTuple):
    """Whose state, of which model and weights."""

    model: str
    stamp: int
    """Names the weights, so that two versions with the same ones share their states."""
    user: int


class Header(NamedTuple):
    """What a value says about itself."""

    num_arrays: int
    digest: bytes
    time_ms: int


def prefix(model: str, stamp: int | None = None) -> bytes:
    """The bytes that all keys of a model, or of its states of one stamp, begin with."""
    name = model.encode()
    if not 1 <= len(name) <= 255:
        raise ValueError(f"model name '{model}' takes {len(name)} bytes: the store's keys hold 1 to 255")
    head = bytes((len(name),)) + name
    return head if stamp is None else head + _NUMBER.pack(stamp + _SIGN)


def encode_key(key: Key) -> bytes:
    """Key -> bytes that sort as (model, stamp, user id)."""
    return prefix(key.model, key.stamp) + _NUMBER.pack(key.user + _SIGN)


def decode_key(data: bytes) -> Key | None:
    """The inverse of `encode_key`; None for what an earlier format wrote, which is no key."""
    end = 1 + data[0]
    if len(data) != end + 2 * _NUMBER.size:
        return None
    (stamp,), (user,) = _NUMBER.unpack_from(data, end), _NUMBER.unpack_from(data, end + _NUMBER.size)
    return Key(data[1:end].decode(), stamp - _SIGN, user - _SIGN)


def digest_of(inputs: Mapping[str, np.ndarray]) -> bytes:
    """8 bytes that change when a name, dtype, shape or element of a user's encoder inputs changes."""
    state = hashlib.blake2b(digest_size=8)
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        state.update(f"{name}{array.dtype.str}{array.shape}".encode())
        state.update(array.data)
    return state.digest()


def encode(key: bytes, header: Header, arrays: Mapping[str, np.ndarray], precision: Precision) -> bytes:
    """A value for `key`; `header.num_arrays` is the number of `arrays`.

    `precision` float16 stores float32 arrays in half the bytes; they are read back as float32.

    Raises:
        ValueError: a dtype that has no code, or a number that float16 cannot hold.
    """
    table = [_HEADER.pack(MAGIC, FORMAT_VERSION, *header)]
    payloads = []
    for name, array in arrays.items():
        given = array.dtype.newbyteorder("<")
        if given not in DTYPES:
            raise ValueError(f"array '{name}' is {array.dtype}: a state holds {', '.join(d.name for d in DTYPES)}")
        stored = _stored(name, array, precision)
        encoded = name.encode()
        table += (_ARRAY.pack(len(encoded), DTYPES.index(given), DTYPES.index(stored.dtype), array.ndim), encoded)
        table.append(struct.pack(f"<{array.ndim}I", *array.shape))
        payloads.append(stored.tobytes())
    body = b"".join(table + payloads)
    return body + _CHECKSUM.pack(zlib.crc32(body, zlib.crc32(key)))


def _stored(name: str, array: np.ndarray, precision: Precision) -> np.ndarray:
    if array.dtype != np.float32 or precision == "float32":
        return array.astype(array.dtype.newbyteorder("<"), copy=False)
    with np.errstate(over="ignore"):
        half = array.astype("<f2")
    if (np.isinf(half) & np.isfinite(array)).any():
        raise ValueError(f"array '{name}' has {np.abs(array).max():g}, float16 ends at 65504: store it as float32")
    return half


def open_value(key: bytes, value: memoryview) -> Header | None:
    """The header of a whole value; None for one that is torn, of another key, or of an unknown format."""
    end = len(value) - _CHECKSUM.size
    if end < _HEADER.size:
        return None
    if zlib.crc32(value[:end], zlib.crc32(key)) != _CHECKSUM.unpack_from(value, end)[0]:
        return None
    magic, format_version, *rest = _HEADER.unpack_from(value)
    return Header(*rest) if magic == MAGIC and format_version == FORMAT_VERSION else None


def time_of(value: memoryview) -> int:
    """When a value was written, Unix time in milliseconds, unchecked; 0 where it is of another format."""
    if len(value) < _HEADER.size:
        return 0
    magic, format_version, *_, time_ms = _HEADER.unpack_from(value)
    return time_ms if magic == MAGIC and format_version == FORMAT_VERSION else 0


def decode_arrays(value: memoryview, header: Header) -> dict[str, np.ndarray]:
    """The arrays of a value that `open_value` found whole, copied out, in their given dtypes."""
    table = []
    offset = _HEADER.size
    for _ in range(header.num_arrays):
        length, given, stored, num_axes = _ARRAY.unpack_from(value, offset)
        start = offset + _ARRAY.size
        offset = start + length + 4 * num_axes
        shape = struct.unpack_from(f"<{num_axes}I", value, start + length)
        table.append((str(value[start : start + length], "utf-8"), DTYPES[given], DTYPES[stored], shape))
    arrays = {}
    for name, given, stored, shape in table:
        flat = np.ndarray(shape, stored, value, offset)
        arrays[name] = flat.astype(given)
        offset += flat.nbytes
    return arrays
