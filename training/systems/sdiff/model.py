"""S-Diff: a user's items as a spectrum, noise by frequency, and a few steps back from the observed user.

Legend: B users of a batch, L history, N items, K frequencies, H hidden, T levels of noise.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.retrieval import RetrievalBatch, RetrievalData
from training.data.user_rows import user_rows
from training.layers.history_set import as_set
from training.schema import Schema, size_of
from training.systems.sdiff.denoiser import Denoiser
from training.systems.sdiff.samples import Met
from training.systems.sdiff.schedule import isotropic, schedule
from training.systems.sdiff.spectrum import spectrum
from training.tasks.retrieval import RetrievalConfig
from training.tasks.retrieval_served import MAX_HISTORY


@dataclass(frozen=True, kw_only=True)
class Config(RetrievalConfig):
    """Sizes, noise, decoding and training; bound, dropout, guidance, rate and decay were chosen on the validation part
    of ml-1m-clean, where one step finds as much as five."""

    max_length: int = MAX_HISTORY
    """Newest items of a history that count: all, where a request can hold them."""
    frequencies: int = 400
    """Lowest frequencies that are kept, or as many as there are items."""
    hidden: int = 400
    """Units of the denoiser."""
    levels: int = 5
    """Levels of noise that training knows."""
    steps: int = 5
    """Unrolled steps from the last level to none; 1 is the control that takes the first guess."""
    last: float = 1.5
    """Time of the last level: how far heat has flown."""
    bound: float = 3.0
    """Noise at the most, in units of the coefficients' spread over users."""
    noise: Literal["graph", "isotropic"] = "graph"
    """Noise by frequency, or the control: as much for all frequencies, of equal energy."""
    decoder: Literal["denoiser", "low-pass"] = "denoiser"
    """Maker of the scores; low-pass is the control that keeps the lowest frequencies as they are, and trains
    nothing."""
    conditioned: bool = True
    """Condition of the denoiser on what the user met; the control sees the noisy spectrum alone."""
    untold: float = 0.1
    """Share of the training users whose condition is not told, for guidance."""
    guidance: float = 0.0
    """Way of a step beyond the conditioned guess, away from the one without; 0 asks for the first alone."""
    dropout: float = 0.3
    """Share of a user's items that training leaves out of what is observed: they are what is to be found."""
    epochs: int = 40
    learning_rate: float = 2e-3
    weight_decay: float = 1.0
    patience: int = 5
    """Epochs without a better recall20 on validation before training stops."""

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= self.levels:
            raise ValueError(f"steps ({self.steps}) must be 1 to levels ({self.levels})")
        if not 0 <= self.dropout < 1 or not 0 <= self.untold < 1:
            raise ValueError(f"dropout ({self.dropout}) and untold ({self.untold}) must be in [0, 1)")
        if self.frequencies < 1 or self.last <= 0:
            raise ValueError(f"frequencies ({self.frequencies}) must be at least 1, last ({self.last}) above 0")
        if self.guidance and not (self.conditioned and self.untold):
            raise ValueError(f"guidance is {self.guidance}, for which conditioned and untold must be on")


