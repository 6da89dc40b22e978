"""MMQ's second stage: the tokenizer is tuned together with a recommender that reads and predicts its ids.

The task reaches experts and codebooks through the history's ids (index straight-through times the recommender's
embeddings); the ids of targets are hard.

Legend: B users, L history, V valid places, U distinct items of a batch, P positions.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.catalogue import CatalogueData, ItemBatch, ItemSplit
from training.data.sequences import SequenceBatch, SequenceSplit
from training.layers.quantiser import weigh
from training.system import Predict
from training.systems.mmq.model import MMQ
from training.tasks.semantic_ids import judge, metrics, width_read


class SessionSplit(ItemSplit):
    """Items, and the users whose held-out choices say how good all items' ids are to predict with."""

    def __init__(self, vectors: ItemBatch, items: np.ndarray, sessions: SequenceSplit) -> None:
        super().__init__(vectors, items)
        self.sessions = sessions
        self.catalogue = ItemSplit(vectors, np.arange(len(vectors.item)))


def view(data: CatalogueData) -> CatalogueData:
    """The catalogue; its validation and test parts know their users."""
    sequences = data.sequences
    return replace(
        data,
        validation=SessionSplit(data.vectors, data.validation.item, sequences.validation),
        test=SessionSplit(data.vectors, data.test.item, sequences.test),
    )


def behaviour_loss(module: nn.Module, batch: SequenceBatch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
    """L = L_task + 0.5 L_recon + 0.5 L_aux + 0.005 L_ortho; the tokenizer stands still at first."""
    assert isinstance(module, MMQ)
    config = module.config
    module.keep_content_codes()
    # Row 0 is the filling's, so that every number of a batch has its place.
    ids, places = torch.cat([batch.items, batch.targets]).unique(return_inverse=True)
    content = module.content_of(ids)
    learns = done >= config.frozen_share
    with torch.set_grad_enabled(learns):
        encoded = module.encode(content)
        index = module.index(encoded.chosen)
    items = weigh(index, module.recommender.table).sum(1)
    history, targets = places.split(len(batch.items))
    states = module.recommender.states(items, history, batch.length)
    order = packed_order(batch.length)
    wanted = targets.flatten()[order]
    task = module.recommender.loss(states, encoded.chosen.codes[wanted]).mean()
    logged = {"task": task.detach()}
    if not learns:
        return task, logged
    recon, aux = module.reconstruct(content, encoded)
    value = task + config.behaviour_recon * (recon + aux) + config.orthogonality * module.orthogonality()
    return value, {**logged, "recon": recon.detach(), "aux": aux.detach()}


def packed_order(length: Int64[Tensor, " B"]) -> Int64[Tensor, " V"]:
    """Numbers of the valid places of [B, L], L the longest, in the order of a packed sequence: first places first,
    longest histories first, equal ones as they stand."""
    order = torch.sort(length.cpu(), descending=True).indices
    longest = int(length.max())
    numbers = order[None, :] * longest + torch.arange(longest)[:, None]
    valid = torch.arange(longest)[:, None] < length.cpu()[order][None, :]
    return numbers[valid].to(length.device)


class Task(nn.Module):
    """Per user the cross-entropy of the held-out item's ids."""

    codes: Int64[Tensor, "N P"]

    def __init__(self, module: MMQ, codes: Int64[Tensor, "N P"]) -> None:
        super().__init__()
        self.recommender = module.recommender
        self.register_buffer("codes", codes.to(module.content_codes.device))

    def forward(self, batch: SequenceBatch) -> Float[Tensor, " B"]:
        hard = nn.functional.one_hot(self.codes, self.recommender.table.shape[1]).to(self.recommender.table.dtype)
        items = weigh(hard, self.recommender.table).sum(1)
        order = packed_order(batch.length)
        losses = self.recommender.loss(
            self.recommender.states(items, batch.items, batch.length), self.codes[batch.targets.flatten()[order]]
        )
        newest = order % batch.items.shape[1] == (batch.length[order // batch.items.shape[1]] - 1)
        answers = losses.new_zeros(len(batch.length))
        return answers.index_put((order[newest] // batch.items.shape[1],), losses[newest])


def evaluate(module: MMQ, predict: Predict, split: SessionSplit) -> dict[str, float]:
    """Of the items; once behaviour counts also the task's loss and `churn`, the share of items with any changed id."""
    judged = judge(module, predict, split)
    measured = metrics(module, judged, width_read(module, split))
    before = module.content_codes.cpu().numpy()
    if (before < 0).any():
        return measured
    codes = torch.from_numpy(judge(module, predict, split.catalogue).codes)
    task = predict(Task(module, codes), split.sessions).mean(dtype=np.float64)
    churn = (judged.codes != before[split.item]).any(1).mean()
    return {**measured, "task_loss": float(task), "churn": float(churn)}
