"""What is known of a student's vector: a Gaussian, from who he is or from his answers so far.

    id:      q(z_u) = N(e_u + f(e_u, log(1 + n_u)), diag sigma_u^2), of a student of whom training has n_u > 0 answers
    prefix:  q(z_t) = sum_k pi_t[k] N(m_k + f_t, diag sigma_t^2), f_t = f(h_t, log(1 + t)), from t answers before

With shares and modes those of the prior, the second moves from it by f alone: one Gaussian, as in the first, would be
far from a prior that does not yet know the mode, and so draw all modes together.

Legend: B students, T answers, E width of what is said of a student, D width of the vector, *B any axes.
"""

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from training.data.tracing import TracingBatch, TracingData
from training.layers.items import IdEmbedding, known
from training.layers.mixtures import Mixture, Posterior, mixture_kl
from training.layers.rows import rows
from training.schema import Field
from training.warm_start import Axis

_LOG_VARIANCE = (-8.0, 4.0)
_START = -3.0
"""Logarithm of the first variance."""
_MOST = 2**24
"""Answers that are counted."""


class Inference(nn.Module):
    """The network f, which starts at zero, and that of the variance."""

    def __init__(self, width: int, units: int, dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(width + 1, units)
        self.mean, self.log_variance = nn.Linear(units, dim), nn.Linear(units, dim)
        for last, start in ((self.mean, 0.0), (self.log_variance, _START)):
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, start)

    def forward(self, said: Float[Tensor, "*B E"], count: Int[Tensor, "*B"]) -> Posterior:
        """Shift of the mean, and the logarithm of the variance."""
        often = count.to(said.dtype).log1p().unsqueeze(-1)
        inner = torch.relu(self.first(torch.cat((said, often), dim=-1)))
        return Posterior(self.mean(inner), self.log_variance(inner).clamp(*_LOG_VARIANCE))


class Source(Protocol):
    """What a student's distribution follows from: beside his answers one number, which his state keeps."""

    name: str
    """Of the number."""
    most: int

    def prepare(self, data: TracingData, /) -> None:
        """Fills buffers from the training part."""
        ...

    def __call__(self, number: Tensor, described: Tensor, centre: Tensor, /) -> Posterior:
        """Mean, and variance about its modes if it has several, of numbers int64 [*B], what is said of the answers so
        far [*B, E], and the prior's mean [*B, D]."""
        ...

    def start(self, student: Int64[Tensor, " B"], /) -> Int64[Tensor, " B"]:
        """The number before any answer."""
        ...

    def step(self, number: Int64[Tensor, " B"], /) -> Int64[Tensor, " B"]:
        """The number after one more."""
        ...

    def before(self, batch: TracingBatch, /) -> Int64[Tensor, "B 1"] | Int64[Tensor, "B T"]:
        """The number before each answer; only one of each student where it is the same."""
        ...

    def after(self, batch: TracingBatch, /) -> Int64[Tensor, " B"]:
        """The number after all answers."""
        ...

    def divergence(self, posterior: Posterior, prior: Mixture, /) -> Float[Tensor, "*B"]:
        """Upper bound of KL(posterior || prior)."""
        ...

    def samples(self, number: Int64[Tensor, "*B"], /) -> Int64[Tensor, "*B"]:
        """What the distribution is inferred from: the answers that a KL divergence is divided by; 0 where the prior
        takes its place."""
        ...


class ById(nn.Module):
    """One distribution of each student whom training knows. Implements `Source`; the number is who he is."""

    name = "known_as"
    counts: Int64[Tensor, " S+1"]
    """Training answers of each student."""

    def __init__(self, key: Field, units: int, dim: int) -> None:
        super().__init__()
        self.own = IdEmbedding(Axis((key,)), dim)
        nn.init.normal_(self.own.weight, std=0.1)
        self.inference = Inference(dim, units, dim)
        self.register_buffer("counts", torch.zeros(self.own.num_embeddings, dtype=torch.int64))
        self.most = self.own.num_embeddings - 1

    def prepare(self, data: TracingData) -> None:
        students = data.train.batch(np.arange(len(data.train))).student.numpy()
        counts = np.bincount(students[data.train.measured().sample], minlength=len(self.counts))
        self.own.prepare(counts)
        self.counts.copy_(torch.from_numpy(counts))

    def forward(self, number: Tensor, _described: Tensor, _centre: Tensor) -> Posterior:
        own = self.own(number)
        found = self.inference(own, self.samples(number))
        return found._replace(mean=own + found.mean)

    def divergence(self, posterior: Posterior, prior: Mixture) -> Float[Tensor, "*B"]:
        return mixture_kl(posterior, prior)

    def start(self, student: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        return known(student, len(self.counts))

    def step(self, number: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        return number

    def before(self, batch: TracingBatch) -> Int64[Tensor, "B 1"]:
        return self.start(batch.student)[:, None]

    def after(self, batch: TracingBatch) -> Int64[Tensor, " B"]:
        return self.start(batch.student)

    def samples(self, number: Int64[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
        return rows(self.counts, number)


class ByPrefix(nn.Module):
    """A distribution after each answer. Implements `Source`; the number is that of the answers so far."""

    name = "answers"
    most = _MOST

    def __init__(self, width: int, units: int, dim: int) -> None:
        super().__init__()
        self.inference = Inference(width, units, dim)

    def prepare(self, _data: TracingData) -> None:
        """Nothing to fill."""

    def forward(self, number: Tensor, described: Tensor, centre: Tensor) -> Posterior:
        found = self.inference(described, number)
        return found._replace(mean=centre + found.mean)

    def divergence(self, posterior: Posterior, prior: Mixture) -> Float[Tensor, "*B"]:
        """That of mode and vector together: both have the same shares, so modes add nothing; modes are summed first."""
        share, narrow = prior.log_share.exp(), (-prior.log_variance).exp()
        squared = posterior.log_variance.exp() + (posterior.mean - share @ prior.mean).square()
        each = share @ prior.log_variance - posterior.log_variance + squared * (share @ narrow) - 1
        return 0.5 * each.sum(dim=-1)

    def start(self, student: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        return torch.zeros_like(student)

    def step(self, number: Int64[Tensor, " B"]) -> Int64[Tensor, " B"]:
        return (number + 1).clamp(max=self.most)

    def before(self, batch: TracingBatch) -> Int64[Tensor, "B T"]:
        places = torch.arange(batch.questions.shape[1], device=batch.questions.device)
        return places.expand(batch.questions.shape)

    def after(self, batch: TracingBatch) -> Int64[Tensor, " B"]:
        return batch.length.clamp(max=self.most)

    def samples(self, number: Int64[Tensor, "*B"]) -> Int64[Tensor, "*B"]:
        return number + 1
