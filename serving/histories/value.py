"""How anything is written into a store of histories: a head with a digest, a body, a checksum.

All little-endian. The checksum covers the key too, so that what belongs to one user never passes for another's. Equal
digests are equal bodies.
"""

import hashlib
import struct
import zlib
from typing import NamedTuple

HEAD_BYTES = 24
"""The first bytes of a value, which hold the digest."""
DIGEST = slice(12, 20)
"""Where in them."""
_HEAD = struct.Struct("<4sBB2xI8sI")  # magic, format version, kind, number, digest, bytes of the body
_CHECKSUM = struct.Struct("<I")
_FORMAT = 1


class DamagedError(ValueError):
    """A value is torn, of another key, or of an unknown format."""


class Value(NamedTuple):
    """What was sealed."""

    kind: int
    number: int
    body: memoryview


def sealed(key: bytes, magic: bytes, kind: int, number: int, body: bytes) -> bytes:
    """The value of `key`; magic is 4 bytes, kind and number are the writer's own."""
    digest = hashlib.blake2b(bytes([kind]) + body, digest_size=8).digest()
    value = _HEAD.pack(magic, _FORMAT, kind, number, digest, len(body)) + body
    return value + _CHECKSUM.pack(zlib.crc32(value, zlib.crc32(key)))


def digest_of(value: bytes) -> bytes:
    """The digest [8] that a value, or the first `HEAD_BYTES` of it, says. Raises DamagedError."""
    if len(value) < HEAD_BYTES:
        raise DamagedError("it is cut short")
    return value[DIGEST]


def opened(key: bytes, magic: bytes, value: bytes) -> Value:
    """The inverse of `sealed`. Raises DamagedError."""
    if len(value) < HEAD_BYTES:
        raise DamagedError("it is cut short")
    found, version, kind, number, _, size = _HEAD.unpack_from(value)
    if (found, version) != (magic, _FORMAT):
        raise DamagedError("its format is unknown")
    end = HEAD_BYTES + size
    if len(value) != end + _CHECKSUM.size:
        raise DamagedError("it is cut short")
    if zlib.crc32(memoryview(value)[:end], zlib.crc32(key)) != _CHECKSUM.unpack_from(value, end)[0]:
        raise DamagedError("its checksum is wrong")
    return Value(kind, number, memoryview(value)[HEAD_BYTES:end])
