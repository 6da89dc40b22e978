"""A module of the task `next_item` that is asked by user: `<name>_list`.

It lists the best of all items but those of the history; out of the best `_WIDER` times as many as are wanted, what the
request excludes, what lacks a wanted value and what the user met longer ago are left out. So a filter that leaves
little may leave a list that is not full.

Legend: B requests, S events of a history, L items that the module reads, M items that it lists, K those that remain.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from serving.histories.reading import ITEMS as HISTORY
from serving.histories.reading import LENGTH, VALUES
from training.data.sequences import SequenceData, choices
from training.layers.click_release import bounded
from training.layers.folded import Foldable, Folded
from training.layers.item_filters import Filters, filter_specs, values_of
from training.layers.listing import Best
from training.layers.served_lists import MAX_BATCH_SIZE
from training.layers.user_history import ReadHistory, counted
from training.retriever.by_user import Before, Lists
from training.servable import NO_SCORE, Packed, Servable, TensorSpec, servable

_WIDER = 4


class UserList(nn.Module):
    """Rows of users and filters -> lists."""

    def __init__(self, module: nn.Module, data: SequenceData, values: dict[str, np.ndarray], top: int) -> None:
        super().__init__()
        self.module, self.top = module, top
        self.num_items = len(data.interactions.items) - 1
        self.read = ReadHistory(counted(data.interactions, choices(data.interactions)), module.max_length)  # pyright: ignore[reportArgumentType] - of the task's protocol
        self.filters = Filters(values, NO_SCORE)
        self.register_buffer("zero", torch.zeros(1, self.num_items + 1))

    def forward(self, items: Tensor, length: Tensor, *rest: Tensor) -> Packed:
        """Items int64 [B, K], best first, 0 where there are no more, and scores [B, K], of `history_items` [B, S],
        `history_length` [B, 1] and, where they count, `history_values`, then `excluded`, its offsets, `only_...`."""
        values, rest = (rest[0], rest[1:]) if self.read.by_value else (None, rest)
        history, number = self.read(items, length, values)
        found = self._best(history, number.clamp(min=1))
        zeros = self.get_buffer("zero").expand(items.shape[0], -1)
        allowed = self.filters(zeros, items, rest[0], rest[1], rest[2:]).gather(1, found.items) > NO_SCORE
        scores = torch.where(allowed & found.scores.isfinite(), found.scores, NO_SCORE)
        best, place = torch.topk(scores, self.top, dim=1)
        return torch.where(best > NO_SCORE, found.items.gather(1, place), 0), best

    def _best(self, history: Tensor, number: Tensor) -> Best:
        most = min(_WIDER * self.top, self.num_items)
        return self.module.best(history, number, most)  # pyright: ignore[reportCallIssue] - of the task's protocol


def lists(name: str, module: nn.Module, data: SequenceData, top: int, before: Before) -> Lists:
    """As `training.retriever.by_user.Lists`, on a copy of the module."""
    module = copy.deepcopy(module).eval()
    module = Folded(module).eval() if isinstance(module, Foldable) else module
    top = min(top, len(data.interactions.items) - 2)
    plain, wider = (_list(f"{name}_list", module, data, size, before) for size in (top, top + 1))
    return Lists(parts=(plain,), wider=wider)


def _list(name: str, module: nn.Module, data: SequenceData, top: int, before: Before) -> Servable:
    form = UserList(module, data, values_of(data.interactions), top)
    rows = {spec.name: bounded(spec) for spec in before.rows}
    inputs = [rows[HISTORY], rows[LENGTH], *([rows[VALUES]] if form.read.by_value else [])]
    inputs += filter_specs(data.interactions)
    return servable(
        name=name,
        module=form,
        inputs=inputs,
        outputs=(
            TensorSpec(name="items", dtype="int64", shape=(top,), ids=data.interactions.ids.get("item")),
            TensorSpec(name="scores", dtype="float32", shape=(top,)),
        ),
        example=before.example([spec.name for spec in inputs]),
        max_batch_size=MAX_BATCH_SIZE,
    )
