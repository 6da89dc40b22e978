"""The keys of a store of histories."""

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from recserve_client import texts

_LONGEST = 200
"""Bytes of the name of a data set, and of a user's id, in a key; LMDB takes 511 in all."""
_FACTS = b"\0"


class Whose(NamedTuple):
    """Whose history: a user of a data set, by raw id."""

    dataset: str
    user: int | str

    @property
    def key(self) -> bytes:
        """Of the history; a long id is hashed."""
        user = str(self.user).encode()
        kind = b"s" if isinstance(self.user, str) else b"i"
        if len(user) > _LONGEST:
            return prefix(self.dataset) + kind.upper() + hashlib.blake2b(user, digest_size=32).digest()
        return prefix(self.dataset) + kind + user


@lru_cache(64)
def prefix(dataset: str) -> bytes:
    """The bytes that the keys of all users of a data set begin with. Raises ValueError for a name of more than 200
    bytes, and for one that is no text."""
    name = dataset.encode(errors="surrogatepass")
    if not 1 <= len(name) <= _LONGEST:
        raise ValueError(f"the name of a data set takes {len(name)} bytes; it may have 1 to {_LONGEST}")
    texts.check(np.array([dataset], object))
    return bytes([len(name)]) + name


def facts_key(dataset: str) -> bytes:
    """Of what is known of a data set. Raises ValueError as `prefix`."""
    return _FACTS + prefix(dataset)
