"""The model `<...>_sampler` of a MATT ensemble: user, candidates and request key -> the candidates' paths.

`SamplerStep` is the computation, free of tritonserver; `TritonPythonModel` is its shell in the Python backend, which a
version folder's `model.py` imports from here. The counts are mapped from the version folder, so that all instances on
a machine share them. The same request key gives the same paths, alone, in any batch and after a restart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import json_format

from kernels.path_sampling.sampler import SAMPLER_FILE, Sampler
from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.backends.packing import Request
from serving.configs import read_config
from serving.ids import IdMaps
from serving.steps import Refusal, StepModel

__all__ = ["SAMPLER_FILE", "SamplerStep", "TritonPythonModel"]

INPUTS = ("user_id", "candidates", "request_key")


class SamplerStep:
    """The paths of dynamic batches of requests, from the files of one version folder."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError for a damaged folder."""
        config = json_format.MessageToDict(read_config(folder.parent, "cpu"), preserving_proto_field_name=True)
        self._spec = ModelSpec.parse(config)
        self._ids = IdMaps.load(folder, self._spec.mapped_ids)
        self._sampler = Sampler.load(folder)

    def answer(self, requests: Sequence[Request]) -> list[dict[str, np.ndarray] | Refusal]:
        """`masks` int64 [1, P n] and `weights` float32 [1, (P + 1) n] of each request of n candidates, in order; a
        request that is wrong is refused alone."""
        refused: dict[int, Refusal] = {}
        for place, request in enumerate(requests):
            try:
                packing.check(self._spec, request)
            except ValueError as error:
                refused[place] = Refusal(str(error), "INVALID_ARG")
        paths = iter(self._paths([request for place, request in enumerate(requests) if place not in refused]))
        return [refused[place] if place in refused else next(paths) for place in range(len(requests))]

    def _paths(self, requests: Sequence[Request]) -> list[dict[str, np.ndarray]]:
        if not requests:
            return []
        packed = {name: np.concatenate([request[name].reshape(-1) for request in requests]) for name in INPUTS}
        users, candidates, keys = self._ids.dense(packed).values()
        counts = np.array([request["candidates"].size for request in requests])
        found = self._sampler.sample(users, candidates, counts, keys)
        borders = np.cumsum(counts)[:-1]
        return [
            {"masks": masks.reshape(1, -1), "weights": weights.reshape(1, -1)}
            for masks, weights in zip(*(np.split(array, borders) for array in found), strict=True)
        ]

    def close(self) -> None:
        """Nothing is held: the counts are mapped from files."""


class TritonPythonModel(StepModel):
    """What a version folder's `model.py` imports."""

    def open(self, backend: Any, folder: Path, config: Mapping[str, Any]) -> SamplerStep:
        # Elsewhere than under our own server the environment may not say so.
        torch.set_num_threads(1)
        return SamplerStep(folder)
