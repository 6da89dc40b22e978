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
from training.layers.users import USER
from training.servable import Packed, StepServable, TensorSpec

KIND = "path_sampler"
REQUEST_KEY = TensorSpec(name="request_key", dtype="int64", shape=(1,))


def path_sampler(
    name: str,
    sampler: Sampler,
    requests: Callable[[int, int], Packed],
    wanted: Asked,
    users: StepServable | None = None,
) -> StepServable:
    """Masks int64 [P * C] and weights float32 [(P + 1) * C] of all candidates, the candidate's paths side by side.

    The users are known by their id, or by the ids of their fields, which are the output `user` of the step `users`.
    """
    paths = sampler.plan.paths
    user = wanted.user_id if users is None else next(spec for spec in users.outputs if spec.name == USER)

    def sample(user: Tensor, candidates: Tensor, ends: Tensor, request_key: Tensor) -> Packed:
        asked = candidates.numpy(), np.diff(ends.numpy(), prepend=0), request_key[:, 0].numpy()
        found = (
            sampler.sample(user[:, 0].numpy(), *asked) if users is None else sampler.sample_rows(user.numpy(), *asked)
        )
        return torch.from_numpy(found.masks).flatten(), torch.from_numpy(found.weights).flatten()

    def example(batch_size: int, seed: int) -> Packed:
        user_id, candidates, ends = requests(batch_size, seed)
        keys = request_keys(batch_size, seed)
        if users is None:
            return user_id, candidates, ends, keys
        return users.eager(user_id)[users.outputs.index(user)], candidates, ends, keys

    def write(folder: Path, asks: Mapping[str, str]) -> None:
        sampler.save(folder)

    return StepServable(
        name=name,
        inputs=(user, wanted.candidates, wanted.offsets, REQUEST_KEY),
        outputs=(_of_candidates("masks", "int64", paths), _of_candidates("weights", "float32", paths + 1)),
        example=example,
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
