"""Hierarchical probabilistic hashing of MATT-CTR (arXiv 2510.08932): how often feature combinations occurred.

The paper states that occurrences of combinations of several orders are estimated, and bounded from below. Structure
and equations are our design: one `Level` for single ids, one for pairs, and

    (1) lower(ij)  <= min(lower(i), lower(j))                    a combination is no more frequent than its parts
    (2) c(key)      = log(1 + lower(key)) / log(1 + max count of the order)
    (3) n[f]        = quantise(c(f) mean over anchors a of c(a, f)),  c(a, a) = c(a)

Memory is that of the options, whatever is counted: 16 bytes per held key, 32 or 64 per block (`FrequencyOptions.bytes`;
18 MB by default). Counting needs some 30 MB beside it. One pass over the log, in any number of parts; shards of a log
are counted apart and merged.

Legend: n instances, F fields, A anchors.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kernels.path_sampling import cpu
from kernels.path_sampling.level import Level, LevelOptions
from kernels.path_sampling.reference import MAX_WEIGHT
from kernels.path_sampling.sketch import Layout

ORDERS = ("singles", "pairs")
_ARRAYS = ("keys", "counts", "sketch")
_CHUNK_KEYS = 1 << 16
"""Keys that are counted at once: the scratch memory of counting."""


_SINGLES = LevelOptions(held=4096, layout=Layout(blocks=1 << 14, rows=8, width=1))
_PAIRS = LevelOptions(held=1 << 14, layout=Layout(blocks=1 << 19, rows=8, width=1))


@dataclass(frozen=True, kw_only=True)
class FrequencyOptions:
    """What the counts may cost, by order. The defaults are for some million different pairs."""

    singles: LevelOptions = _SINGLES
    pairs: LevelOptions = _PAIRS

    @property
    def bytes(self) -> int:
        """Memory of all counts."""
        return self.singles.bytes + self.pairs.bytes

    @classmethod
    def of(cls, levels: Mapping[str, Mapping]) -> Self:
        """The inverse of `asdict`. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            **{
                order: LevelOptions(held=levels[order]["held"], layout=Layout(**levels[order]["layout"]))
                for order in ORDERS
            }
        )


class LowerBounds(NamedTuple):
    """How often the ids of instances occurred, at least."""

    single: np.ndarray
    """int64 [n, F]"""
    pairs: np.ndarray
    """int64 [n, F, F], symmetric; the diagonal is `single`."""


class Confidences(NamedTuple):
    """Eq. (2), in [0, 1]."""

    single: np.ndarray
    """float64 [n, F]"""
    pairs: np.ndarray
    """float64 [n, F, F], symmetric; the diagonal is `single`."""


