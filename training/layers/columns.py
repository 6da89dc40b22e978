"""What dense and multi-valued fields add to the vectors of fields.

Legend: n rows, F fields, Fd dense fields, S places for the values of multi-valued fields, G ids of one of them, D
width.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.columns import Layout
from training.data.statistics import Statistics
from training.layers.rows import rows
from training.schema import Field, size_of
from training.warm_start import Axis

_SMALL = 256
"""Ids of a multi-valued field up to which its mean is one matrix product."""


_FARTHEST = 1e6
"""Deviations from the mean to which a dense value counts: of 1e12 values none can lie farther, and what a model makes
of it stays finite."""


class Features(NamedTuple):
    """Values of some fields, as `training.data.columns.Columns`."""

    ids: Int64[Tensor, "n F"]
    dense: Float[Tensor, "n Fd"]
    sets: Int64[Tensor, "n S"]


class SetMean(nn.Module):
    """Mean of the vectors of a set's ids; zero for the empty set. Id 0 fills; ids beyond the field, and those that
    training never saw, are left out."""

    share: Float[Tensor, " G"]
    """What each id is of the sets of the training samples, on average; 0 for ids that training never saw."""

    def __init__(self, field: Field, dim: int) -> None:
        super().__init__()
        self.field, self.cardinality = field, size_of(field)
        self.vectors = nn.Linear(self.cardinality - 1, dim, bias=False)
        share = torch.ones(self.cardinality)
        share[0] = 0
        self.register_buffer("share", share)

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"vectors.weight": Axis((self.field,), dim=1, first=1, of_values=True)}

    def prepare(self, share: np.ndarray) -> None:
        """Takes the shares float32 [G], as `training.data.statistics` measures them."""
        self.share.copy_(torch.from_numpy(share))

    def average(self) -> Float[Tensor, " D"]:
        """What the training samples get on average."""
        return self.vectors.weight @ self.share[1:].to(self.vectors.weight.dtype)

    def forward(self, sets: Int64[Tensor, "n w"]) -> Float[Tensor, "n D"]:
        places = torch.where((sets > 0) & (sets < self.cardinality), sets, 0)
        valid = rows(self.share, places) > 0
        places = torch.where(valid, places, 0)
        weight = self.vectors.weight
        count = valid.sum(1, keepdim=True).clamp(min=1).to(weight.dtype)
        if self.cardinality <= _SMALL:
            held = torch.zeros(sets.shape[0], self.cardinality, dtype=weight.dtype, device=weight.device)
            held = held.scatter_add(1, places, valid.to(weight.dtype))
            return self.vectors(held[:, 1:] / count)
        vectors = nn.functional.embedding((places - 1).clamp(min=0), weight.T)
        return (vectors * valid[..., None]).sum(1) / count


class Additions(nn.Module):
    """Of a dense field the standardised value times a direction of its own, of a multi-valued one the mean of its ids'
    vectors; zero where the field is missing. Our design: beside the row of the id that says whether it is there."""

    mean: Float[Tensor, " Fd"]
    deviation: Float[Tensor, " Fd"]

    def __init__(self, layout: Layout, dim: int, spread: float) -> None:
        super().__init__()
        self.dense, self.sets, self.num_fields = layout.dense, layout.sets, len(layout.fields)
        self.directions = nn.Parameter(spread * torch.randn(len(layout.dense), dim))
        self.means = nn.ModuleList(SetMean(layout.fields[one.place], dim) for one in layout.sets)
        self.register_buffer("mean", torch.zeros(len(layout.dense)))
        self.register_buffer("deviation", torch.ones(len(layout.dense)))
        for mean in self.means:
            nn.init.normal_(mean.get_parameter("vectors.weight"), std=spread)

    @property
    def _set_means(self) -> list[SetMean]:
        return [mean for mean in self.means if isinstance(mean, SetMean)]

    def prepare(self, statistics: Statistics) -> None:
        """Takes mean, deviation and the sets' shares of the training part."""
        self.mean.copy_(torch.from_numpy(statistics.mean))
        self.deviation.copy_(torch.from_numpy(statistics.deviation))
        for mean, share in zip(self._set_means, statistics.set_shares, strict=True):
            mean.prepare(share)

    def forward(self, x: Features) -> Float[Tensor, "n F D"]:
        """Zero at the places of fields of kind id."""
        there = (x.ids > 0).to(self.directions.dtype)
        added = [self.directions.new_zeros(x.ids.shape[0], self.directions.shape[1])] * self.num_fields
        values = ((x.dense - self.mean) / self.deviation).clamp(-_FARTHEST, _FARTHEST)
        values = torch.where(torch.isnan(x.dense), 0.0, values)
        for number, place in enumerate(self.dense):
            added[place] = (values[:, number] * there[:, place])[:, None] * self.directions[number]
        for mean, one in zip(self.means, self.sets, strict=True):
            added[one.place] = mean(x.sets[:, one.start : one.stop]) * there[:, one.place, None]
        return torch.stack(added, dim=1)

    def averages(self) -> Float[Tensor, "F D"]:
        """What the training samples get on average; of a standardised value nothing."""
        added = [self.directions.new_zeros(self.directions.shape[1])] * self.num_fields
        for mean, one in zip(self._set_means, self.sets, strict=True):
            added[one.place] = mean.average()
        return torch.stack(added)


def additions(layout: Layout, dim: int, spread: float) -> Additions | None:
    """None where all fields are of kind id."""
    return Additions(layout, dim, spread) if layout.dense or layout.sets else None
