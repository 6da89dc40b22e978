"""Other histories that the same student might have had: what the contrast of SFKT compares (our design).

Of each student one of four changes is drawn. All change the answers themselves; whoever counts them or reads their
window does so afterwards, so that no count remembers what was changed.

    mask      some answers are taken out, as if they had not been given
    crop      a piece of neighbours is left
    replace   some questions become others of the same concepts, about as difficult: not harder where the answer was
              right, not easier where it was wrong, by the training part
    swap      some neighbours change places

Legend: B students, T answers, Q questions, W concepts of a question.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from training.layers.answers import AnswerCounts, difficulties
from training.layers.rows import rows

MASKED = 0.15, 0.3
"""Share of the answers that are taken out, from a student to another."""
KEPT = 0.6
"""Least share of the answers that a crop leaves."""
CHANGED = 0.3
"""Share of the answers whose question is replaced, and of the neighbours that are swapped."""
_NEAR = 3
"""Most questions of the same concepts that lie between one and its replacement, by difficulty, and the latter."""


class History(NamedTuple):
    """Answers of students, the oldest first, 0 beyond the length."""

    questions: Int64[Tensor, "B T"]
    responses: Int64[Tensor, "B T"]
    length: Int64[Tensor, " B"]

    @property
    def there(self) -> Bool[Tensor, "B T"]:
        """Which places have an answer."""
        return torch.arange(self.questions.shape[1], device=self.length.device) < self.length[:, None]


class Peers(nn.Module):
    """The questions of the same concepts as one, by how difficult they are in the training part."""

    order: Int64[Tensor, " Q"]
    """Questions by their concepts, then by difficulty, the easiest first."""
    place: Int64[Tensor, " Q"]
    first: Int64[Tensor, " Q"]
    last: Int64[Tensor, " Q"]

    def __init__(self, num_questions: int) -> None:
        """`num_questions` with the unknown one."""
        super().__init__()
        for name in ("order", "place", "first", "last"):
            self.register_buffer(name, torch.arange(num_questions))

    def prepare(self, concepts: np.ndarray, counts: AnswerCounts) -> None:
        """Takes the concepts of questions, int64 [Q, W], in any order. The unknown question has no peers, and nor has
        one that training did not ask, of which nothing is known."""
        group = np.unique(np.sort(concepts, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
        alone = (counts.question.sum(axis=0) == 0) | (concepts == 0).all(axis=1)
        group[alone] = group.max() + 1 + np.flatnonzero(alone)
        order = np.lexsort((difficulties(counts), group))
        place = np.argsort(order)
        sizes = np.bincount(group)
        ends = np.cumsum(sizes)
        for name, values in zip(
            ("order", "place", "first", "last"), (order, place, (ends - sizes)[group], ends[group] - 1), strict=True
        ):
            self.get_buffer(name).copy_(torch.from_numpy(values))

    def forward(self, questions: Int64[Tensor, "B T"], responses: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
        """One drawn for each question: not harder where the answer was right, not easier where it was wrong."""
        away = torch.randint(1, _NEAR + 1, questions.shape, device=questions.device)
        place = rows(self.place, questions) + torch.where(responses > 0, -away, away)
        return rows(
            self.order, torch.minimum(torch.maximum(place, self._of("first", questions)), self._of("last", questions))
        )

    def _of(self, name: str, questions: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
        return rows(self.get_buffer(name), questions)


def masked(history: History) -> History:
    """Without some answers."""
    least, most = MASKED
    share = least + (most - least) * torch.rand_like(history.length[:, None], dtype=torch.float32)
    return _kept(history, torch.rand(history.questions.shape, device=share.device) >= share)


def cropped(history: History) -> History:
    """A piece of neighbours."""
    share = KEPT + (1 - KEPT) * torch.rand_like(history.length, dtype=torch.float32)
    length = (share * history.length).ceil().long()
    first = (torch.rand_like(share) * (history.length - length + 1)).long()
    places = torch.arange(history.questions.shape[1], device=length.device)
    return _kept(history, (places >= first[:, None]) & (places < (first + length)[:, None]))


def replaced(history: History, peers: Peers) -> History:
    """With some other questions."""
    chosen = torch.rand(history.questions.shape, device=history.length.device) < CHANGED
    others = peers(history.questions, history.responses)
    return history._replace(questions=torch.where(chosen, others, history.questions))


def swapped(history: History) -> History:
    """With some neighbours the other way round."""
    width = history.questions.shape[1]
    odd = torch.randint(2, history.length[:, None].shape, device=history.length.device)
    places = torch.arange(width, device=odd.device) - odd
    partner = (places ^ 1) + odd
    lower = torch.minimum(places + odd, partner)
    coin = torch.rand(history.questions.shape, device=odd.device) < CHANGED
    possible = (lower >= 0) & (torch.maximum(places + odd, partner) < history.length[:, None])
    moved = possible & coin.gather(1, lower.clamp(min=0))
    index = torch.where(moved, partner, places + odd)
    return history._replace(questions=history.questions.gather(1, index), responses=history.responses.gather(1, index))


def augmented(history: History, peers: Peers) -> History:
    """Each student's history by one of the four changes."""
    ways = masked(history), cropped(history), replaced(history, peers), swapped(history)
    drawn = torch.randint(len(ways), history.length.shape, device=history.length.device)
    columns = zip(*ways, strict=True)
    return History(*(_of_each(torch.stack(column), drawn) for column in columns))


def _of_each(ways: Tensor, drawn: Int64[Tensor, " B"]) -> Tensor:
    """Of tensors [ways, B, ...] that of each student."""
    return ways[drawn, torch.arange(len(drawn), device=drawn.device)]


def _kept(history: History, kept: Bool[Tensor, "B T"]) -> History:
    """The answers to keep, moved together."""
    kept = kept & history.there
    order = (~kept).to(torch.int8).argsort(dim=1, stable=True)
    length = kept.sum(dim=1)
    found = History(history.questions.gather(1, order), history.responses.gather(1, order), length)
    there = found.there
    return History(torch.where(there, found.questions, 0), torch.where(there, found.responses, 0), length)