class SDiff(nn.Module):
    """Implements `training.layers.towers.Towers`: decoded spectra, and the eigenvectors."""

    frequencies: Float[Tensor, " K"]
    spread: Float[Tensor, " K"]
    """Of each coefficient over users."""
    root: Float[Tensor, "N+1 1"]
    """Square root of the items' events, 1 where there are none."""
    signal: Float[Tensor, "T+1 K"]
    noise: Float[Tensor, "T+1 K"]
    kept: Float[Tensor, "T+1 K"]

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config, num_rows = config, size_of(schema.key("item"))
        size = min(config.frequencies, num_rows - 1)
        self.basis = nn.Parameter(torch.zeros(num_rows, size), requires_grad=False)
        """Of the weights that go with it: another decomposition has other signs and turns."""
        self.denoiser = Denoiser(num_rows - 1, size, config.hidden, config.levels)
        self.register_buffer("frequencies", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("root", torch.ones(num_rows, 1))
        for name in ("signal", "noise", "kept"):
            self.register_buffer(name, torch.zeros(config.levels + 1, size))

    def prepare(self, data: RetrievalData) -> None:
        """Decomposes the graph of the training part, and lays the noise along it."""
        config, met = self.config, user_rows(data)[:, 1:]
        found = spectrum(met, len(self.frequencies))
        root = np.sqrt(np.maximum(np.asarray(met.sum(axis=0)).ravel(), 1))[:, None]
        spectra = (met @ (found.basis / root))[np.diff(met.indptr) > 0]
        for own, value in ((self.basis, found.basis), (self.root, root)):
            own[1:] = torch.from_numpy(value).float()
        self.frequencies.copy_(torch.from_numpy(found.frequencies))
        self.spread.copy_(torch.from_numpy(spectra.std(axis=0)).clamp(min=1e-6))
        planned = schedule(torch.from_numpy(found.frequencies), config.levels, config.last, config.bound)
        planned = planned if config.noise == "graph" else isotropic(planned)
        for name, value in planned._asdict().items():
            getattr(self, name).copy_(value)

    def users(self, batch: RetrievalBatch) -> Float[Tensor, "B K"]:
        """Spectra, decoded from what was met."""
        return self.decode(as_set(batch.history, self.basis))

    def items(self) -> Float[Tensor, "N+1 K"]:
        """The eigenvectors, each item's by the root of its events."""
        return self.root * self.basis

    def observed(self, met: Float[Tensor, "B N"]) -> Float[Tensor, "B K"]:
        """The spectrum of what was met, scaled as the graph's matrix scales it."""
        return met @ (self.basis / self.root)[1:]

    def decode(self, met: Float[Tensor, "B N"]) -> Float[Tensor, "B K"]:
        """From the observed user at the last level, without noise, to level 0."""
        if self.config.decoder == "low-pass":
            return self.observed(met)
        levels = _levels(self.config)
        condition, noisy = self.condition(met), self.signal[-1] * self.observed(met)
        for before, after in pairwise(levels):
            noisy = self.step(noisy, self.guessed(noisy, condition, before), before, after)
        return noisy

    def guessed(self, noisy: Float[Tensor, "B K"], condition: Float[Tensor, "B H"], level: int) -> Float[Tensor, "B K"]:
        """The spectrum without noise, with guidance."""
        levels = torch.full((noisy.shape[0],), level, device=noisy.device)
        told, guidance = self.without_noise(noisy, condition, levels), self.config.guidance
        if not guidance:
            return told
        null = self.denoiser.null.expand(noisy.shape[0], -1)
        return (1 + guidance) * told - guidance * self.without_noise(noisy, null, levels)

    def without_noise(self, noisy: Float[Tensor, "B K"], condition: Tensor, levels: Tensor) -> Float[Tensor, "B K"]:
        """What the denoiser says."""
        return self.spread * self.denoiser(noisy / self.spread, condition, levels)

    def condition(self, met: Float[Tensor, "B N"]) -> Float[Tensor, "B H"]:
        """What the denoiser is told of the user."""
        if not self.config.conditioned:
            return self.denoiser.null.expand(met.shape[0], -1)
        return self.denoiser.condition(met)

    def step(self, noisy: Tensor, guess: Tensor, before: int, after: int) -> Float[Tensor, "B K"]:
        """From one level to a lower one: the noise that the guess implies, shrunk as the schedule shrinks it."""
        share = self.kept[after] / self.kept[before]
        return self.signal[after] * guess + share * (noisy - self.signal[before] * guess)

    def loss(self, batch: Met, _done: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error of the spectrum that is guessed at a level by lot, over the items that were not observed: who
        is asked for those that were learns to repeat them."""
        config, met = self.config, as_set(batch.history, self.basis)
        observed = nn.functional.dropout(met, config.dropout)
        levels = torch.randint(1, config.levels + 1, (len(met),), device=met.device)
        drawn = torch.randn(len(met), self.spread.shape[0], device=met.device)
        noisy = self.noised(self.observed(observed), levels, drawn)
        untold = torch.rand(len(met), device=met.device) < config.untold
        condition = self.denoiser.untold(self.condition(observed), untold)
        scores = self.without_noise(noisy, condition, levels) @ self.items()[1:].T
        return ((scores - met) * (observed == 0)).square().sum(dim=1).mean(), {}

    def noised(
        self, spectra: Float[Tensor, "B K"], levels: Int[Tensor, " B"], drawn: Float[Tensor, "B K"]
    ) -> Float[Tensor, "B K"]:
        """Spectra at levels, with standard normal noise that was drawn."""
        return self.signal[levels] * spectra + self.noise[levels] * self.unit() * drawn

    def unit(self) -> Float[Tensor, ""]:
        """Of noise: the spread of coefficients, as the root of the mean of the squares."""
        return self.spread.square().mean().sqrt()


def _levels(config: Config) -> list[int]:
    """From the last level to 0, in equal steps."""
    return [round(config.levels * (config.steps - number) / config.steps) for number in range(config.steps + 1)]
