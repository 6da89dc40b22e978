"""The step `ann`: users' vectors -> the best items of an index beside it, but those that are left out or lack a value.

Axes: D width of vectors, K listed items, S history, E ids of a request.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.ann_index import AnnIndex, facts_of, recall
from serving.steps.checked import CheckedModel
from serving.steps.step import Host, Refusal, Tensors

VECTOR, ITEMS, SCORES = "vector", "items", "scores"
ONLY = "only_"
"""What the names of the inputs begin with that say which value a field must have; below 0 any."""
NO_SCORE = np.float32(-1e9)
"""Of a place in a list that holds no item."""


class AnnStep:
    """The lists of dynamic batches of vectors, from the index of one version folder."""

    def __init__(self, host: Host, folder: Path) -> None:
        """Raises ValueError for a damaged folder."""
        self._model = CheckedModel(folder)
        self._index, self._top = AnnIndex.open(folder), facts_of(folder).top

    def answer(self, requests: Sequence[Tensors]) -> list[Tensors | Refusal]:
        """`items` [1, K], best first, and `scores` float32 [1, K] of each request's `vector` [1, D], in order; a
        request that is wrong is refused alone."""
        return self._model.answer(requests, lambda right: [self._listed(one) for one in right])

    def _listed(self, request: Tensors) -> Tensors:
        found = self._index.best(request[VECTOR][0], self._top, *narrowed(request))
        items, scores = np.zeros((1, self._top), np.int64), np.full((1, self._top), NO_SCORE)
        items[0, : len(found.items)], scores[0, : len(found.scores)] = found
        return self._model.ids.raw({ITEMS: items, SCORES: scores})

    def recall(self, requests: Sequence[Tensors]) -> float:
        """Share of the items of the exact lists of these requests, which are right, that is found."""
        asked = [(one[VECTOR][0], self._top, *narrowed(one)) for one in map(self._model.ids.dense, requests)]
        return recall([self._index.best(*one) for one in asked], [self._index.exact(*one) for one in asked])

    def close(self) -> None:
        """Nothing is held: index and vectors are mapped from files."""


def narrowed(request: Tensors) -> tuple[np.ndarray, dict[str, int]]:
    """What a request leaves out, int64 dense ids, and the values that it wants of fields."""
    only = {name: int(array[0, 0]) for name, array in request.items() if name.startswith(ONLY)}
    left_out = [array.reshape(-1) for name, array in request.items() if name not in only and name != VECTOR]
    wanted = {name.removeprefix(ONLY): value for name, value in only.items() if value >= 0}
    return np.concatenate([np.zeros(0, np.int64), *left_out]), wanted
