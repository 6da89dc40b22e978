"""Cognition modes: how much of each one a student's answers so far show, and the prior that follows.

Equations are numbered here; everything at step t is from the answers before it:

    p(z | t) = sum_k pi_t[k] N(m_k, diag s_k^2)                                                    (1)
    softmax:   pi_t = softmax_k(cos(G h_t, c_k) / tau)                                             (2)
    routing:   b_jk = <x_j, c_k>; three times: w_j = softmax_k(b_j); v_k = squash(sum_j w_jk x_j);
               b_jk += <x_j, v_k>; pi_t[k] = |v_k| / sum |v|                                       (3)

Legend: B students, T answers, K modes, E width of what is said of a student, R newest answers, D width, *B any axes.
"""

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.answers import AnswerCounts, AnswerEmbedding
from training.layers.mixtures import Mixture
from training.layers.rows import rows_of_each
from training.layers.tracer import Concepts
from training.schema import Schema, size_of, width_of

_ITERATIONS = 3
_LEAST = 1e-6
"""Below every length that answers lead to: of no answers all modes have the same."""
_START = -2.0
"""Logarithm of the first variance of every mode."""


class Extractor(Protocol):
    """Finds modes, from what is said of all answers and from the newest ones, of which it says how many it wants."""

    window: int

    def prepare(self, data: TracingData, /) -> None:
        """Fills buffers from the training part."""
        ...

    def __call__(self, described: Float[Tensor, "B E"], /, *newest: Int64[Tensor, "B R"]) -> Float[Tensor, "B K"]:
        """Logarithms of the shares of modes: by what is said, and where answers are wanted by the newest ones, the
        newest of all last: questions, 0 where there is no answer; 0 again there, 1 wrong, 2 right."""
        ...

    def before(self, batch: TracingBatch, described: Float[Tensor, "B T E"], /) -> Float[Tensor, "B T K"]:
        """The same before each answer of a batch."""
        ...


class Likeness(nn.Module):
    """Eq. (2). Implements `Extractor`."""

    window = 0

    def __init__(self, width: int, dim: int, modes: int, temperature: float) -> None:
        super().__init__()
        self.turned, self.modes = nn.Linear(width, dim), nn.Parameter(torch.randn(modes, dim))
        self.temperature = temperature

    def prepare(self, _data: TracingData) -> None:
        """Nothing to fill."""

    def before(self, _batch: TracingBatch, described: Float[Tensor, "B T E"]) -> Float[Tensor, "B T K"]:
        return self(described)

    def forward(self, described: Float[Tensor, "*B E"]) -> Float[Tensor, "*B K"]:
        turned, modes = (nn.functional.normalize(one, dim=-1) for one in (self.turned(described), self.modes))
        return torch.log_softmax(turned @ modes.T / self.temperature, dim=-1)


class Routing(nn.Module):
    """Eq. (3) over the newest answers. Implements `Extractor`. With one W for all modes and b = 0 they would stay equal
    for ever, so agreement starts from c_k; W is in the vectors of answers, which are its own."""

    def __init__(self, schema: Schema, dim: int, modes: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.concepts = Concepts(size_of(schema.key("item")), width_of(schema.only("concept", "item")))
        self.answers = AnswerEmbedding(schema, dim)
        self.modes = nn.Parameter(torch.randn(modes, dim))

    def prepare(self, data: TracingData) -> None:
        self.concepts.prepare(data.concepts)
        self.answers.prepare(AnswerCounts.of(data))

    def forward(
        self, _described: Tensor, asked: Int64[Tensor, "B R"], answered: Int64[Tensor, "B R"]
    ) -> Float[Tensor, "B K"]:
        return self.routed(self._vectors(asked, (answered - 1).clamp(min=0)), answered > 0)

    def before(self, batch: TracingBatch, _described: Tensor) -> Float[Tensor, "B T K"]:
        vectors, size = self._vectors(batch.questions, batch.responses), self.window
        padded = nn.functional.pad(vectors, (0, 0, size, 0))[:, :-1]
        places = torch.arange(size, device=vectors.device)
        there = places >= size - torch.arange(vectors.shape[1], device=vectors.device)[:, None]  # (T, R)
        return self.routed(padded.unfold(1, size, 1).transpose(2, 3), there)

    def routed(self, vectors: Float[Tensor, "*B R D"], there: Bool[Tensor, "*B R"]) -> Float[Tensor, "*B K"]:
        """Eq. (3), of the answers that there are."""
        agreed, present = vectors @ self.modes.T, there.unsqueeze(-1)
        squared = agreed.new_zeros(())
        for _ in range(_ITERATIONS):
            weights = torch.softmax(agreed, dim=-1) * present
            total = weights.transpose(-1, -2) @ vectors  # (*B, K, D)
            squared = total.square().sum(dim=-1) + _LEAST**2
            squashed = total * (squared.sqrt() / (1 + squared)).unsqueeze(-1)
            agreed = agreed + vectors @ squashed.transpose(-1, -2)
        return torch.log_softmax((squared / (1 + squared)).log(), dim=-1)

    def _vectors(self, asked: Int[Tensor, "*B"], response: Int[Tensor, "*B"]) -> Float[Tensor, "*B D"]:
        return self.answers(asked, response, self.concepts(asked))


class Prior(nn.Module):
    """Eq. (1): an extractor, and the Gaussians that all students share."""

    def __init__(self, extractor: Likeness | Routing, dim: int, modes: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.mean = nn.Parameter(0.3 * torch.randn(modes, dim))
        self.log_variance = nn.Parameter(torch.full((modes, dim), _START))

    def mixture(self, log_share: Float[Tensor, "*B K"]) -> Mixture:
        """Of students with these shares."""
        return Mixture(log_share, self.mean, self.log_variance)

    def centre(self, log_share: Float[Tensor, "*B K"]) -> Float[Tensor, "*B D"]:
        """Mean of the mixture."""
        return log_share.exp() @ self.mean


def ring(batch: TracingBatch, questions: Int[Tensor, "B T"], size: int) -> tuple[Tensor, Tensor]:
    """The newest answers after all of a batch, whose questions are known ones, as an extractor takes them."""
    places = batch.length[:, None] - size + torch.arange(size, device=batch.length.device)
    there, inside = places >= 0, places.clamp(min=0)
    columns = (torch.where(there, rows_of_each(one, inside), 0) for one in (questions, batch.responses + 1))
    asked, answered = columns
    return asked, answered


def moved(ring: Int64[Tensor, "B R"], new: Int64[Tensor, " B"]) -> Int64[Tensor, "B R"]:
    """With one more."""
    return torch.cat((ring[:, 1:], new[:, None]), dim=1)
