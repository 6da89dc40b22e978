"""The step of an ensemble that samples paths, as a signature.

Legend: B requests, C candidates packed over them, P sampled paths.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kernels.path_sampling.sampler import Sampler
from training.layers.requests import CANDIDATES, Asked
from training.servable import Packed, StepServable, TensorSpec

KIND = "path_sampler"
REQUEST_KEY = TensorSpec(name="request_key", dtype="int64", shape=(1,))


def path_sampler(name: str, sampler: Sampler, requests: Callable[[int, int], Packed], wanted: Asked) -> StepServable:
    """Masks int64 [P * C] and weights float32 [(P + 1) * C] of all candidates, the candidate's paths side by side."""
    paths = sampler.plan.paths

    def sample(user_id: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        users, ids, keys = user_id[:, 0].numpy(), candidates.numpy(), request_key[:, 0].numpy()
        found = sampler.sample(users, ids, np.diff(ends.numpy(), prepend=0), keys)
        return torch.from_numpy(found.masks).flatten(), torch.from_numpy(found.weights).flatten()

    def write(folder: Path, asks: Mapping[str, str]) -> None:
        sampler.save(folder)

    return StepServable(
        name=name,
        inputs=(*wanted, REQUEST_KEY),
        outputs=(_of_candidates("masks", "int64", paths), _of_candidates("weights", "float32", paths + 1)),
        example=lambda batch_size, seed: (*requests(batch_size, seed), request_keys(batch_size, seed)),
        eager=sample,
        kind=KIND,
        write=write,
    )


def request_keys(batch_size: int, seed: int) -> Tensor:
    """Keys int64 [B, 1]; the first is the smallest that there is."""
    keys = np.random.default_rng(seed).integers(0, 1 << 63, (batch_size, 1))
    keys[0] = np.iinfo(np.int64).min
    return torch.from_numpy(keys)


def _of_candidates(name: str, dtype: Literal["int64", "float32"], per: int) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=CANDIDATES.shape, ragged=True, of=CANDIDATES.name, per=per)
