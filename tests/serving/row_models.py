"""A click model that reads histories: `rows_history` (kind user_rows), `rows_scorer`, and the ensemble of the two."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.layers import ragged
from training.layers.requests import CANDIDATES, OFFSETS, SCORES, USER_ID, Requests
from training.servable import EnsembleServable, EnsembleStep, Packed, Signature, StepServable, TensorSpec, servable
from training.steps.user_rows import user_rows

NAME = "rows"
USERS = np.array([-(2**62), -5, 3, 4, 2**40, 2**62])
ITEMS = np.arange(1, 25).reshape(6, 4)
SHARES = (np.arange(12, dtype=np.float32) / 8).reshape(6, 2)
ROWS = {"items": ITEMS, "shares": SHARES}
MAX_BATCH_SIZE = 16


class Scorer(nn.Module):
    """Score of a candidate: how often the history holds it, and its last digit by the user's first share."""

    def forward(
        self,
        candidates: Int[Tensor, " C"],
        candidate_offsets: Int[Tensor, " B"],
        items: Int[Tensor, "B L"],
        shares: Float[Tensor, "B S"],
    ) -> Float[Tensor, " C"]:
        candidates = torch.cat([candidates, candidates.new_zeros(1)])
        request = ragged.requests(candidate_offsets, candidates.shape[0])
        seen = (items.index_select(0, request) == candidates[:, None]).float().sum(1)
        return (seen + (candidates % 10).float() * shares.index_select(0, request)[:, 0])[:-1]


def step(rows: dict[str, np.ndarray] = ROWS, users: np.ndarray = USERS) -> StepServable:
    """`rows_history`; requests of known users, and of unknown ones at both ends of int64."""
    requests = Requests(user_ids=users, num_items=30)
    return user_rows(
        f"{NAME}_history", user_ids=users, rows=rows, inputs=(USER_ID, CANDIDATES, OFFSETS), example=requests
    )


def release() -> tuple[Signature, ...]:
    """The three models in the order of publishing."""
    history = step()
    read = {spec.name: spec.name for spec in history.outputs}
    asked = {spec.name: spec.name for spec in (USER_ID, CANDIDATES)}

    def example(batch_size: int, seed: int) -> Packed:
        user_id, candidates, ends = history.example(batch_size, seed)
        return candidates, ends, *history.eager(user_id)

    scorer = servable(
        name=f"{NAME}_scorer",
        module=Scorer(),
        inputs=(
            CANDIDATES,
            OFFSETS,
            TensorSpec(name="items", dtype="int64", shape=(4,)),
            TensorSpec(name="shares", dtype="float32", shape=(2,)),
        ),
        outputs=(SCORES,),
        example=example,
        max_batch_size=MAX_BATCH_SIZE,
    )
    ensemble = EnsembleServable(
        name=NAME,
        inputs=history.inputs,
        outputs=(SCORES,),
        example=history.example,
        eager=lambda user_id, candidates, ends: scorer.eager(candidates, ends, *history.eager(user_id)),
        max_batch_size=MAX_BATCH_SIZE,
        steps=(
            EnsembleStep(model=history.name, inputs=asked, outputs=read),
            EnsembleStep(
                model=scorer.name, inputs={CANDIDATES.name: CANDIDATES.name, **read}, outputs={SCORES.name: SCORES.name}
            ),
        ),
    )
    return history, scorer, ensemble
