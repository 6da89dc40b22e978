"""Requests that ask for a list after a history: tensors, goldens, and the list as it is served.

Legend: B requests, H history items packed over them, L history, top places of a list.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from training.data.sequences import SequenceData
from training.layers.listing import Best
from training.servable import NO_SCORE, Packed, TensorSpec

MAX_HISTORY = 1_000
"""Items of one request; a model reads the newest `max_length` of them."""
MAX_BATCH_SIZE = 16
"""Requests of a run: each has a score for every item, or paths of its own."""
HISTORY = TensorSpec(
    name="history", dtype="int64", shape=("history",), ragged=True, minimum=0, max_elements=MAX_HISTORY
)
OFFSETS = TensorSpec(name="history_offsets", dtype="int32", shape=(), of="history")


def history_spec(data: SequenceData) -> TensorSpec:
    """`HISTORY` by the raw ids of a data set."""
    ids = data.interactions.ids.get("item")
    return HISTORY if ids is None else replace(HISTORY, ids=ids, minimum=None)


def items_spec(data: SequenceData, top: int) -> TensorSpec:
    """The list of items [top], by the raw ids of a data set; 0 fills."""
    return TensorSpec(name="items", dtype="int64", shape=(top,), ids=data.interactions.ids.get("item"))


_UNKNOWN_ITEM = 2**40
_CLEAR = 1e-5
"""Two listed scores that differ by less are a toss-up between one library's sums and another's."""
_SPARE = 4
"""Users drawn for each one needed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """Seeded requests of real histories that a rounding error does not decide; the first ones are the edge cases.

    A list compares scores. Where two of them are nearer than fp32 can tell, libraries differ in the order, and each is
    right; such requests prove nothing, so none is drawn.
    """

    data: SequenceData
    answer: Callable[..., Packed]
    """Inputs -> items, scores, and what else there is."""
    max_length: int
    beside: Callable[[int], Packed] = lambda count: ()
    """Further inputs of so many requests."""

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """Histories int64 [H], their ends int32 [B], and what is beside.

        One item alone, an empty history, an unknown item, a history longer than what is read, then users as they come.
        Raises ValueError where too few requests are clear.
        """
        random = np.random.default_rng(seed)
        first, second, third, *rest = (
            self.data.sequences[user]
            for user in random.choice(len(self.data.sequences), 3 + _SPARE * batch_size).tolist()
        )
        longer = np.resize(third, self.max_length + len(third))
        pool = [first[:1], first[:0], np.append(second, _UNKNOWN_ITEM), longer, *rest]
        beside = self.beside(len(pool))
        clear = self._clear(self.answer(*packed(pool), *beside)[1])[:batch_size]
        if len(clear) < batch_size:
            raise ValueError(
                f"only {len(clear)} of {len(pool)} requests have scores that differ by {_CLEAR} or more; train the "
                "model before it is exported"
            )
        return *packed([pool[number] for number in clear]), *(part[clear] for part in beside)

    def _clear(self, scores: Float[Tensor, "B top"]) -> list[int]:
        """Requests whose scores stand apart in the list."""
        gaps = scores[:, :-1] - scores[:, 1:]
        toss_up = (gaps > 0) & (gaps < _CLEAR)
        return torch.nonzero(~toss_up.any(1))[:, 0].tolist()


def packed(histories: list[np.ndarray]) -> Packed:
    """Requests as a graph takes them: items int64 [H], ends int32 [B]."""
    ends = np.cumsum([len(history) for history in histories]).astype(np.int32)
    return torch.from_numpy(np.concatenate(histories).astype(np.int64)), torch.from_numpy(ends)


def one_by_one(history: Int64[Tensor, " H"], ends: Int[Tensor, " B"], width: int) -> list[Int64[Tensor, "1 L"]]:
    """The newest `width` items of each packed history, at least one, unpadded: as the references take them."""
    parts = history.tensor_split(ends[:-1].long())
    return [(part if len(part) else part.new_zeros(1))[None, -width:] for part in parts]


def served_scores(found: Best, history: Int64[Tensor, "B L"]) -> Float[Tensor, "B top"]:
    """The scores of a list, -1e9 for no item, NaN throughout for a history that holds what can be no item."""
    scores = torch.where(found.items > 0, found.scores, NO_SCORE)
    return torch.where((history >= 0).all(1, keepdim=True), scores, torch.nan)
