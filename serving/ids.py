"""Raw ids, which a client sends and gets, and the dense ids 1 to N, which number the rows of a model's tables.

In graphs of ONNX the map is a node; a backend or step that is no graph reads it from `ids.<tensor>.safetensors` in the
folder of its version, for the tensors that the configuration's parameter `mapped_ids` names.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recserve_client import texts
from serving import flat_texts

PARAMETER = "mapped_ids"
"""Names of tensors, with commas between them, whose raw ids a backend maps by files of the version."""

_INT64 = np.iinfo(np.int64)


class Facts(NamedTuple):
    """What tells one map from another, in values of JSON."""

    kind: Literal["int64", "string"]
    number: int
    digest: str


@dataclass(frozen=True, kw_only=True, eq=False)
class IdMap:
    """Raw ids, any int64 or text, in ascending order; the dense id of `ids[k]` is k + 1, and 0 is any other raw id."""

    ids: np.ndarray
    """int64 [N], or text [N] of dtype object; each once."""

    def __post_init__(self) -> None:
        """Raises ValueError where the ids are none of both, not in order, or cannot be sent by a client."""
        if self.ids.ndim != 1 or self.ids.dtype not in (np.dtype(np.int64), np.dtype(object)) or not len(self.ids):
            raise ValueError(f"raw ids are {self.ids.dtype} {list(self.ids.shape)}; give one or more int64 or strings")
        if self.kind == "string":
            texts.check(self.ids)
            if "" in self.ids[:1]:
                raise ValueError("an empty string is a raw id; it stands for no id, so drop its rows or name it")
        if not (self.ids[1:] > self.ids[:-1]).all():
            raise ValueError("raw ids must ascend, each of them once")

    @property
    def kind(self) -> Literal["int64", "string"]:
        """What a client sends."""
        return "int64" if self.ids.dtype == np.int64 else "string"

    @cached_property
    def is_identity(self) -> bool:
        """Whether the raw ids are 1 to N, so that nothing has to be mapped."""
        return self.kind == "int64" and np.array_equal(self.ids, np.arange(1, len(self.ids) + 1))

    @cached_property
    def filling(self) -> int | str:
        """What an answer says where there is no id: "" for strings, else 0, or where that is a raw id the first of
        -1, -2, ... that is none."""
        if self.kind == "string":
            return ""
        return next(number for number in (-step for step in count()) if not self.dense(np.array(number)))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that change with any id."""
        sha256 = hashlib.sha256(self.kind.encode())
        for array in flat_texts.flattened({"ids": self.ids}).values():
            sha256.update(np.ascontiguousarray(array).tobytes())
        return sha256.hexdigest()[:16]

    @property
    def facts(self) -> Facts:
        """Kind, number of ids and digest."""
        return Facts(self.kind, len(self.ids), self.digest)

    def dense(self, raw: np.ndarray) -> np.ndarray:
        """int64 of the same shape: 1 to N, and 0 for a raw id that is not in the map.

        Raises ValueError, naming the first, where some are none of the map's kind; empty arrays may have any dtype.
        """
        asked = self._of_kind(np.asarray(raw))
        if self.kind == "string":
            numbers = [self._places.get(one, 0) for one in texts.decoded(asked).reshape(-1).tolist()]
            return np.array(numbers, np.int64).reshape(asked.shape)
        places = np.minimum(np.searchsorted(self.ids, asked.reshape(-1)), len(self.ids) - 1)
        return np.where(self.ids[places] == asked.reshape(-1), places + 1, 0).reshape(asked.shape)

    def _of_kind(self, raw: np.ndarray) -> np.ndarray:
        """With the dtype of `ids`. numpy would cut 10.7 to 10, and make 2^64 - 1 a -1."""
        flat = raw.reshape(-1)
        if self.kind == "string":
            bad = flat[:1].tolist() if raw.dtype.kind not in "OUS" else []
        elif raw.dtype.kind == "u":
            bad = flat[flat > _INT64.max].tolist()
        else:
            bad = [] if raw.dtype.kind == "i" else [one for one in flat.tolist() if not _is_int64(one)]
        if bad:
            kind = "text" if self.kind == "string" else "whole numbers of 64 bits with a sign"
            raise ValueError(f"{bad[0]!r} is no id: the ids are {kind}")
        return raw.astype(self.ids.dtype)

    @cached_property
    def _places(self) -> dict[str, int]:
        """Dense ids of strings: searching them takes a hundred times as long as for whole numbers."""
        return {one: number for number, one in enumerate(self.ids.tolist(), start=1)}

    def raw(self, dense: np.ndarray) -> np.ndarray:
        """The raw ids of dense ones, of the same shape; `filling` for 0 and for what is no dense id."""
        known = (dense >= 1) & (dense <= len(self.ids))
        return np.where(known, self.ids[np.where(known, dense - 1, 0)], np.array(self.filling, self.ids.dtype))

    def sent(self, dense: np.ndarray) -> np.ndarray:
        """Raw ids of a request that asks for these dense ones; for what is no dense id, `strangers` in turn."""
        raw = self.raw(dense).reshape(-1)
        unknown = np.flatnonzero(self.dense(raw) == 0)
        raw[unknown] = self.strangers[np.arange(len(unknown)) % len(self.strangers)]
        return raw.reshape(dense.shape)

    @cached_property
    def strangers(self) -> np.ndarray:
        """A few raw ids that are not in the map: `filling`, and some that are easily taken for one that is."""
        if self.kind == "int64":
            near = [int(self.ids[0]) - 1, int(self.ids[-1]) + 1, int(self.ids[-1]) - 2**32, -1, _INT64.min, _INT64.max]
            legal = [number for number in near if _INT64.min <= number <= _INT64.max]
        else:
            first, last = self.ids[0], self.ids[-1]
            near = [
                first + " ",
                " " + first,
                "0" + last,
                last[:-1],
                last + "\u0301",
                "\u7121",
                "x" * texts.LONGEST_BYTES,
            ]
            legal = [text for text in near if len(text.encode()) <= texts.LONGEST_BYTES]
        tried = np.array([*dict.fromkeys([self.filling, *legal])], self.ids.dtype)
        return tried[self.dense(tried) == 0]

    def save(self, folder: Path, tensor: str) -> None:
        """Writes `ids.<tensor>.safetensors`: plain arrays, and the digest among the file's metadata."""
        plain = {name: np.ascontiguousarray(array) for name, array in flat_texts.flattened({"ids": self.ids}).items()}
        save_file(plain, _file(folder, tensor), metadata={"digest": self.digest})

    @classmethod
    def load(cls, folder: Path, tensor: str) -> Self:
        """The map that `save` wrote. Raises ValueError for a file that is missing or damaged."""
        path = _file(folder, tensor)
        try:
            with safe_open(path, "numpy") as file:
                arrays = flat_texts.restored({name: file.get_tensor(name) for name in file.keys()})
                saved = (file.metadata() or {}).get("digest")
            found = cls(ids=arrays["ids"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"{path} holds no map of ids: {error}; export the model again") from error
        if found.digest != saved:
            raise ValueError(f"{path} is damaged: its digest is {found.digest}, not {saved}; export the model again")
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdMap) and self.facts == other.facts

    def __hash__(self) -> int:
        return hash(self.facts)


