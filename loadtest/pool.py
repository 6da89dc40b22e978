"""The requests of a load test with the answers that count as right, in one file that every worker reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from serving import flat_texts, golden
from serving.readiness import TOLERANCE

Tensors = Mapping[str, np.ndarray]


class Request(NamedTuple):
    """One request and its answers, one for each version that may give it."""

    inputs: Tensors
    """[1, ...] each."""
    expected: tuple[Tensors, ...]

    @property
    def size(self) -> int:
        """Elements of the largest input: for a ranker, the candidates."""
        return max(array.size for array in self.inputs.values())

    @property
    def user(self) -> int | str | None:
        """Who asks; None where a request does not say."""
        return self.inputs["user_id"].item() if "user_id" in self.inputs else None

    def is_right(self, outputs: Tensors) -> bool:
        """Whether one version, and not a mixture of two, gave these outputs; true where nothing is expected."""
        return not self.expected or self.answered_by(outputs) is not None

    def answered_by(self, outputs: Tensors) -> int | None:
        """The place in `expected` of the version that gave these outputs; None where none did."""
        for place, answer in enumerate(self.expected):
            if outputs.keys() == answer.keys() and golden.compare(answer, outputs, TOLERANCE).ok:
                return place
        return None


class Pool:
    """Distinct requests to one model."""

    def __init__(self, model: str, requests: Sequence[Request]) -> None:
        if not requests:
            raise ValueError(f"the pool of requests to '{model}' is empty")
        self.model = model
        self.requests = list(requests)

    def save(self, path: Path) -> None:
        """Writes one safetensors file; tensors are named <request>/<kind>/<tensor>, text as in `serving.flat_texts`."""
        tensors: dict[str, np.ndarray] = {}
        for number, request in enumerate(self.requests):
            parts = {"input": request.inputs, **{f"answer{n}": one for n, one in enumerate(request.expected)}}
            for kind, arrays in parts.items():
                tensors |= {f"{number}/{kind}/{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(flat_texts.flattened(tensors), path, {"model": self.model})

    @classmethod
    def load(cls, path: Path) -> Self:
        """The inverse of `save`."""
        parts: dict[int, dict[str, dict[str, np.ndarray]]] = {}
        with safe_open(path, framework="numpy") as file:
            model = file.metadata()["model"]
            tensors = flat_texts.restored({key: file.get_tensor(key) for key in file.keys()})
        for key, array in tensors.items():
            number, kind, name = key.split("/", 2)
            parts.setdefault(int(number), {}).setdefault(kind, {})[name] = array
        return cls(model, [_request(parts[number]) for number in sorted(parts)])


def _request(parts: dict[str, dict[str, np.ndarray]]) -> Request:
    inputs = parts.pop("input")
    return Request(inputs, tuple(parts[kind] for kind in sorted(parts)))