class Frequencies:
    """Counts of single ids and of pairs of ids of different fields. Any int64 is a legal id."""

    def __init__(self, num_fields: int, options: FrequencyOptions | None = None) -> None:
        """Nothing counted yet."""
        self.num_fields = num_fields
        self.options = options or FrequencyOptions()
        self.singles = Level.empty(self.options.singles)
        self.pairs = Level.empty(self.options.pairs)

    def add(self, ids: np.ndarray) -> None:
        """Counts instances, int64 [n, F]. Raises ValueError for another shape, and for counts that are mapped."""
        self._check(ids)
        if not self.singles.sketch.flags.writeable:
            raise ValueError("these frequencies are mapped from a file; load them with mapped=False to count more")
        first, last = np.triu_indices(self.num_fields, 1)
        fields = np.arange(self.num_fields)
        rows = max(1, _CHUNK_KEYS // max(self.num_fields, len(first)))
        for start in range(0, len(ids), rows):
            chunk = ids[start : start + rows]
            self.singles.add(single_keys(chunk, fields).reshape(-1))
            if len(first):
                self.pairs.add(cpu.combination_keys((chunk[:, first], chunk[:, last]), (first, last)).reshape(-1))

    def merge(self, other: "Frequencies") -> "Frequencies":
        """The counts of both logs. Raises ValueError where fields or options differ."""
        mine, others = (self.num_fields, self.options), (other.num_fields, other.options)
        if mine != others:
            raise ValueError(f"frequencies of {mine} and {others} cannot be merged; count with the same options")
        merged = Frequencies(self.num_fields, self.options)
        merged.singles, merged.pairs = self.singles.merge(other.singles), self.pairs.merge(other.pairs)
        return merged

    def lower(self, ids: np.ndarray) -> LowerBounds:
        """Bounds of all combinations in instances int64 [n, F], eq. (1)."""
        self._check(ids)
        single = self.singles.lower(single_keys(ids, np.arange(self.num_fields)))
        first, last = np.triu_indices(self.num_fields, 1)
        keys = cpu.combination_keys((ids[:, first], ids[:, last]), (first, last))
        found = np.minimum(self.pairs.lower(keys), np.minimum(single[:, first], single[:, last]))
        pairs = np.zeros((len(ids), self.num_fields, self.num_fields), np.int64)
        pairs[:, first, last] = pairs[:, last, first] = found
        diagonal = np.arange(self.num_fields)
        pairs[:, diagonal, diagonal] = single
        return LowerBounds(single, pairs)

    def confidence(self, ids: np.ndarray) -> Confidences:
        """Eq. (2) for all combinations in instances int64 [n, F]."""
        bounds = self.lower(ids)
        single, pairs = of_counts(bounds.single, self.singles.largest), of_counts(bounds.pairs, self.pairs.largest)
        diagonal = np.arange(self.num_fields)
        pairs[:, diagonal, diagonal] = single
        return Confidences(single, pairs)

    def pair_confidence(
        self, ids: tuple[np.ndarray, np.ndarray], single: tuple[np.ndarray, np.ndarray], fields: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        """c(ij) float64 of two ids int64 each, of the bounds int64 of the two alone, and of their fields, which differ;
        all of shapes that broadcast."""
        if (fields[0] < fields[1]).all():
            keys = cpu.combination_keys(ids, (fields[0], fields[1]))
        else:
            swapped = fields[0] > fields[1]
            pair = (np.where(swapped, ids[1], ids[0]), np.where(swapped, ids[0], ids[1]))
            keys = cpu.combination_keys(pair, (np.minimum(*fields), np.maximum(*fields)))
        bounds = self.pairs.lower(keys)
        return of_counts(np.minimum(bounds, np.minimum(*single)), self.pairs.largest)

    def arrays(self) -> dict[str, np.ndarray]:
        """All counts by name, the arrays themselves; their shapes follow from the options."""
        return {f"{order}_{name}": getattr(getattr(self, order), name) for order in ORDERS for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, num_fields: int, options: FrequencyOptions, arrays: Mapping[str, np.ndarray]) -> "Frequencies":
        """The inverse of `arrays`, without a copy. Raises ValueError for arrays that do not fit the options."""
        if missing := sorted({f"{order}_{name}" for order in ORDERS for name in _ARRAYS} - set(arrays)):
            raise ValueError(f"frequencies need the arrays {missing}")
        frequencies = cls.__new__(cls)
        frequencies.num_fields, frequencies.options = num_fields, options
        frequencies.singles, frequencies.pairs = (
            Level(getattr(options, order), *(arrays[f"{order}_{name}"] for name in _ARRAYS)) for order in ORDERS
        )
        return frequencies

    def save(self, path: Path) -> None:
        """Writes one safetensors file of `options.bytes` and a header."""
        description = {"num_fields": self.num_fields, "options": asdict(self.options)}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays().items()}
        save_file(arrays, path, metadata={"frequencies": json.dumps(description)})

    @classmethod
    def load(cls, path: Path, mapped: bool = True) -> "Frequencies":
        """Reads a file of `save`; `mapped` pages of it are shared by all processes, and read when they are needed.

        Raises ValueError for a file that is none.
        """
        try:
            with safe_open(path, framework="pt") as file:
                description = json.loads(file.metadata()["frequencies"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            options = FrequencyOptions.of(description["options"])
            arrays = {name: _mapped(tensor) if mapped else tensor.clone().numpy() for name, tensor in tensors.items()}
            return cls.from_arrays(description["num_fields"], options, arrays)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no frequencies ({error}): export the model again") from error

    def _check(self, ids: np.ndarray) -> None:
        if ids.ndim != 2 or ids.shape[1] != self.num_fields or ids.dtype != np.int64:
            raise ValueError(f"ids must be int64 [n, {self.num_fields}], not {ids.dtype} {list(ids.shape)}")


def weights(frequencies: Frequencies, ids: np.ndarray, anchors: Sequence[int]) -> np.ndarray:
    """Weights int32 [n, F] of the fields of instances int64 [n, F], eq. (3)."""
    fields = np.arange(frequencies.num_fields)
    single = frequencies.singles.lower(single_keys(ids, fields))
    confidence = of_counts(single, frequencies.singles.largest)
    with_anchors = []
    for anchor in anchors:
        others = np.delete(fields, anchor)
        together = confidence.copy()
        together[:, others] = frequencies.pair_confidence(
            (ids[:, others], ids[:, [anchor]]), (single[:, others], single[:, [anchor]]), (others, fields[[anchor]])
        )
        with_anchors.append(together)
    return combine(confidence, with_anchors)


def combine(single: np.ndarray, with_anchors: Sequence[np.ndarray]) -> np.ndarray:
    """Eq. (3) from c(f) float64 [n, F] and, for each anchor a, c(a, f) float64 [n, F]: weights int32 [n, F]."""
    together = sum(with_anchors[1:], start=with_anchors[0]) / len(with_anchors)
    return np.rint(single * together * MAX_WEIGHT).astype(np.int32)


def single_keys(ids: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Keys int64 of single ids int64 and their fields, of shapes that broadcast."""
    return cpu.combination_keys((ids, ids), (fields, fields))


def of_counts(bounds: np.ndarray, largest: int) -> np.ndarray:
    """Eq. (2): float64, of the shape of `bounds` int64; 0 where nothing was counted."""
    # A bound that fails may exceed the largest count.
    return np.log1p(np.minimum(bounds, largest)) / np.log1p(max(largest, 1))


def _mapped(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.numpy()
    array.flags.writeable = False
    return array
