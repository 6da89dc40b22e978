"""What REG4Rec serves: a history -> ranked items with scores, paths, categories and the share that was pruned.

    reg4rec   history, theta -> items, scores, paths, categories, pruned

Legend: B requests, H history items packed over them, K beams, M codebooks, D words.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from training.data.sequences import SequenceData
from training.servable import Packed, Servable, TensorSpec, servable
from training.systems.reg4rec.config import Config
from training.systems.reg4rec.model import Reg4Rec
from training.systems.reg4rec.served import Recommender

MAX_HISTORY = 1_000
"""Items of one request; the model reads the newest `max_length` of them."""
MAX_BATCH_SIZE = 16
"""Requests of a run: each has K paths."""
HISTORY = TensorSpec(
    name="history", dtype="int64", shape=("history",), ragged=True, minimum=0, max_elements=MAX_HISTORY
)
OFFSETS = TensorSpec(name="history_offsets", dtype="int32", shape=(), of="history")
THETA = TensorSpec(name="theta", dtype="float32", shape=(1,), minimum=0, maximum=1)
_THETAS = (0.0, 0.5, 1.0, 0.25)
_UNKNOWN_ITEM = 2**40
_CLEAR = 1e-5
"""Two listed scores that differ by less are a toss-up between one library's sums and another's."""
_SPARE = 4
"""Users drawn for each one needed."""


def outputs(config: Config) -> tuple[TensorSpec, ...]:
    """Lists are as long as there are beams; item 0 (score -1e9, path -1) fills what a request has fewer of. A step of a
    path is codebook and word."""
    steps = (config.beams, config.shape.codebooks)
    return (
        TensorSpec(name="items", dtype="int64", shape=(config.beams,)),
        TensorSpec(name="scores", dtype="float32", shape=(config.beams,)),
        TensorSpec(name="paths", dtype="int32", shape=(*steps, 2)),
        TensorSpec(name="categories", dtype="int32", shape=steps),
        TensorSpec(name="pruned", dtype="float32", shape=(1,)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Requests:
    """Seeded requests of real histories that a rounding error does not decide; the first ones are the edge cases.

    Beam search compares sums of logarithms. Where two of them are nearer than fp32 can tell, libraries differ in the
    order, and each is right; such requests prove nothing, so none is drawn.
    """

    data: SequenceData
    answer: Callable[..., Packed]
    max_length: int

    def __call__(self, batch_size: int, seed: int) -> Packed:
        """Histories int64 [H], their ends int32 [B], theta float32 [B, 1].

        One item alone, an empty history, an unknown item, a history longer than what is read, then users as they come.
        """
        random = np.random.default_rng(seed)
        users = random.choice(len(self.data.sequences), 3 + _SPARE * batch_size)
        histories = [self.data.sequences[user] for user in users]
        known = histories[2]
        edges = [
            histories[0][:1],
            histories[0][:0],
            np.append(histories[1], _UNKNOWN_ITEM),
            np.resize(known, self.max_length + len(known)),
        ]
        pool = [*edges, *histories[3:]]
        thetas = np.resize(_THETAS, len(pool))
        clear = self._clear(pool, thetas)[:batch_size]
        if len(clear) < batch_size:
            raise ValueError(
                f"only {len(clear)} of {len(pool)} requests have scores that differ by {_CLEAR} or more; train the "
                "model before it is exported"
            )
        return packed([pool[n] for n in clear], thetas[clear])

    def _clear(self, histories: list[np.ndarray], thetas: np.ndarray) -> list[int]:
        """Requests whose scores stand apart in the list."""
        _, scores, *_ = self.answer(*packed(histories, thetas))
        gaps = scores[:, :-1] - scores[:, 1:]
        toss_up = (gaps > 0) & (gaps < _CLEAR)
        return [int(n) for n in torch.nonzero(~toss_up.any(1))[:, 0]]


def packed(histories: list[np.ndarray], thetas: np.ndarray) -> Packed:
    """Requests as the graph takes them."""
    ends = np.cumsum([len(history) for history in histories]).astype(np.int32)
    flat = np.concatenate(histories).astype(np.int64)
    return torch.from_numpy(flat), torch.from_numpy(ends), torch.from_numpy(thetas.astype(np.float32)[:, None])


def servables(name: str, model: Reg4Rec, config: Config, data: SequenceData) -> tuple[Servable]:
    """The one model of a release of `name`."""
    module = Recommender(copy.deepcopy(model)).eval()
    plain = servable(
        name=name,
        module=module,
        inputs=(HISTORY, OFFSETS, THETA),
        outputs=outputs(config),
        example=lambda batch_size, seed: (),
        max_batch_size=MAX_BATCH_SIZE,
    )
    requests = Requests(data=data, answer=plain.eager, max_length=config.max_length)
    return (replace(plain, example=requests),)
