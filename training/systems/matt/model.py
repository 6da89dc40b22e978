"""MATT's module: a base model, the frequencies of its training log, and the prediction over paths.

Legend: B batch, F fields, P sampled paths, Q = P + 1 with the full path in front.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from kernels.path_sampling import Aggregation, Paths, Plan, anchor_mask, draw, pack, unpack
from kernels.path_sampling.hph import Frequencies, weights
from training.data.click import ClickBatch, ClickData
from training.layers.columns import Features
from training.layers.fields import FieldConfig, FieldModel


@dataclass(frozen=True, kw_only=True)
class MattConfig(FieldConfig):
    """How paths are drawn and aggregated; all values are our design. What else a base can choose has its default."""

    base: str = "deepfm"
    """System over fields whose model is asked along the paths; its settings are those here."""
    paths: int = 8
    """P: sampled paths beside the full one."""
    kept: float = 0.7
    """Share of the fields beside the anchors that a path keeps, rounded."""
    temperature: float = 0.1
    """Temperature of the softmax over the paths' mean confidences."""
    trigger: Literal["always", "uncertain"] = "always"
    """Requests that sample paths; `uncertain`: only the full path counts where the fields are frequent or the logit is
    decided."""
    frequent: float = 0.5
    """Mean confidence from which fields are frequent."""
    decided: float = 2.0
    """Size of the logit from which the base model has decided."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.paths < 1 or not 0 < self.kept <= 1:
            raise ValueError(f"paths must be at least 1 and kept in (0, 1], found {self.paths} and {self.kept}")


_CHUNK = 1 << 18


class Prediction(NamedTuple):
    """What MATT says of each instance."""

    probability: Float[Tensor, " B"]
    """sum_p a_p sigmoid(f_p)."""
    spread: Float[Tensor, " B"]
    """Weighted standard deviation of the paths' probabilities: how much the answer depends on which fields count."""
    logit: Float[Tensor, " B"]
    """Of the base model, on all fields."""


class Matt(nn.Module):
    """Multi-path inference around a base model, whose parameters stay as they are.

    The counts are buffers, so that a checkpoint carries them with the weights that they belong to, and a resumed or
    restored run draws the same paths. Their size follows from the options alone.
    """

    def __init__(self, base: FieldModel, frequencies: Frequencies, config: MattConfig) -> None:
        super().__init__()
        self.base = base
        self.config = config
        self.options = frequencies.options
        self.num_fields = len(base.embedding.sizes)
        self.anchors = (0, base.num_request_fields)
        """user_id and item_id, in every path."""
        self.names = tuple(frequencies.arrays())
        for name, array in frequencies.arrays().items():
            self.register_buffer(f"frequencies_{name}", torch.from_numpy(array))

    def prepare(self, data: ClickData) -> None:
        """Prepares the base model, and counts the training part."""
        self.base.prepare(data)
        frequencies = Frequencies(self.num_fields, self.options)
        for start in range(0, len(data.train), _CHUNK):
            rows = np.arange(start, min(start + _CHUNK, len(data.train)))
            frequencies.add(data.train.features(rows).ids)
        for name, array in frequencies.arrays().items():
            self.get_buffer(f"frequencies_{name}").copy_(torch.from_numpy(array))

    @property
    def frequencies(self) -> Frequencies:
        """The counts, read from the buffers."""
        arrays = {name: self.get_buffer(f"frequencies_{name}").cpu().numpy() for name in self.names}
        return Frequencies.from_arrays(self.num_fields, self.options, arrays)

    @property
    def plan(self) -> Plan:
        """Paths, and the fields that each of them draws beside the anchors."""
        free = self.num_fields - len(self.anchors)
        return Plan(
            paths=self.config.paths,
            draws=min(free, max(1, round(self.config.kept * free))),
            anchors=anchor_mask(self.anchors),
        )

    @property
    def aggregation(self) -> Aggregation:
        """How paths are weighted."""
        frequent = self.config.frequent if self.config.trigger == "uncertain" else None
        return Aggregation(temperature=self.config.temperature, frequent=frequent)

    def forward(self, batch: ClickBatch) -> Float[Tensor, " B"]:
        """The base model's logits: what is trained."""
        return self.base(batch)

    def draw(self, ids: Int64[Tensor, "B F"], keys: Int64[Tensor, " B"]) -> Paths:
        """The paths of the instances with these keys."""
        of_fields = torch.from_numpy(weights(self.frequencies, ids.cpu().numpy(), self.anchors)).to(ids.device)
        return draw(of_fields, keys, self.plan, self.aggregation)

    def predict(self, x: Features, keys: Int64[Tensor, " B"]) -> Prediction:
        """The answer over all paths of the instances with these keys."""
        paths = self.draw(x.ids, keys)
        logits = self.path_logits(x, paths.masks)
        probability, spread = aggregate(logits, paths.shares, self.decided)
        return Prediction(probability, spread, logits[:, 0])

    def path_logits(self, x: Features, masks: Int64[Tensor, "B P"]) -> Float[Tensor, "B Q"]:
        """The base model's logits of the full path and of each sampled one; the full one bit by bit the base's own."""
        keep = kept_fields(masks, self.num_fields)
        return torch.stack([self.base.logits(x, one) for one in keep.unbind(1)], dim=1)

    @property
    def decided(self) -> float | None:
        """|logit| from which only the full path counts; None where the trigger is always."""
        return self.config.decided if self.config.trigger == "uncertain" else None


def kept_fields(masks: Int64[Tensor, "B P"], num_fields: int) -> Bool[Tensor, "B Q F"]:
    """Which fields each path keeps: all of them in the full path, which comes first."""
    return unpack(with_full(masks, num_fields), num_fields)


def with_full(masks: Int64[Tensor, "B P"], num_fields: int) -> Int64[Tensor, "B Q"]:
    """The masks of all paths: in front that of the full path, which keeps every field."""
    full = pack(torch.ones(num_fields, dtype=torch.bool, device=masks.device))
    return torch.cat([full.expand(masks.shape[0], 1), masks], dim=1)


def aggregate(
    logits: Float[Tensor, "B Q"], shares: Float[Tensor, "B Q"], decided: float | None = None
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Probability and spread over the paths, column 0 the full one; that alone where its |logit| reaches `decided`."""
    if decided is not None:
        only_full = (torch.arange(shares.shape[1], device=shares.device) == 0).to(shares.dtype)
        shares = torch.where(logits[:, :1].abs() >= decided, only_full, shares)
    scores = torch.sigmoid(logits)
    probability = (shares * scores).sum(1)
    variance = (shares * (scores - probability[:, None]) ** 2).sum(1)
    return probability, variance.sqrt()
