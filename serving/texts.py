"""Text in arrays: the ids of a request as tritonserver hands them over, and their plain form in a safetensors file.

An array of text has the dtype object and holds `str`; one that comes from tritonserver holds `bytes`.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

LONGEST_BYTES = 1024
"""Of one id in UTF-8."""

_BYTES, _ENDS = "utf8/", "ends/"


def check(array: np.ndarray, longest: int | None = LONGEST_BYTES) -> None:
    """Raises ValueError, naming the first element, where one is no text that can be an id.

    An id has at most `longest` bytes of UTF-8 and no NUL: NVIDIA's onnxruntime backend would read it up to there.
    """
    elements = array.reshape(-1).tolist()
    if _are_ids(elements, longest):
        return
    for place, one in enumerate(elements):
        if not isinstance(one, bytes | str):
            raise ValueError(f"element {place} is a {type(one).__name__}; send text")
        try:
            encoded = one.encode() if isinstance(one, str) else one
            encoded.decode()
        except UnicodeError:
            raise ValueError(f"element {place} is no UTF-8 text; encode it as UTF-8") from None
        if longest is not None and len(encoded) > longest:
            raise ValueError(f"element {place} has {len(encoded)} bytes; send {longest} or fewer")
        if b"\0" in encoded:
            raise ValueError(f"element {place} holds a NUL character, which no id has; send it without")


def _are_ids(elements: list[Any], longest: int | None) -> bool:
    """Whether all are `bytes`, or all `str`, that pass; tells in a tenth of the time what no loop has to look at."""
    try:
        encoded = [one.encode() for one in elements] if elements and isinstance(elements[0], str) else elements
        # A character whose bytes lie in two elements is none with an ASCII byte between them.
        joined = b"\n".join(encoded)
        joined.decode()
    except (AttributeError, TypeError, UnicodeError):
        return False
    return b"\0" not in joined and (longest is None or max(map(len, encoded), default=0) <= longest)


def decoded(array: np.ndarray) -> np.ndarray:
    """The same text as `str`, in an array of the same shape. Raises UnicodeDecodeError where it is no UTF-8."""
    result = np.empty(array.size, object)
    result[:] = [one.decode() if isinstance(one, bytes) else one for one in array.reshape(-1).tolist()]
    return result.reshape(array.shape)


def flattened(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that safetensors can hold: text as "utf8/<name>", uint8 of all elements joined, and "ends/<name>", int64
    of the array's own shape: where each element ends. Other arrays are as they were."""
    plain: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype != object:
            plain[name] = array
            continue
        encoded = [str(one).encode() for one in array.flat]
        plain[_BYTES + name] = np.frombuffer(b"".join(encoded), np.uint8)
        plain[_ENDS + name] = np.cumsum([len(one) for one in encoded], dtype=np.int64).reshape(array.shape)
    return plain


def restored(plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `flattened`. Raises ValueError for text that cannot be cut into its elements."""
    arrays: dict[str, np.ndarray] = {}
    for key, array in plain.items():
        if not key.startswith((_BYTES, _ENDS)):
            arrays[key] = array
        elif key.startswith(_ENDS):
            name = key.removeprefix(_ENDS)
            arrays[name] = _cut(name, plain.get(_BYTES + name), array)
        elif _ENDS + key.removeprefix(_BYTES) not in plain:
            raise ValueError(f"text '{key}' has no ends beside it")
    return arrays


def _cut(name: str, joined: np.ndarray | None, ends: np.ndarray) -> np.ndarray:
    borders = [0, *ends.reshape(-1).tolist()]
    if joined is None or borders != sorted(borders) or borders[-1] != joined.size:
        raise ValueError(f"the ends of text '{name}' do not divide its bytes")
    content = joined.tobytes()
    elements = [content[start:end] for start, end in pairwise(borders)]
    array = np.empty(len(elements), object)
    array[:] = elements
    return decoded(array).reshape(ends.shape)
