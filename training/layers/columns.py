"""What dense and multi-valued fields add to the vectors of fields.

Legend: n rows, F fields, Fd dense fields, S places for the values of multi-valued fields, G ids of one of them, D
width.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from training.data.columns import Layout
from training.data.statistics import Statistics
from training.schema import Field, size_of
from training.warm_start import Axis

_SMALL = 256
"""Ids of a multi-valued field up to which its mean is one matrix product."""


class Features(NamedTuple):
    """Values of some fields, as `training.data.columns.Columns`."""

    ids: Int64[Tensor, "n F"]
    dense: Float[Tensor, "n Fd"]
    sets: Int64[Tensor, "n S"]


class SetMean(nn.Module):
    """Mean of the vectors of a set's ids; zero for the empty set. Id 0 fills, and ids beyond the field are left out."""

    def __init__(self, field: Field, dim: int) -> None:
        super().__init__()
        self.field, self.cardinality = field, size_of(field)
        self.vectors = nn.Linear(self.cardinality - 1, dim, bias=False)

    @property
    def indexed(self) -> dict[str, Axis]:
        """See `training.warm_start`."""
        return {"vectors.weight": Axis((self.field,), dim=1, first=1, of_values=True)}

    def forward(self, sets: Int64[Tensor, "n w"]) -> Float[Tensor, "n D"]:
        valid = (sets > 0) & (sets < self.cardinality)
        weight = self.vectors.weight
        count = valid.sum(1, keepdim=True).clamp(min=1).to(weight.dtype)
        places = torch.where(valid, sets, 0)
        if self.cardinality <= _SMALL:
            held = torch.zeros(sets.shape[0], self.cardinality, dtype=weight.dtype, device=weight.device)
            held = held.scatter_add(1, places, valid.to(weight.dtype))
            return self.vectors(held[:, 1:] / count)
        rows = nn.functional.embedding((places - 1).clamp(min=0), weight.T)
        return (rows * valid[..., None]).sum(1) / count


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
        for number, one in enumerate(layout.sets):
            nn.init.normal_(self.means[number].get_parameter("vectors.weight"), std=spread)
            self.register_buffer(f"share{number}", torch.zeros(one.cardinality - 1))

    def prepare(self, statistics: Statistics) -> None:
        """Takes mean, deviation and the sets' frequencies of the training part."""
        self.mean.copy_(torch.from_numpy(statistics.mean))
        self.deviation.copy_(torch.from_numpy(statistics.deviation))
        for number, counts in enumerate(statistics.set_counts):
            total = max(1, int(counts[1:].sum()))
            self.get_buffer(f"share{number}").copy_(torch.from_numpy(counts[1:] / total))

    def forward(self, x: Features) -> Float[Tensor, "n F D"]:
        """Zero at the places of fields of kind id."""
        there = (x.ids > 0).to(self.directions.dtype)
        added = [self.directions.new_zeros(x.ids.shape[0], self.directions.shape[1])] * self.num_fields
        values = torch.where(torch.isnan(x.dense), 0.0, (x.dense - self.mean) / self.deviation)
        for number, place in enumerate(self.dense):
            added[place] = (values[:, number] * there[:, place])[:, None] * self.directions[number]
        for mean, one in zip(self.means, self.sets, strict=True):
            added[one.place] = mean(x.sets[:, one.start : one.stop]) * there[:, one.place, None]
        return torch.stack(added, dim=1)

    def averages(self) -> Float[Tensor, "F D"]:
        """What the training samples get on average; of a standardised value nothing."""
        added = [self.directions.new_zeros(self.directions.shape[1])] * self.num_fields
        for number, one in enumerate(self.sets):
            share = self.get_buffer(f"share{number}").to(self.directions.dtype)
            added[one.place] = self.means[number].get_parameter("vectors.weight") @ share
        return torch.stack(added)


def additions(layout: Layout, dim: int, spread: float) -> Additions | None:
    """None where all fields are of kind id."""
    return Additions(layout, dim, spread) if layout.dense or layout.sets else None
