"""Checks of a configuration's inputs, outputs, batch inputs and batch outputs by themselves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    BatchInput,  # pyright: ignore[reportAttributeAccessIssue]
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelInput,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.entry import Entry, Finding, Problem

_COUNT_TYPES = ("TYPE_INT32", "TYPE_FP32")
_SHAPE_TENSORS = "tensorrt_plan"
"""The platform of shape tensors and formats that are not linear."""

_IMAGE = 3
"""Axes of an image."""


def tensor_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the tensors of each configuration of one model."""
    for file, config in entry.configs.items():
        for kind, tensors in (("input", config.input), ("output", config.output)):
            yield from _repeated(entry, file, kind, [tensor.name for tensor in tensors])
            for number, tensor in enumerate(tensors):
                if not tensor.name:
                    yield entry.error(file, f"{kind}[{number}].name", "the tensor has no name", "name it")
                    continue
                for part, reason, remedy in _tensor(config, tensor):
                    yield entry.error(file, f"{kind}.{tensor.name}.{part}", reason, remedy)
        for output in config.output:
            yield from _labels(entry, file, output)
        for field, reason, remedy in _batch_tensors(config):
            yield entry.error(file, field, reason, remedy)


def _repeated(entry: Entry, file: str, kind: str, names: Sequence[str]) -> Iterator[Finding]:
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        reason = "the name is given twice; the server keeps one of the two"
        yield entry.warning(file, f"{kind}.{name}", reason, "remove one")


def _tensor(config: ModelConfig, tensor: Any) -> Iterator[Problem]:
    if tensor.data_type == DataType.TYPE_INVALID:
        yield "data_type", "the tensor has no type", "set it, e.g. to TYPE_FP32"
    if not tensor.dims:
        yield "dims", "the tensor has no dims", "set them; one element is [ 1 ]"
    elif not _are_sizes(tensor.dims):
        yield "dims", f"{list(tensor.dims)}: a size is at least 1", "write -1 for a size that varies"
    elif tensor.HasField("reshape"):
        yield from _reshape(config, list(tensor.dims), list(tensor.reshape.shape))
    if isinstance(tensor, ModelInput) and tensor.format != ModelInput.FORMAT_NONE and len(tensor.dims) != _IMAGE:
        name = ModelInput.Format.Name(tensor.format)
        yield "format", f"{name}, but dims are {list(tensor.dims)}", "an image has 3 dims; or leave the format out"
    for flag in ("is_shape_tensor", "is_non_linear_format_io"):
        if getattr(tensor, flag) and config.platform != _SHAPE_TENSORS:
            yield flag, "only models of the platform tensorrt_plan have such tensors", "remove it"
    if tensor.is_non_linear_format_io and config.platform == _SHAPE_TENSORS and len(tensor.dims) != _IMAGE:
        yield "is_non_linear_format_io", f"dims are {list(tensor.dims)}", "such a tensor has 3 dims"


def _are_sizes(dims: Iterable[int]) -> bool:
    return all(size >= 1 or size == -1 for size in dims)


def _reshape(config: ModelConfig, dims: list[int], shape: list[int]) -> Iterator[Problem]:
    if not _are_sizes(shape):
        yield "reshape", f"{shape}: a size is at least 1", "write -1 for a size that varies"
    elif not shape and config.max_batch_size == 0:
        yield "reshape", "empty, which without a batch axis leaves no tensor", "leave it out, with dims [ 1 ]"
    elif not shape and prod(dims) == 1 and -1 not in dims:
        return
    elif not shape or _sizes_between(dims) != _sizes_between(shape):
        reason = f"{shape} does not hold the elements of dims {dims}"
        yield "reshape", reason, "give both the same number of elements, between each -1 and the next"


