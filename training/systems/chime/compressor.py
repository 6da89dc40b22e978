"""IAM, IRM and ICM together: a history to interests, their codes, and histograms of these.

Codes are computed in fp64 (our design): a tie between words is then never decided by how a runtime adds up.

Legend: B batch, L places of a history, newest first, N items, I width of an interest, P levels, K words, R newest.
"""

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickData
from training.layers.ranker import RankerConfig
from training.layers.residual import ResidualLevels, sum_of_words
from training.schema import Schema
from training.systems.chime import attention
from training.systems.chime.adaptation import Adaptation, Behaviours
from training.systems.chime.representation import Decoder, receptive


@dataclass(frozen=True, kw_only=True)
class Config(RankerConfig):
    """Sizes are ours, the paper's are unknown."""

    max_length: int = 1024
    """Newest events of a history that are kept: all of a life, where none is longer."""
    width: int = 32
    """Width of the transformer's vectors."""
    depth: int = 2
    """Blocks of the transformer."""
    heads: int = 2
    """Heads of attention, a divisor of `width`."""
    window: int = 16
    """Newest events that a place of a block sees, itself among them."""
    projected: int = 16
    """Width to which a projector brings a text or graph vector."""
    interest: int = 32
    """Width of interests and of words."""
    levels: int = 4
    """Levels of residual quantisation."""
    words: int = 64
    """Words of each level."""
    recent: int = 32
    """Newest behaviours that have a histogram of their own."""
    holistic: float = 0.5
    """Weight of the loss towards any item that the user likes."""
    immediate: float = 1.0
    """Weight of the loss towards the next one."""
    temperature: float = 0.07
    """Divisor of the cosines in both losses."""
    negatives: int = 512
    """Items of other users that each place is compared with."""
    sequence: int = 128
    """Events of a training sequence of the compressor."""
    compress_epochs: int = 12
    """Passes of the compressor over the training part at most."""
    compress_batch: int = 32
    """Sequences of a training step of the compressor."""
    compress_rate: float = 2e-3
    """Rate of AdamW of the compressor."""
    reseed_every: int = 30
    """Steps after which words that nobody used become latents of the batch."""

    def __post_init__(self) -> None:
        if self.heads < 1:
            raise ValueError(f"heads is {self.heads}; it must be at least 1")
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        for name in ("depth", "window", "levels", "recent", "negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")

    @property
    def tail(self) -> int:
        """Events that decide the newest code: those that its place depends on, and one for the oldest gap."""
        return receptive(self.window, self.depth) + 1


class Summary(NamedTuple):
    """What is kept of a history."""

    counts: Int[Tensor, "B P K"]
    """int32: the histogram of all behaviours."""
    recent: Int[Tensor, "B R P"]
    """int32: codes of the newest ones, newest first; -1 where there is none. Their histogram is the second one."""
    interest: Float[Tensor, "B I"]
    """After the newest event; of an empty history nothing that counts."""


class Compressor(nn.Module):
    """A history to interests and codes."""

    def __init__(self, config: Config, schema: Schema) -> None:
        super().__init__()
        self.config = config
        self.adaptation = Adaptation(schema, config.dim, config.projected, config.width, config.interest)
        self.decoder = Decoder(config.width, config.heads, config.window, config.depth)
        self.to_interest = nn.Linear(config.width, config.interest, bias=False)
        self.levels = ResidualLevels(config.levels, config.words, config.interest)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def prepare(self, data: ClickData) -> None:
        """Fills buffers from the training part."""
        self.adaptation.prepare(data)

    @property
    def words(self) -> Float[Tensor, "P K I"]:
        """Of all levels."""
        return torch.cat([level.words for level in self.levels.books])

    def item_inputs(self) -> Float[Tensor, "N d"]:
        """Input vectors of all items."""
        return self.adaptation.as_input(self.adaptation.parts())

    def interests(
        self,
        items: Float[Tensor, "N d"],
        history: Behaviours,
        length: Int[Tensor, " B"],
    ) -> Float[Tensor, "B L I"]:
        """u of each place, of norm 1."""
        events = self.adaptation.events(items, history, length)
        return nn.functional.normalize(self.to_interest(self.decoder(events, length)), dim=-1)

    def codes(self, interests: Float[Tensor, "*B I"]) -> Int[Tensor, "*B P"]:
        """The nearest word of each level; equal ones go to the lowest."""
        found = self.levels(interests.flatten(0, -2))
        return torch.cat([chosen.codes for _, chosen in found], 1).unflatten(0, interests.shape[:-1])

    def quantised(self, interests: Float[Tensor, "N I"], levels: int) -> Float[Tensor, "N I"]:
        """What the first `levels` levels make of interests."""
        return sum_of_words(self.levels(interests)[:levels])


def summary(
    codes: Int[Tensor, "B L P"], interest: Float[Tensor, "B I"], length: Int[Tensor, " B"], config: Config
) -> Summary:
    """Of the codes of histories that are at least `recent` places wide."""
    is_there = torch.arange(codes.shape[1], device=codes.device) < length[:, None]
    newest = torch.where(is_there[:, : config.recent, None], codes[:, : config.recent], -1)
    return Summary(attention.histogram(codes, is_there, config.words), newest.to(torch.int32), interest)


def exactly(compressor: Compressor) -> Compressor:
    """A copy in fp64, in evaluation mode."""
    return copy.deepcopy(compressor).double().eval()
