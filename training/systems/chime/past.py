"""Codes of all events of a data set: each is computed once, as it follows from the events before it and from no later
one, and histograms as of each sample's time are sums of them.

Legend: E events of all histories, user by user, oldest first; B samples, L places of a history, newest first; P levels,
I width of an interest.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.data.click import ClickBatch, Source
from training.systems.chime.adaptation import Behaviours
from training.systems.chime.compressor import Compressor, Summary, exactly, summary

_PLACES = 1 << 16
"""Of the histories that are encoded together."""
_REMEMBERED = 1 << 17
"""Histories that were cut whose summaries are kept, at 2 kB each."""


class Seen(NamedTuple):
    """What a compressor makes of the events."""

    codes: Int[Tensor, "E P"]
    interests: Float[Tensor, "E I"]


class Past:
    """Of a data set, for the weights that asked last."""

    def __init__(self, source: Source) -> None:
        self.source = source
        starts, ends = source.log.all_of(np.arange(len(source.interactions.users)))
        self._ends, self._lengths = ends, ends - starts
        self._first = np.cumsum(self._lengths) - self._lengths
        self._cut: dict[bytes, Summary] = {}
        self._weights, self._seen = b"", Seen(*(torch.zeros(0, 1) for _ in Seen._fields))

    def __deepcopy__(self, memo: dict) -> Self:
        """Copies of a model share it."""
        return self

    def has(self, batch: ClickBatch) -> Tensor:
        """bool [B]: whether a history is all that its user has before, and none of it was cut off."""
        known = torch.from_numpy(self._lengths).to(batch.user.device)[batch.user]
        return (batch.history_length < self.source.max_length) & (batch.history_length <= known)

    def seen(self, compressor: Compressor) -> Seen:
        """Codes int64 and interests float32 of all events, on the compressor's device."""
        weights = _fingerprint(compressor)
        if weights != self._weights:
            self._seen, self._weights = self._computed(exactly(compressor)), weights
            self._cut.clear()
        return self._seen

    def summary(self, compressor: Compressor, batch: ClickBatch) -> Summary:
        """Of samples that `has`."""
        seen = self.seen(compressor)
        places = self._places(batch, max(compressor.config.recent, int(batch.history_length.max())))
        return summary(seen.codes[places], seen.interests[places[:, 0]], batch.history_length, compressor.config)

    def of_cut(self, compressor: Compressor, batch: ClickBatch, compressed: Callable[[ClickBatch], Summary]) -> Summary:
        """Of samples that it has not: each history is compressed once by the same weights."""
        self.seen(compressor)
        parts = (batch.history_items, batch.history_values, batch.history_ages, batch.history_length[:, None])
        keys = [hashlib.blake2b(row, digest_size=16).digest() for row in torch.cat(parts, 1).cpu().numpy()]
        new = [row for row, key in enumerate(keys) if key not in self._cut]
        if new:
            if len(self._cut) > _REMEMBERED:
                self._cut.clear()
                new = [*range(len(keys))]
            fresh = compressed(ClickBatch(*(part[new] for part in batch)))
            self._cut |= {keys[row]: Summary(*one) for row, one in zip(new, zip(*fresh, strict=True), strict=True)}
        return Summary(*(torch.stack(column) for column in zip(*(self._cut[key] for key in keys), strict=True)))

    def _places(self, batch: ClickBatch, width: int) -> Int[Tensor, "B L"]:
        """Of the events of each history, newest first, then any."""
        first = torch.from_numpy(self._first).to(batch.user.device)[batch.user]
        back = torch.arange(width, device=first.device)
        return (first[:, None] + batch.history_length[:, None] - 1 - back).clamp(min=0)

    @torch.no_grad()
    def _computed(self, compressor: Compressor) -> Seen:
        config, items = compressor.config, compressor.item_inputs()
        total = int(self._lengths.sum())
        codes = torch.zeros(total, config.levels, dtype=torch.int64, device=items.device)
        interests = torch.zeros(total, config.interest, device=items.device)
        for users in self._groups():
            ends, lengths = self._ends[users], self._lengths[users]
            width = int(lengths.max())
            windows = self.source.log.windows(ends, lengths, width), self.source.log.ages(ends, lengths, width)
            history = Behaviours(*(torch.from_numpy(part).to(items.device) for part in (*windows[0], windows[1])))
            length = torch.from_numpy(lengths).to(items.device)
            found = compressor.interests(items, history, length)
            back = torch.arange(width, device=items.device)
            is_there = back < length[:, None]
            places = torch.from_numpy(self._first[users]).to(items.device)[:, None] + length[:, None] - 1 - back
            kept = found[is_there]
            codes[places[is_there]] = compressor.codes(kept)
            interests[places[is_there]] = kept.float()
        return Seen(codes, interests)

    def _groups(self) -> list[np.ndarray]:
        """Users who have events, with others of about as many."""
        order = np.argsort(self._lengths, kind="stable")
        order = order[self._lengths[order] > 0]
        groups, start = [], 0
        while start < len(order):
            end = start + 1
            while end < len(order) and (end + 1 - start) * self._lengths[order[end]] <= _PLACES:
                end += 1
            groups.append(order[start:end])
            start = end
        return groups


def _fingerprint(compressor: nn.Module) -> bytes:
    """Of all that training moves."""
    digest = hashlib.blake2b(digest_size=16)
    for value in compressor.parameters():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