def _sizes_between(dims: list[int]) -> list[int]:
    """Numbers of elements of the stretches between sizes that vary."""
    stretches: list[int] = [1]
    for is_open, sizes in groupby(dims, key=lambda size: size == -1):
        if is_open:
            stretches += [1 for _ in sizes]
        else:
            stretches[-1] *= prod(sizes)
    return stretches


def _labels(entry: Entry, file: str, output: Any) -> Iterator[Finding]:
    if output.label_filename and not (entry.folder / output.label_filename).is_file():
        reason = f"there is no file '{output.label_filename}' in the model's folder"
        remedy = "add it beside config.pbtxt, or remove the field"
        yield entry.error(file, f"output.{output.name}.label_filename", reason, remedy)


def _batch_tensors(config: ModelConfig) -> Iterator[Problem]:
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for kind, tensors in (("batch_input", config.batch_input), ("batch_output", config.batch_output)):
        for number, tensor in enumerate(tensors):
            field = f"{kind}.{tensor.target_name[0]}" if tensor.target_name else f"{kind}[{number}]"
            yield from _sources(field, list(tensor.source_input), inputs)
            if isinstance(tensor, BatchInput):
                yield from _count_type(field, tensor)
            else:
                yield from _targets(field, list(tensor.target_name), outputs)
                if config.backend == "onnxruntime":
                    yield from _cut(config, field, tensor)


def _sources(field: str, sources: list[str], inputs: set[str]) -> Iterator[Problem]:
    if len(sources) != 1:
        yield f"{field}.source_input", f"{sources}: the server wants exactly one", f"use one of {sorted(inputs)}"
    elif sources[0] not in inputs:
        yield f"{field}.source_input", f"there is no input '{sources[0]}'", f"use one of {sorted(inputs)}"


def _count_type(field: str, tensor: Any) -> Iterator[Problem]:
    name = DataType.Name(tensor.data_type)
    if name not in _COUNT_TYPES:
        yield f"{field}.data_type", f"counts cannot be {name}", f"use one of {_COUNT_TYPES}"


def _cut(config: ModelConfig, field: str, tensor: Any) -> Iterator[Problem]:
    """What NVIDIA's backend cuts into requests (BackendOutputResponder::ProcessBatchOutput): the first target alone, of
    numbers, and by the sizes that the source has on the same axes, without a look at how many it has."""
    targets = list(tensor.target_name)
    if len(set(targets)) > 1:
        reason = f"{targets}: NVIDIA's backend cuts the first one alone"
        yield f"{field}.target_name", reason, "give each output a batch_output of its own"
    for output in config.output:
        if output.name in targets and output.data_type == DataType.TYPE_STRING:
            reason = f"'{output.name}' is of strings, which NVIDIA's backend does not cut: it hands out other memory"
            yield f"{field}.target_name", reason, "leave the output out, or give it a fixed length"
    sources = {one.name: list(one.dims) for one in config.input if [one.name] == list(tensor.source_input)}
    for output in config.output:
        if output.name in targets[:1]:
            shape = list(output.reshape.shape if output.HasField("reshape") else output.dims)
            yield from _open_axes(f"{field}.source_input", output.name, shape, sources)


def _open_axes(field: str, output: str, shape: list[int], sources: Mapping[str, list[int]]) -> Iterator[Problem]:
    for source, dims in sources.items():
        for axis in (number for number, size in enumerate(shape) if size == -1):
            if dims[axis : axis + 1] != [-1]:
                reason = f"axis {axis} of '{output}' gets the size that '{source}' has there, whose dims are {dims}"
                yield field, reason, "name an input whose axis is that one, or give the output's axis a size"
                return


def _targets(field: str, targets: list[str], outputs: set[str]) -> Iterator[Problem]:
    for name in sorted(set(targets)):
        if name not in outputs:
            reason, remedy = f"there is no output '{name}'", f"use one of {sorted(outputs)}"
            yield f"{field}.target_name", reason, remedy
        elif targets.count(name) > 1:
            yield f"{field}.target_name", f"'{name}' is given twice", "give it once"
