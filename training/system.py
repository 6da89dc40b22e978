"""The contracts of training: what a data set, a stage and a paper's system are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from training.schema import Schema
from training.servable import Signature

Task = Literal["click prediction", "next item", "semantic ids"]
"""What a system is judged at; systems of one task stand in one table."""
Infer = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]
"""(model, request) -> outputs by name: a client of the server, or the same graphs in this process."""


class Split(Protocol):
    """A part of a data set: samples that can be asked for by number."""

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray) -> NamedTuple: ...

    def cost(self) -> np.ndarray:
        """int64 [len]: the relative cost of each sample (its history's length); batches group like with like."""
        ...


class Data(Protocol):
    """A data set that was split by time."""

    @property
    def schema(self) -> Schema: ...

    @property
    def train(self) -> Split: ...

    @property
    def validation(self) -> Split: ...

    @property
    def test(self) -> Split: ...


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Some of a stage's parameters that move otherwise than the rest."""

    parameters: Callable[[nn.Module], Iterable[nn.Parameter]]
    learning_rate: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of training."""

    name: str
    loss: Callable[[nn.Module, Any, float], tuple[Tensor, dict[str, Tensor]]]
    """(module, batch, share of the stage done in [0, 1)) -> (scalar loss, scalars to log)."""
    parameters: Callable[[nn.Module], Iterable[nn.Parameter]] = nn.Module.parameters
    groups: tuple[ParameterGroup, ...] = ()
    """Exceptions from `learning_rate` and `weight_decay`."""
    epochs: int = 10
    batch_size: int = 1024
    learning_rate: float = 1e-3
    schedule: Literal["constant", "linear"] = "constant"
    """linear: every rate rises over the first 2 % of the steps and then falls to zero."""
    weight_decay: float = 0.0
    samples: Callable[[Any], Split] = lambda data: data.train
    """(data) -> what an epoch goes through."""
    patience: int = 2
    """Epochs without a better `monitor` before the stage stops; the best weights are kept."""
    monitor: str = "auc"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A system whose run another one builds on; trained first, with the same seed."""

    system: str
    config: dict[str, Any]
    """What differs from its defaults."""


@dataclass(frozen=True, kw_only=True)
class System:
    """One paper (or baseline): everything the command line needs to train, evaluate and serve it."""

    name: str
    title: str
    paper: str
    """Where it comes from: an arXiv URL."""
    provenance: str
    """What a source states, what is reconstructed and what is our design; printed in docs/results.md."""
    config: type
    """A frozen dataclass with the defaults."""
    dataset: str
    task: Task = "click prediction"
    baseline: str | None
    """Name of the system it must beat; None for a baseline."""
    build: Callable[[Any, Schema], nn.Module]
    """(config, schema) -> module with its shapes settled; buffers derived from data are still empty."""
    prepare: Callable[[Any, Any], None]
    """(module, data): fills buffers (vocabulary, popularity) from the training part."""
    stages: Callable[[Any], Sequence[Stage]]
    evaluate: Callable[[Any, Any, Any], dict[str, float]]
    """(module, predict, split) -> metrics; larger is better for every metric named `auc` or `gauc`."""
    servables: Callable[[Any, Any, Any], tuple[Signature, ...]] | None = None
    """(module, config, data) -> models in the order in which they must be published; None: not served."""
    view: Callable[[Any], Data] = lambda data: data
    """(the data set) -> the form of it that the stages and the evaluation take."""
    upstream: Callable[[Any], tuple[Upstream, ...]] = lambda config: ()
    """(config) -> the runs it builds on; their products are in `data.given` when it is prepared."""
    products: Callable[[Any, Any], dict[str, Tensor]] | None = None
    """(module, data) -> what a finished run leaves for the systems that build on it, by name."""
    score_split: Callable[[Infer, Any, Any], np.ndarray] | None = None
    """(infer, split, config) -> served scores float32 [len(split)]: the quality of what is served, measured there."""
