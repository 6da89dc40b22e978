"""What BBQRec serves: the task's plain form, and beside it a model that says what a list is due to.

    bbqrec_reasons   history, listed items -> attention with and without the table, buckets of similarity
    bbqrec           history -> items, scores

Legend: B requests, H history items packed over them, L history, T listed items, S sources.
"""

import copy
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from training.data.sequences import SequenceData
from training.layers.generator import newest_state
from training.layers.histories import newest
from training.layers.served_lists import OFFSETS, history_spec, items_spec, one_by_one
from training.servable import Packed, Signature, TensorSpec, servable
from training.systems.bbqrec.codes import SHAPES
from training.systems.bbqrec.model import BBQRec, Config
from training.tasks.next_item import NEXT_ITEM

LISTED = 3
"""T: items of a list that are explained."""


class Reasons(NamedTuple):
    """Of a history, oldest first, 0 beyond its length."""

    bent: Float[Tensor, "B L"]
    """How much of each place the newest one takes, mean over blocks and heads."""
    plain: Float[Tensor, "B L"]
    """The same without what similarity adds."""
    alike: Int[Tensor, "B T S L"]
    """Bucket of each listed item and each place."""


def reasons(
    module: BBQRec, items: Int64[Tensor, "B L"], length: Int64[Tensor, " B"], listed: Int64[Tensor, "B T"]
) -> Reasons:
    """NaN for a history that holds what can be no item."""
    blocks = module.attention(items)
    valid = (items >= 0).all(1, keepdim=True)
    means = (torch.stack([*kind]).mean((0, 2)) for kind in zip(*blocks, strict=True))
    bent, plain = (torch.where(valid, newest_state(mean, length)[:, 0], torch.nan) for mean in means)
    alike = torch.stack(module.similarity(listed, items), dim=2)
    return Reasons(bent, plain, alike.int())


class ReasonsGraph(nn.Module):
    """Packed histories and listed items -> reasons; an empty history is one unknown item."""

    def __init__(self, module: BBQRec) -> None:
        super().__init__()
        self.module = module

    def forward(self, history: Int[Tensor, " H"], ends: Int[Tensor, " B"], listed: Int64[Tensor, "B T"]) -> Packed:
        items, length = newest(history, ends, self.module.max_length)
        return tuple(reasons(self.module, items, length.clamp(min=1), listed))


def servables(name: str, module: BBQRec, config: Config, data: SequenceData) -> tuple[Signature, ...]:
    """The models of a release."""
    (whole,) = NEXT_ITEM.release(name, module, data)
    wide = copy.deepcopy(module).double().eval()

    def requests(batch_size: int, seed: int) -> Packed:
        history, ends = whole.example(batch_size, seed)
        return history, ends, whole.eager(history, ends)[0][:, :LISTED]

    @torch.no_grad()
    def alone(history: Tensor, ends: Tensor, listed: Tensor) -> Packed:
        """Each history by itself, neither packed nor padded."""
        read = one_by_one(history, ends, config.max_length)
        pairs = zip(read, listed.split(1), strict=True)
        found = [reasons(wide, one, torch.tensor([one.shape[1]]), items) for one, items in pairs]
        filled = [[functional.pad(part, (0, config.max_length - part.shape[-1])) for part in one] for one in found]
        return tuple(torch.cat(parts) for parts in zip(*filled, strict=True))

    part = servable(
        name=f"{name}_reasons",
        module=ReasonsGraph(copy.deepcopy(module)),
        inputs=(history_spec(data), OFFSETS, replace(items_spec(data, LISTED), name="listed")),
        outputs=outputs(config),
        example=requests,
        max_batch_size=whole.max_batch_size,
    )
    return replace(part, eager64=torch.no_grad()(ReasonsGraph(wide).forward), reference=alone), whole


def outputs(config: Config) -> tuple[TensorSpec, ...]:
    """As `Reasons`."""
    shape = (config.max_length,)
    return (
        TensorSpec(name="bent", dtype="float32", shape=shape),
        TensorSpec(name="plain", dtype="float32", shape=shape),
        TensorSpec(name="alike", dtype="int32", shape=(LISTED, len(SHAPES[config.ids].sources), *shape)),
    )
