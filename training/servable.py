"""What is served: named tensors, a signature, and the kinds of models that a release consists of.

Axes: B requests of a dynamic batch (one user each), C candidates packed over those B requests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from kernels.path_sampling.sampler import Sampler
from serving.ids import IdMap
from training.answers import in_order
from training.axis import Axis as Axis
from training.schema import Schema

Packed = tuple[Tensor, ...]
"""Tensors in the order of a signature, for B requests; ragged ones packed along their only axis."""

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
    ids: IdMap | None = None
    """Of int64 tensors whose ids a client knows by other names: the module reads and writes dense ids, the client sends
    and gets raw ones, int64 or strings. Input: a raw id that is not in the map is dense 0. Output: what is no dense id
    is the map's `filling`."""

    @property
    def mapped(self) -> IdMap | None:
        """The map that has to be applied between client and module; None too where raw and dense ids are the same."""
        return None if self.ids is None or self.ids.is_identity else self.ids

    @property
    def client_dtype(self) -> str:
        """What a client sends or gets: the dtype, or "string"."""
        return self.dtype if self.mapped is None else self.mapped.kind


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a model was made of; `config.pbtxt` says it to clients, and a model of another origin is no new version."""

    system: str | None = None
    """None for a model of the user's own."""
    task: str | None = None
    schema: Schema | None = None
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
