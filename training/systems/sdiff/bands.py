"""How much of a user lies in which frequencies, before and after decoding; served beside the lists.

    <name>_bands   history -> before, after, last

Legend: B requests, H history items packed over them, K frequencies, F bands.
"""

import copy
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from training.layers.histories import newest
from training.layers.history_set import as_set
from training.servable import Packed, Servable, Signature, TensorSpec, servable
from training.systems.sdiff.model import SDiff

NUM_BANDS = 8


class Bands(nn.Module):
    """Packed histories -> energies."""

    def __init__(self, module: SDiff) -> None:
        super().__init__()
        self.module = module
        self.borders = borders(len(module.frequencies))

    def forward(self, history: Int[Tensor, " H"], history_offsets: Int[Tensor, " B"]) -> Packed:
        """Energies before and after [B, F], and the last frequency of each band [B, F]."""
        items, _ = newest(history, history_offsets, self.module.config.max_length)
        return self.of(as_set(items, self.module.basis))

    def of(self, met: Float[Tensor, "B N"]) -> Packed:
        """Of sets of items."""
        last = self.module.frequencies[[end - 1 for _, end in self.borders]]
        spectra = self.module.observed(met), self.module.decode(met)
        energies = [
            torch.stack([one[:, slice(*ends)].square().sum(dim=1) for ends in self.borders], 1) for one in spectra
        ]
        return *energies, last.expand(met.shape[0], -1)


def borders(num_frequencies: int) -> list[tuple[int, int]]:
    """Start and end of each band: the lowest frequency alone, then about as many in each."""
    ends = torch.linspace(1, num_frequencies, min(NUM_BANDS, num_frequencies)).round().long().unique().tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def with_bands(name: str, module: SDiff, release: tuple[Signature, ...]) -> tuple[Signature, ...]:
    """The release, and before it the model of the bands, asked as `<name>_user` is."""
    user = cast(Servable, release[0])
    form, double = Bands(copy.deepcopy(module).eval()), Bands(copy.deepcopy(module).double().eval())
    shape = (len(form.borders),)
    outputs = [TensorSpec(name=one, dtype="float32", shape=shape) for one in ("before", "after", "last")]

    def reference(history: Tensor, offsets: Tensor) -> Packed:
        requests = torch.tensor_split(history, offsets.long()[:-1])
        rows = [double.of(as_set(one[-module.config.max_length :][None], double.module.basis)) for one in requests]
        return tuple(torch.cat(column) for column in zip(*rows, strict=True))

    found = servable(
        name=f"{name}_bands",
        module=form,
        inputs=user.inputs,
        outputs=outputs,
        example=user.example,
        max_batch_size=user.max_batch_size,
    )
    return replace(found, reference=reference, eager64=double), *release
