"""The contracts of recserve: what a data set, a training stage, a served model and a paper's system are.

Axes: B requests of a dynamic batch (one user each), C candidates packed over those B requests.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from kernels.path_sampling.sampler import Sampler
from training.answers import in_order
from training.axis import Axis as Axis

Task = Literal["click prediction", "next item", "semantic ids"]
"""What a system is judged at; systems of one task stand in one table."""
Packed = tuple[Tensor, ...]
"""Tensors in the order of a signature, for B requests; ragged ones packed along their only axis."""
Infer = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]
"""(model, request) -> outputs by name: a client of the server, or the same graphs in this process."""


Bound = int | tuple[int | None, ...]
"""Of all elements of an input, or of each place along its one fixed axis; None for a place without a bound."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One named tensor of a served model; shapes leave the batch axis out."""

    name: str
    dtype: Literal["bool", "int32", "int64", "float16", "float32"]
    shape: tuple[int | str, ...]
    """A string is a symbolic axis, an `Axis` one with bounds. Regular: [B, *shape]; () is [B] in the graph and [B, 1]
    at the client. Ragged: packed [C], its one axis symbolic."""
    ragged: bool = False
    of: str | None = None
    """Input: accumulated element counts [B] of this ragged input, which the server fills in, not the client.
    Ragged output: the input whose lengths it has."""
    minimum: Bound | None = None
    maximum: Bound | None = None
    """Smallest and largest legal value; a request beyond them is refused and names the field."""
    min_elements: int | None = None
    max_elements: int | None = None
    """Fewest and most elements that one request may carry in a ragged input."""
    per: int = 1
    """Ragged output of a step that is no graph: elements for each element of the input `of`, packed [per * C]."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was made of; `config.pbtxt` says it to clients, and a model of another origin is no new version."""

    system: str | None = None
    """None for a model of the user's own."""
    task: Task | None = None
    schema: "Schema | None" = None
    """Of the data set whose ids a request holds."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Name, inputs and outputs of a served model, with seeded requests and the eager answer to them."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: Callable[[int, int], Packed]
    """(B, seed) -> inputs in order. The first rows hold the edge cases (longest, empty, one, unknown ids)."""
    eager: Callable[..., Packed]
    """The trusted computation: inputs in order -> outputs in order."""
    max_batch_size: int = 64
    reference: Callable[..., Packed] | None = None
    """The training form of the same outputs in fp64 (unabsorbed, unpruned), for the parity ladder's first rung."""
    eager64: Callable[..., Packed] | None = None
    """`eager` in fp64, which must equal `reference`; given together with it."""
    origin: Origin = Origin()


@dataclass(frozen=True, kw_only=True)
class Servable(Signature):
    """A module whose `forward` is the served computation; exported to ONNX. `eager` is the module itself."""

    module: nn.Module


def servable(
    *,
    name: str,
    module: nn.Module,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    example: Callable[[int, int], Packed],
    max_batch_size: int = 64,
) -> Servable:
    """A servable whose trusted computation is the module itself, in eval mode and without gradients.

    Its `forward` takes the inputs in order, and returns the outputs in order or by name.
    """
    module.eval()
    names = [spec.name for spec in outputs]

    def eager(*tensors: Tensor) -> Packed:
        with torch.no_grad():
            return in_order(module(*tensors), names)

    return Servable(
        name=name,
        module=module,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        example=example,
        eager=eager,
        max_batch_size=max_batch_size,
    )


@dataclass(frozen=True, kw_only=True)
class KernelServable(Signature):
    """The kernel form of a Servable: the same module as a saved program in which the hot ops stay custom ops."""

    module: nn.Module
    program: ExportedProgram
    """The module, traced."""
    form_of: str
    """Name of the ONNX model whose answers it must equal."""


@dataclass(frozen=True, kw_only=True)
class UserStateServable(Signature):
    """The step that reads a user's prestored state, or asks `encoder` for it on a miss and writes it back.

    Its inputs are `user_id` [1] and what must be checked before work is done (ragged candidates); its outputs
    are the encoder's outputs.
    """

    encoder: Servable
    stamp: int
    """Fingerprint of the weights, which the encoder puts out as `stamp` [1] and the scorer compares with its own."""
    histories: dict[str, np.ndarray]
    """`user_ids` int64 [U], sorted, and per encoder input of the same name an array with U rows. Zeros in all of them
    are the empty history, with which a user who is not there is scored."""


@dataclass(frozen=True, kw_only=True)
class PathSamplerServable(Signature):
    """The step that draws the paths of a request's candidates from the counts of training, which lie beside it.

    Its inputs are `user_id` [1], `candidates` (ragged) and `request_key` [1]; its outputs `masks` and `weights`.
    """

    sampler: Sampler


@dataclass(frozen=True, kw_only=True)
class EnsembleStep:
    """One step of an ensemble: the step's own tensor name -> the ensemble's tensor name."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class EnsembleServable(Signature):
    """Steps joined by name inside tritonserver."""

    steps: tuple[EnsembleStep, ...]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a data set."""

    name: str
    kind: Literal["id", "dense", "sequence", "vector"]
    cardinality: int | None = None
    """Ids and sequences of ids: legal values are 0 <= id < cardinality; more are out of vocabulary."""
    width: int | None = None
    """Vectors: elements. Sequences: longest length."""
    values: tuple[str, ...] | None = None
    """Names of the ids, where a person would want to read them."""
    side: Literal["user", "item"] | None = None
    """Whose field it is, where samples are rows of categorical fields: the user's, constant over a request, or the
    candidate's."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The fields of a data set; saved beside the checkpoint, travels into the model repository."""

    dataset: str
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        raise ValueError(f"field '{name}' is not in the schema of {self.dataset}: {[f.name for f in self.fields]}")


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
    """What a source states, what is reconstructed and what is our design; printed in the README's table."""
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
