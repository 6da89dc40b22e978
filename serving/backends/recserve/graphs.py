"""CUDA graphs per bucket of shapes: one launch per run in place of one per operator.

A run is padded up to its bucket on the host. The padding belongs to requests of its own, behind all others, so that
an answer depends on nothing but its own request. Bucketing and padding are tested here on a CPU; what captures and
replays has been written for a GPU and not been run on one.

Axes: B rows of a run, C elements of its ragged input packed over them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import GraphModule

from serving.backends.onnxruntime.model_spec import ModelSpec

Feeds = Mapping[str, np.ndarray]
Compute = Callable[[Sequence[Tensor]], Sequence[Tensor]]

SMALLEST_ELEMENTS = 64
LARGEST_ELEMENTS = 65_536
"""Elements of a bucket; longer runs are bound by their work, not by launches."""
MOST_GRAPHS = 128
"""Graphs that are kept; axes of inputs that differ from run to run could ask for ever more."""

_ENDS = "BATCH_ACCUMULATED_ELEMENT_COUNT"
_WARM_UPS = 3
_DATA_DEPENDENT = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class Bucket(NamedTuple):
    """The shape that a run is padded to."""

    rows: int
    """A power of two, and one row that owns the padding elements."""
    elements: int
    """A power of two; 0 for a model without a ragged input."""


def bucket_of(spec: ModelSpec, feeds: Feeds) -> Bucket | None:
    """The bucket of a run; None where it has none and is computed as it is."""
    ragged = [field.name for field in spec.inputs if field.ragged]
    if len(ragged) > 1 or any(batch_input.kind != _ENDS for batch_input in spec.batch_inputs):
        return None
    elements = 0
    if ragged:
        elements = max(SMALLEST_ELEMENTS, _next_power_of_two(len(feeds[ragged[0]])))
    if elements > LARGEST_ELEMENTS:
        return None
    return Bucket(_next_power_of_two(_num_rows(spec, feeds)) + 1, elements)


def pad(spec: ModelSpec, feeds: Feeds, bucket: Bucket) -> dict[str, np.ndarray]:
    """Zeros up to the bucket's shape; the new rows but the last are requests without elements."""
    padded = {}
    for field in spec.inputs:
        padded[field.name] = _extended(feeds[field.name], bucket.elements if field.ragged else bucket.rows)
    for batch_input in spec.batch_inputs:
        ends = _extended(feeds[batch_input.name], bucket.rows)
        ends[len(feeds[batch_input.name]) :] = len(feeds[batch_input.source])
        ends[-1] = bucket.elements
        padded[batch_input.name] = ends
    return padded


def cut(spec: ModelSpec, feeds: Feeds, outputs: Feeds) -> dict[str, np.ndarray]:
    """The outputs of a padded run without the padding, for the feeds before it."""
    rows = _num_rows(spec, feeds)
    like = {output.name: output.scattered_like for output in spec.outputs}
    lengths = {name: rows if source is None else len(feeds[source]) for name, source in like.items()}
    return {name: outputs[name][:length] for name, length in lengths.items()}


def capturable(program: ExportedProgram) -> bool:
    """Whether no operator's work or result depends on values that the host would have to wait for."""
    return not any(tag in operator.tags for operator in operators(program) for tag in _DATA_DEPENDENT)


def operators(program: ExportedProgram) -> Iterator[OpOverload]:
    """The operators that the program calls, those of its branches among them."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            if isinstance(node.target, OpOverload):
                yield node.target


class _Captured(NamedTuple):
    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Graphs:
    """Graphs of one program, captured when their shapes first come; one pool of memory, as runs never overlap."""

    def __init__(self, compute: Compute, device: torch.device) -> None:
        self._compute = compute
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._captured: dict[tuple[torch.Size, ...], _Captured] = {}

    def __call__(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Host tensors of a bucket's shapes -> tensors on the device, valid until the next call."""
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._captured:
            if len(self._captured) >= MOST_GRAPHS:
                return self._compute([tensor.to(self._device) for tensor in inputs])
            self._captured[shapes] = self._capture(inputs)
        captured = self._captured[shapes]
        for static, tensor in zip(captured.inputs, inputs, strict=True):
            static.copy_(tensor)
        captured.graph.replay()
        return captured.outputs

    def _capture(self, inputs: Sequence[Tensor]) -> _Captured:
        static = [tensor.to(self._device) for tensor in inputs]
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._compute(static)
        torch.cuda.current_stream(self._device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = self._compute(static)
        return _Captured(graph, static, outputs)


def _next_power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()


def _num_rows(spec: ModelSpec, feeds: Feeds) -> int:
    names = [*(field.name for field in spec.inputs if not field.ragged), *(entry.name for entry in spec.batch_inputs)]
    return len(feeds[names[0]])


def _extended(array: np.ndarray, length: int) -> np.ndarray:
    extended = np.zeros((length, *array.shape[1:]), array.dtype)
    extended[: len(array)] = array
    return extended
