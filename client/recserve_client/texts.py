"""Text in arrays: ids of a request and of an answer.

An array of text has the dtype object and holds `str`; one that comes from tritonserver holds `bytes`.
"""

from typing import Any

import numpy as np

LONGEST_BYTES = 1024
"""Of one id in UTF-8."""


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
