"""The step `path_sampler` of an ensemble: user, candidates and request key -> the candidates' paths.

The user is an id, whose fields lie in the version folder, or the fields themselves, where an earlier step reads them.

The counts are mapped from the version folder, so that all instances on a machine share them. The same request key
gives the same paths, alone, in any batch and after a restart.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kernels.path_sampling.sampler import Sampler
from serving.steps.checked import CheckedModel
from serving.steps.live_users import USER_ID
from serving.steps.step import Host, Refusal, Tensors
from serving.steps.unknown import Unknown

USER, CANDIDATES, KEY = "user", "candidates", "request_key"
"""`user`: the ids of the user's fields."""


class SamplerStep:
    """The paths of dynamic batches of requests, from the files of one version folder."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Raises ValueError for a damaged folder."""
        self._unknown = Unknown.of(host, folder.parent.name)
        self._model = CheckedModel(folder)
        self._sampler = Sampler.load(folder)
        self._by_id = USER not in {spec.name for spec in self._model.spec.inputs}

    def answer(self, requests: Sequence[Tensors]) -> list[Tensors | Refusal]:
        """`masks` int64 [1, P n] and `weights` float32 [1, (P + 1) n] of each request of n candidates, in order; a
        request that is wrong is refused alone."""
        return self._model.answer(requests, self._paths)

    def _paths(self, requests: Sequence[Tensors]) -> list[Tensors]:
        candidates, keys = (np.concatenate([one[name].reshape(-1) for one in requests]) for name in (CANDIDATES, KEY))
        counts = np.array([request[CANDIDATES].size for request in requests])
        if self._by_id:
            users = np.concatenate([request[USER_ID].reshape(-1) for request in requests])
            # Else the step that reads the users' rows counts.
            self._unknown.add(len(users), int((~self._sampler.knows(users)).sum()), [candidates])
            found = self._sampler.sample(users, candidates, counts, keys)
        else:
            rows = np.concatenate([request[USER] for request in requests])
            found = self._sampler.sample_rows(rows, candidates, counts, keys)
        borders = np.cumsum(counts)[:-1]
        return [
            {"masks": masks.reshape(1, -1), "weights": weights.reshape(1, -1)}
            for masks, weights in zip(*(np.split(array, borders) for array in found), strict=True)
        ]

    def close(self) -> None:
        """Nothing is held: the counts are mapped from files."""
