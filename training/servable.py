"""What is served: named tensors, a signature, and the kinds of models that a release consists of.

Axes: B requests of a dynamic batch (one user each), C candidates packed over those B requests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from serving.ids import IdMap
from training.answers import in_order
from training.axis import Axis as Axis
from training.layers.stored import Form
from training.schema import Schema

Packed = tuple[Tensor, ...]
"""Tensors in the order of a signature, for B requests; ragged ones packed along their only axis."""

Bound = int | tuple[int | None, ...]
"""Of all elements of an input, or of each place along its one fixed axis; None for a place without a bound."""


NO_SCORE = -1e9
"""Of a place in a served list that holds no item; the item is 0 there."""


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
    """Smallest and largest legal value; a request beyond them is refused and names the field, and so is NaN."""
    missing: bool = False
    """Whether NaN is legal in spite of bounds: it says that a number is missing."""
    min_elements: int | None = None
    max_elements: int | None = None
    """Fewest and most elements that one request may carry in a ragged input."""
    per: int = 1
    """Ragged output of a step that is no graph: elements for each element of the input `of`, packed [per * C]."""
    neutral: str | None = None
    """Input: what a client may leave out stands for; an empty text for no element of a ragged one. None where a client
    must say it."""
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
    part_of: str | None = None
    """Name of the model of the same release that clients ask; None for that model itself."""


@dataclass(frozen=True, kw_only=True)
class EnsembleStep:
    """One step of an ensemble: the step's own tensor name -> the ensemble's tensor name."""

    model: str
    inputs: dict[str, str]
    outputs: dict[str, str]


Rename = Callable[[str], str]
"""Name of a model -> its new name."""


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
    module: nn.Module | None = None
    """What a graph computes; None for a model that is no graph."""
    steps: tuple[EnsembleStep, ...] = ()
    """Of an ensemble; any other model has none."""
    reads_histories: bool = False
    """Whether an answer depends on what the user of a request did since the export."""
    gives_ids: bool = False
    """Of a step that is no graph: whether it answers raw ids where an output has a map."""
    run_elements: int | None = None
    """Elements of its ragged inputs that one run has at most, where more in a run take longer; measured at export."""
    tables: Form | None = None
    """In what its graph keeps those tables by id whose values are rounded to it; None for float32."""
    unrounded: Callable[..., Packed] | None = None
    """`eager` of the same model before its tables were rounded."""
    is_asked: bool = False
    """Whether clients ask it, beside the last model of its release; those before it are its parts."""

    @property
    def is_graph(self) -> bool:
        """Whether it is one graph, which takes many requests packed."""
        return self.module is not None

    @property
    def maps_beside(self) -> bool:
        """Whether maps of raw ids lie beside it as files; a graph of ONNX has them in it, an ensemble in its steps."""
        return True

    @property
    def needs(self) -> tuple[str, ...]:
        """The models that it asks, which must be published with it or before."""
        return tuple(step.model for step in self.steps)

    def renamed(self, new: Rename) -> Self:
        """The same model where all models are called otherwise."""
        steps = tuple(replace(step, model=new(step.model)) for step in self.steps)
        whole = self.origin.part_of
        origin = replace(self.origin, part_of=None if whole is None else new(whole))
        return replace(self, name=new(self.name), steps=steps, origin=origin)


def of_origin(release: Sequence[Signature], origin: Origin) -> tuple[Signature, ...]:
    """The models of one release with their origin: all are parts of the next one that clients ask, as the last is."""
    found: list[Signature] = []
    whole = release[-1].name
    for one in reversed(release):
        is_whole = not found or one.is_asked
        whole = one.name if is_whole else whole
        found.append(replace(one, origin=origin if is_whole else replace(origin, part_of=whole)))
    return tuple(reversed(found))


@dataclass(frozen=True, kw_only=True)
class Servable(Signature):
    """A module whose `forward` is the served computation; exported to ONNX. `eager` is the module itself."""

    module: nn.Module = field()

    @property
    def maps_beside(self) -> bool:
        return False


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

    module: nn.Module = field()
    program: ExportedProgram
    """The module, traced."""
    form_of: str
    """Name of the ONNX model whose answers it must equal."""

    def renamed(self, new: Rename) -> Self:
        return replace(super().renamed(new), form_of=new(self.form_of))


@dataclass(frozen=True, kw_only=True)
class StepServable(Signature):
    """A step that is no graph, such as one that reads a user's state, rows of a file, or an index."""

    kind: str
    """What opens it on the serving side: a key of `serving.steps.STEPS`."""
    write: Callable[[Path, Mapping[str, str]], None]
    """(empty version folder, `asks`): writes the step's files."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """Other models that the step asks while it answers: what they are to it -> their names."""

    @property
    def maps_beside(self) -> bool:
        """Whether maps of raw ids lie beside it as files; a graph of ONNX has them in it, an ensemble in its steps."""
        return True

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(self.asks.values())

    def renamed(self, new: Rename) -> Self:
        return replace(super().renamed(new), asks={role: new(model) for role, model in self.asks.items()})


@dataclass(frozen=True, kw_only=True)
class EnsembleServable(Signature):
    """Steps joined by name inside tritonserver."""

    steps: tuple[EnsembleStep, ...] = field()

    @property
    def maps_beside(self) -> bool:
        return False
