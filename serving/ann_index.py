"""An index of item vectors on disk: the best items by inner product, found approximately and scored exactly.

Faiss finds (inverted lists, one byte for each number); what it finds is scored anew with the vectors themselves, which
lie beside it, so that a score is the one that the model means. What a filter leaves is found by a bitmap; where it
leaves little, all of that is scored. Ids are dense: row 0 of the vectors is the unknown item and is never found.

Axes: N items, D width of vectors, n found items.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import faiss
import numpy as np

from serving.mapped import mapped

INDEX_FILE, VECTORS_FILE, FACTS_FILE = "index.faiss", "vectors.safetensors", "ann.json"
VECTORS, VALUES = "vectors", "values."
"""Arrays of the file: float32 [N + 1, D], and the values of fields int64 [N + 1, V]."""
SPARE = 2
"""Items that are looked for, for each one that is listed: so many are scored exactly."""
FEW = 20_000
"""Items that a filter leaves, up to which all are scored."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is said beside an index of how it was made."""

    factory: str
    """As faiss names its kinds."""
    nprobe: int
    """Inverted lists that are looked into."""
    recall: float
    """Share of the exact lists that was found when it was made."""
    least_recall: float
    """What may not be fallen short of."""
    top: int
    """Items of a list."""
    rule: str
    """Why an index stands here, and no product with all items."""
    faiss: str
    """Its version."""
    sha256: str
    """Of the file of the index, which faiss reads unchecked."""


class Listed(NamedTuple):
    """The best items, best first; of equal scores the lower id first."""

    items: np.ndarray
    """int64 [n]: dense ids"""
    scores: np.ndarray
    """float32 [n]"""


class AnnIndex:
    """Answers users' vectors, one after the other, in one thread."""

    def __init__(self, index: Any, vectors: np.ndarray, values: dict[str, np.ndarray], nprobe: int) -> None:
        """An index of faiss that holds `vectors[1:]` under the ids 0 to N - 1."""
        # Its own pool would come on top of the processes' other threads.
        faiss.omp_set_num_threads(1)
        self._index, self._vectors, self._values, self._nprobe = index, vectors, values, nprobe
        self._num_items = len(vectors) - 1
        self._all = np.packbits(np.ones(self._num_items, bool), bitorder="little")

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What a version folder holds, mapped. Raises ValueError for a file that is not what was written."""
        facts = facts_of(folder)
        path = folder / INDEX_FILE
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error}): export the model again") from error
        if found != facts.sha256:
            raise ValueError(f"{path} is not the index that was written: export the model again")
        arrays = mapped(folder / VECTORS_FILE, "vectors")
        if VECTORS not in arrays:
            raise ValueError(f"{folder / VECTORS_FILE} has no {VECTORS}: export the model again")
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        _read_by_the_one_who_asks(index)
        vectors = arrays[VECTORS]
        if index.ntotal != len(vectors) - 1:
            raise ValueError(f"{path} holds {index.ntotal} items, not {len(vectors) - 1}: export the model again")
        values = {name.removeprefix(VALUES): array for name, array in arrays.items() if name.startswith(VALUES)}
        return cls(index, vectors, values, facts.nprobe)

    def best(self, vector: np.ndarray, top: int, left_out: np.ndarray, wanted: dict[str, int]) -> Listed:
        """At most `top` items for a vector float32 [D], but those of `left_out` int64 and those without a value that is
        wanted of a field; none for zeros, to which all are the same."""
        if not vector.any():
            return Listed(np.zeros(0, np.int64), np.zeros(0, np.float32))
        places = left_out[(left_out >= 1) & (left_out <= self._num_items)] - 1
        if wanted:
            allowed = self._allowed(wanted)
            allowed[places] = False
            number = int(allowed.sum())
            if number <= FEW:
                return self._exact(vector, np.flatnonzero(allowed), top)
            bits, share = np.packbits(allowed, bitorder="little"), number / self._num_items
        else:
            bits, share = self._all.copy(), 1.0
            # Two ids may share a byte, which plain indexing would write once.
            np.bitwise_and.at(bits, places >> 3, ~(np.uint8(1) << (places & 7).astype(np.uint8)))
        found = self._found(vector, min(SPARE * top, self._num_items), bits, share)
        if len(found) < top:
            allowed = np.unpackbits(bits, bitorder="little", count=self._num_items)
            return self._exact(vector, np.flatnonzero(allowed), top)
        return self._exact(vector, found, top)

    def exact(self, vector: np.ndarray, top: int, left_out: np.ndarray, wanted: dict[str, int]) -> Listed:
        """As `best`, of all items."""
        allowed = self._allowed(wanted)
        allowed[left_out[(left_out >= 1) & (left_out <= self._num_items)] - 1] = False
        return self._exact(vector, np.flatnonzero(allowed), top)

    def _allowed(self, wanted: dict[str, int]) -> np.ndarray:
        """bool [N]"""
        allowed = np.ones(self._num_items, bool)
        for name, value in wanted.items():
            allowed &= (self._values[name][1:] == value).any(axis=1)
        return allowed

    def _found(self, vector: np.ndarray, number: int, bits: np.ndarray, share: float) -> np.ndarray:
        nlist = int(faiss.extract_index_ivf(self._index).nlist)
        nprobe = min(nlist, int(np.ceil(self._nprobe / share)))
        # faiss's own wrappers take an array and keywords, which its generated types do not say.
        chosen = faiss.IDSelectorBitmap(bits)  # pyright: ignore[reportCallIssue]
        parameters = faiss.SearchParametersIVF(sel=chosen, nprobe=nprobe)  # pyright: ignore[reportCallIssue]
        _, found = self._index.search(np.ascontiguousarray(vector[None], np.float32), number, params=parameters)
        return found[0][found[0] >= 0]

    def _exact(self, vector: np.ndarray, places: np.ndarray, top: int) -> Listed:
        """The best of some places."""
        # Row by row, so that a score does not depend on how many there are.
        scores = np.einsum("nd,d->n", self._vectors[places + 1], vector, optimize=False)
        order = np.lexsort((places, -scores))[:top]
        return Listed(places[order] + 1, scores[order].astype(np.float32))


def _read_by_the_one_who_asks(index: Any) -> None:
    """Of a mapped index each search starts 32 threads that read ahead from the disk, which cost more than the search;
    the pages are there, as the file was read for its digest."""
    inverted: Any = faiss.extract_index_ivf(index).invlists
    lists: Any = faiss.downcast_InvertedLists(inverted)
    lists.prefetch_nthread = 0


def facts_of(folder: Path) -> Facts:
    """What is said of a version's index. Raises ValueError where nothing readable is."""
    path = folder / FACTS_FILE
    try:
        return Facts(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} does not say what index this is ({error}): export the model again") from error


def write_facts(folder: Path, facts: Facts) -> None:
    """Beside the index."""
    (folder / FACTS_FILE).write_text(json.dumps(asdict(facts), indent=2) + "\n")


def recall(found: Sequence[Listed], expected: Sequence[Listed]) -> float:
    """Share of the items of the expected lists that were found."""
    wanted = sum(len(one.items) for one in expected)
    met = sum(
        len(np.intersect1d(one.items, other.items, assume_unique=True))
        for one, other in zip(found, expected, strict=True)
    )
    return met / max(1, wanted)
