"""One event more: the user's vector from what the blocks keep of earlier events, without running them again.

Keys and values of all blocks lie in one row of numbers, with room for `max_length` events; a step writes those of the
new event behind the others. It costs m tokens against all before, in place of all against all.

Legend: B users, L = `max_length`, m tokens of an item, Q new places, S places that are kept, H heads, e width of a
head, d width, K numbers that are kept.
"""

from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.layers.items import known
from training.layers.rows import rows
from training.layers.transformer import MASKED, EncoderBlock, KeysValues
from training.servable import Packed
from training.systems.heterrec.model import HeterRec


class Step(nn.Module):
    """An item and what is kept -> the user's vector over the temperature, and what is kept then."""

    tokens: Float[Tensor, "N m d"]

    def __init__(self, model: HeterRec) -> None:
        super().__init__()
        with torch.no_grad():
            self.register_buffer("tokens", model.tables()[0])
        self.model, self.number = model, len(model.names)
        widths = [model.max_length * self.number] * len(model.token_blocks)
        self.places = (*widths, *[model.max_length] * len(model.item_blocks))
        """S of each block."""

    @property
    def blocks(self) -> list[EncoderBlock]:
        """Those over tokens, then those over items."""
        return [cast(EncoderBlock, block) for block in (*self.model.token_blocks, *self.model.item_blocks)]

    @property
    def kept(self) -> int:
        """K."""
        return 2 * self.tokens.shape[2] * sum(self.places)

    def forward(self, item: Int64[Tensor, "B 1"], events: Int64[Tensor, "B 1"], past: Float[Tensor, "B K"]) -> Packed:
        """Vectors [B, d] and what is kept [B, K]; `events` are those before, at most L - 1."""
        model, kept = self.model, []
        x = rows(self.tokens, known(item, len(self.tokens)))[:, 0] + rows(model.positions.weight, events)
        parts = past.split([2 * self.tokens.shape[2] * one for one in self.places], 1)
        for layer, part in enumerate(parts):
            if layer == len(model.token_blocks):
                x = model.merged(x[:, None])
            start, group = (events * self.number, model.group) if layer < len(model.token_blocks) else (events, 1)
            x, seen = _through(self.blocks[layer], x, self._unpacked(part, self.blocks[layer]), start, group)
            kept += [one.flatten(1) for one in seen]
        if not model.item_blocks:
            x = model.merged(x[:, None])
        return model.user(x)[:, 0] / model.config.temperature, torch.cat(kept, dim=1)

    def _unpacked(self, part: Float[Tensor, "B 2Sd"], block: EncoderBlock) -> KeysValues:
        heads = block.attention.heads
        shaped = part.reshape(part.shape[0], 2, heads, -1, self.tokens.shape[2] // heads)
        return KeysValues(shaped[:, 0], shaped[:, 1])


def _through(
    block: EncoderBlock, x: Float[Tensor, "B Q d"], past: KeysValues, start: Int64[Tensor, "B 1"], group: int
) -> tuple[Float[Tensor, "B Q d"], KeysValues]:
    """`EncoderBlock` at the places from `start` on, and what it has seen."""
    normed = block.attention_norm(x)
    fresh = block.attention.keys_values(normed)
    place = start + torch.arange(x.shape[1], device=x.device)  # (B, Q)
    index = place[:, None, :, None].expand_as(fresh.keys)
    seen = KeysValues(past.keys.scatter(2, index, fresh.keys), past.values.scatter(2, index, fresh.values))
    every = torch.arange(seen.keys.shape[2], device=x.device) // group
    bias = torch.where(every <= (place // group)[..., None], 0.0, MASKED).to(x.dtype)
    x = x + block.attention(normed, *seen, bias)
    return x + block.feed_forward(block.feed_forward_norm(x)), seen
