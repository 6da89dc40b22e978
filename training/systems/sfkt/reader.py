"""What SFKT makes of a student's past for a question: the total term and the window, mixed by a gate.

Legend: B students, R questions, S answers that are looked at, V answers of the window, W concepts of a question, D
width.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.layers.answer_window import AnswerWindow
from training.layers.answers import AnswerCounts, AnswerEmbedding
from training.layers.tracer import Concepts
from training.schema import Schema
from training.systems.sfkt.config import Config
from training.systems.sfkt.totals import Past, TotalTerm

_CHUNK = 64
"""Places whose windows are looked at in one go."""
_KIN = 4.0
"""What the last head adds for a shared concept before training, and the first one nothing."""


class Asked(NamedTuple):
    """Questions."""

    vectors: Float[Tensor, "B R D"]
    concepts: Int64[Tensor, "B R W"]


class Window(nn.Module):
    """What a question takes from the newest answers, where it is asked for with a bias of each head to those that share
    a concept with it."""

    def __init__(self, config: Config, schema: Schema, concepts: Concepts) -> None:
        """`concepts` are those of the questions."""
        super().__init__()
        self.concepts = concepts
        self.answers = AnswerEmbedding(schema, config.dim)
        self.newest = AnswerWindow(config.dim, config.heads, config.window)
        self.kin = nn.Parameter(torch.linspace(0, _KIN, config.heads)) if config.kin else None
        self.norm, self.dropout = nn.LayerNorm(config.dim), nn.Dropout(config.dropout)

    def sequence(
        self, asked: Asked, questions: Int64[Tensor, "B T"], responses: Int64[Tensor, "B T"]
    ) -> Float[Tensor, "B T D"]:
        """Of each place, whose question is asked, by the answers before it."""
        concepts = self.concepts(questions)
        answered = self.answers(questions, responses, concepts)
        taken = []
        for places, seen, ago in self.newest.chunks(questions.shape[1], _CHUNK, questions.device):
            kin = self._kin(concepts[:, places], concepts[:, seen])
            taken.append(self.newest(asked.vectors[:, places], answered[:, seen], ago, kin))
        return self._local(asked, torch.cat(taken, dim=1))

    def ring(
        self,
        asked: Asked,
        questions: Int64[Tensor, "B V"],
        responses: Int64[Tensor, "B V"],
        answers: Float[Tensor, "B 1"],
    ) -> Float[Tensor, "B R D"]:
        """Of questions after all answers; `answers` says how many there were, of which the ring has the newest."""
        concepts = self.concepts(questions)
        answered = self.answers(questions, responses, concepts)
        kin = self._kin(asked.concepts, concepts)
        return self._local(asked, self.newest.of_ring(asked.vectors, answered, answers, kin))

    def _kin(self, asked: Int64[Tensor, "B R W"], answered: Int64[Tensor, "B S W"]) -> Float[Tensor, "B H R S"] | None:
        if self.kin is None:
            return None
        pairs = [
            (one[:, :, None] == other[:, None]) & (one > 0)[:, :, None]
            for one in asked.unbind(dim=-1)
            for other in answered.unbind(dim=-1)
        ]
        shared = torch.stack(pairs).any(dim=0).to(self.kin.dtype)
        return shared[:, None] * self.kin[:, None, None]

    def _local(self, asked: Asked, taken: Float[Tensor, "B R D"]) -> Float[Tensor, "B R D"]:
        return self.norm(asked.vectors + self.dropout(taken))


class Reader(nn.Module):
    """The two terms, or the one of them that is not left out, and the logit."""

    def __init__(self, config: Config, schema: Schema, concepts: Concepts) -> None:
        super().__init__()
        dim = config.dim
        self.total = None if config.past == "window" else TotalTerm(schema.only("concept", "item"), dim)
        self.window = None if config.past == "totals" else Window(config, schema, concepts)
        self.gate = nn.Linear(3 * dim + 1, dim) if config.past == "both" else None
        self.out = nn.Sequential(nn.Linear(3 * dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, 1))

    def prepare(self, counts: AnswerCounts) -> None:
        """Says what training met."""
        if self.total is not None:
            self.total.prepare(counts)
        if self.window is not None:
            self.window.answers.prepare(counts)

    def fused(self, asked: Asked, past: Past, local: Float[Tensor, "B R D"] | None) -> Float[Tensor, "B R D"]:
        """Total term and `local`, each by its share, which may follow from how many answers there were; `local` is what
        the window gives, if there is one."""
        total = None if self.total is None else self.total(past, asked.concepts)
        if total is None or local is None:
            only = local if total is None else total
            assert only is not None
            return only
        assert self.gate is not None
        number = past.totals.sum(dim=-1, keepdim=True).log1p()
        share = self.gate(torch.cat((total, local, asked.vectors, number), dim=-1)).sigmoid()
        return share * total + (1 - share) * local

    def logit(self, asked: Asked, fused: Float[Tensor, "B R D"]) -> Float[Tensor, "B R"]:
        """Of a right answer."""
        return self.out(torch.cat((fused, asked.vectors, fused * asked.vectors), dim=-1))[..., 0]
