"""Ids of the users of golden requests, which no client's users have.

Models answer them from the histories that were exported, so that a golden answer stays right whatever users do. A data
set with a user of such an id is refused at export, and so are events of one.
"""

from typing import Literal

import numpy as np

_FIRST = -int.from_bytes(b"RECSERVE", "big")
_NUMBER = 2**24
_PREFIX = "recserve example "


def example_ids(dense: np.ndarray, kind: Literal["int64", "string"]) -> np.ndarray:
    """Raw ids that stand for these dense ones; what is none, or more than 2^24, becomes 0, nobody."""
    known = np.where((dense >= 0) & (dense < _NUMBER), dense, 0)
    if kind == "int64":
        return _FIRST + known
    return np.array([f"{_PREFIX}{one}" for one in known.reshape(-1).tolist()], object).reshape(dense.shape)


def example_of(raw: int | str) -> int | None:
    """The dense id that a raw one stands for; None for a client's own user."""
    if isinstance(raw, str):
        number = raw.removeprefix(_PREFIX)
        return int(number) if number != raw and number.isdecimal() and len(number) <= 8 else None
    dense = raw - _FIRST
    return dense if 0 <= dense < _NUMBER else None


def refuse_examples(ids: np.ndarray) -> None:
    """Raises ValueError for raw ids of users, int64 or text, of which one is an example's."""
    if ids.dtype == np.int64:
        taken = ids[(ids >= _FIRST) & (ids < _FIRST + _NUMBER)]
    else:
        taken = [one for one in ids.tolist() if example_of(one) is not None]
    if len(taken):
        raise ValueError(f"user id {taken[0]} stands for a user of golden requests: give that user another one")
