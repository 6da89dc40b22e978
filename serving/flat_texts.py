"""Text as a safetensors file holds it, which knows no text."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from recserve_client import texts

_BYTES, _ENDS = "utf8/", "ends/"


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
    return texts.decoded(array).reshape(ends.shape)
