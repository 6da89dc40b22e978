"""The first stage: sequences of the training part, and what the compressor learns from them.

Every place of a sequence has two losses: its interest towards the next item that the user likes (immediate), and
towards any other one of the sequence (holistic), each against items that other users of the batch like.

Legend: B sequences, L places, newest first, M items that all places are compared with, N items, I width of an interest.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from training.data.click import ClickData
from training.layers.residual import commitment
from training.systems.chime.adaptation import Behaviours
from training.systems.chime.compressor import Compressor

FOLLOW = 0.1
"""Share of the way to the mean of their interests that words go with each step."""


class SequenceBatch(NamedTuple):
    """Events of one user each."""

    user: Int64[Tensor, " B"]
    items: Int64[Tensor, "B L"]
    """Newest first, 0 beyond the length."""
    values: Int64[Tensor, "B L"]
    ages: Int64[Tensor, "B L"]
    liked: Float32[Tensor, "B L"]
    length: Int64[Tensor, " B"]


class Sequences:
    """The histories of the training part, cut to at most `most` events from their newest one on. Implements
    `training.system.Split`."""

    def __init__(self, data: ClickData, most: int) -> None:
        log = data.log
        places = np.sort(data.train.places)
        events = data.interactions.events
        values = events["value"].to_numpy()[log.row[places]] if "value" in events.columns else None
        kept = places if values is not None else places[log.label[places] > 0]
        self._columns = (
            log.item[kept],
            np.ones(len(kept), np.int64) if values is None else values.astype(np.int64),
            log.time[kept],
            log.label[kept],
        )
        self._user = log.user[kept]
        first = np.flatnonzero(np.append(True, self._user[1:] != self._user[:-1]))
        ends = np.append(first[1:], len(kept))
        users = zip(first.tolist(), ends.tolist(), strict=True)
        pieces = [(max(start, end - most), end) for start, stop in users for end in range(stop, start, -most)]
        self._start, self._end = np.array(pieces).T

    def __len__(self) -> int:
        return len(self._start)

    def cost(self) -> np.ndarray:
        """int64 [len]: events of each sequence."""
        return self._end - self._start

    def batch(self, rows: np.ndarray) -> SequenceBatch:
        """The sequences with these numbers, in this order."""
        end, length = self._end[rows], self.cost()[rows]
        back = np.arange(int(length.max()))
        beyond = back >= length[:, None]
        items, values, times, liked = (
            np.where(beyond, 0, one[np.maximum(end[:, None] - 1 - back, 0)]) for one in self._columns
        )
        ages = np.where(beyond, 0, times[:, :1] - times)
        parts = (self._user[end - 1], items, values, ages, liked, length)
        return SequenceBatch(*map(torch.from_numpy, parts))


def next_liked(liked: Bool[Tensor, "B L"]) -> Int64[Tensor, "B L"]:
    """Place of the first liked item after each event; -1 where there is none."""
    places = torch.arange(liked.shape[1], device=liked.device)
    # Newest first: what comes after a place has a smaller one.
    upto = torch.where(liked, places, -1).cummax(1).values
    return torch.cat((torch.full_like(upto[:, :1], -1), upto[:, :-1]), 1)


def any_liked(liked: Bool[Tensor, "B L"], other_than: Int64[Tensor, "B L"]) -> Int64[Tensor, "B L"]:
    """For each place one liked item of the sequence, drawn evenly; -1 where it is that of `other_than`, or none."""
    number = liked.sum(1, keepdim=True)
    order = (~liked).long().argsort(dim=1, stable=True)
    drawn = (torch.rand(liked.shape, device=liked.device) * number).long().clamp(max=liked.shape[1] - 1)
    places = order.gather(1, drawn)
    return torch.where((number > 0) & (places != other_than), places, -1)


def contrast(
    interests: Float[Tensor, "B L I"],
    batch: SequenceBatch,
    positive: Int64[Tensor, "B L"],
    against: tuple[Int64[Tensor, " M"], Int64[Tensor, " M"]],
    vectors: Float[Tensor, "N I"],
    temperature: float,
) -> Float[Tensor, ""]:
    """-log softmax of <u, v+> / t against the items of other users, mean over the places that have a positive.

    `against`: items, and whose they are; the positive's own item and those of the same user are left out.
    """
    item = batch.items.gather(1, positive.clamp(min=0))
    right = (interests * vectors[item]).sum(-1) / temperature
    items, users = against
    wrong = interests @ vectors[items].T / temperature  # (B, L, M)
    out = (items == item[:, :, None]) | (users == batch.user[:, None])[:, None]
    logits = torch.cat((right[:, :, None], wrong.masked_fill(out, -torch.inf)), 2)
    counts = (positive >= 0) & (torch.arange(item.shape[1], device=item.device) < batch.length[:, None])
    losses = logits.logsumexp(2) - right
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def compress_loss(compressor: Compressor, batch: SequenceBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """L = immediate L_imm + holistic L_hol + L_vq."""
    config = compressor.config
    parts = compressor.adaptation.parts()
    items, vectors = compressor.adaptation.as_input(parts), compressor.adaptation.targets(parts)
    interests = compressor.interests(items, Behaviours(batch.items, batch.values, batch.ages), batch.length)
    liked = batch.liked > 0
    after = next_liked(liked)
    rows, places = torch.nonzero(liked, as_tuple=True)
    some = torch.randperm(len(rows), device=rows.device)[: config.negatives]
    against = batch.items[rows[some], places[some]], batch.user[rows[some]]
    losses = [
        contrast(interests, batch, positive, against, vectors, config.temperature)
        for positive in (after, any_liked(liked, after))
    ]
    valid = torch.arange(interests.shape[1], device=interests.device) < batch.length[:, None]
    vq = quantise_loss(compressor, interests[valid])
    loss = config.immediate * losses[0] + config.holistic * losses[1] + vq
    logged = {"immediate": losses[0], "holistic": losses[1], "vq": vq}
    return loss, {name: value.detach() for name, value in logged.items()}


def quantise_loss(compressor: Compressor, latents: Float[Tensor, "n I"]) -> Float[Tensor, ""]:
    """Interests to their words. Words start by k-means over the first step's interests, then follow the mean of those
    that take them; those that nobody takes are put where interests are."""
    fixed = latents.detach()
    if not compressor.started:
        compressor.levels.start(fixed)
        nn.init.ones_(compressor.get_buffer("started"))
    compressor.levels.reseed(fixed, compressor.config.reseed_every)
    found = compressor.levels(latents)
    compressor.levels.count(found)
    compressor.levels.follow([(residual.detach(), chosen) for residual, chosen in found], FOLLOW)
    return commitment(found)