def _is_int64(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return _INT64.min <= int(value) <= _INT64.max


def mapped_ids(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The tensors that a configuration's parameters name."""
    return tuple(filter(None, parameters.get(PARAMETER, "").split(",")))


class IdMaps:
    """The maps of a backend or step that is no graph, by the tensor's name."""

    def __init__(self, maps: Mapping[str, IdMap]) -> None:
        self._maps = dict(maps)

    @classmethod
    def load(cls, folder: Path, tensors: Sequence[str]) -> Self:
        """From the files of a version folder. Raises ValueError for one that is missing or damaged."""
        return cls({tensor: IdMap.load(folder, tensor) for tensor in tensors})

    def of(self, tensor: str) -> IdMap | None:
        """The map of one tensor; None where raw and dense ids are the same."""
        return self._maps.get(tensor)

    def check(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError, naming the tensor, where what came from a client is no text that can be an id."""
        for name, one in self._maps.items():
            if one.kind == "string" and name in tensors:
                try:
                    texts.check(tensors[name])
                except ValueError as error:
                    raise ValueError(f"input '{name}': {error}") from error

    def dense(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What came from a client, with dense ids in place of raw ones."""
        return {name: self._maps[name].dense(array) if name in self._maps else array for name, array in tensors.items()}

    def raw(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What goes to a client, with raw ids in place of dense ones."""
        return {name: self._maps[name].raw(array) if name in self._maps else array for name, array in tensors.items()}


def _file(folder: Path, tensor: str) -> Path:
    return folder / f"ids.{tensor}.safetensors"
