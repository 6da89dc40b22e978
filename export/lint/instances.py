"""Checks of instance groups and warm-up requests."""

from collections.abc import Iterator
from typing import Any

from tritonclient.grpc.model_config_pb2 import (
    DataType,  # pyright: ignore[reportAttributeAccessIssue]
    ModelConfig,  # pyright: ignore[reportAttributeAccessIssue]
    ModelInstanceGroup,  # pyright: ignore[reportAttributeAccessIssue]
)

from export.lint.data_files import file_problem
from export.lint.entry import Entry, Finding, Problem

_WITHOUT_GPUS = (ModelInstanceGroup.KIND_CPU, ModelInstanceGroup.KIND_MODEL)


def instance_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the instances of each configuration of one model, and the requests that warm them up."""
    for file, config in entry.configs.items():
        # An ensemble must not have either, whatever they hold.
        if config.platform == "ensemble":
            continue
        for number, group in enumerate(config.instance_group):
            for field, reason, remedy in _group(config, group):
                yield entry.error(file, f"instance_group[{number}].{field}", reason, remedy)
            if group.kind == ModelInstanceGroup.KIND_AUTO and group.gpus:
                reason = "the kind is left open: a server without these GPUs takes KIND_CPU, and refuses the model"
                yield entry.warning(file, f"instance_group[{number}].gpus", reason, "set the kind to KIND_GPU")
        if all(group.passive for group in config.instance_group) and config.instance_group:
            continue
        for number, warmup in enumerate(config.model_warmup):
            field = f"model_warmup.{warmup.name}" if warmup.name else f"model_warmup[{number}]"
            for part, reason, remedy in _warmup(entry, config, warmup):
                yield entry.error(file, f"{field}.{part}", reason, remedy)


def _group(config: ModelConfig, group: Any) -> Iterator[Problem]:
    kind = ModelInstanceGroup.Kind.Name(group.kind)
    if group.kind in _WITHOUT_GPUS and group.gpus:
        reason = f"{list(group.gpus)}, but the kind is {kind}"
        yield "gpus", reason, "remove them, or set the kind to KIND_GPU"
    elif negative := [gpu for gpu in group.gpus if gpu < 0]:
        yield "gpus", f"{negative}: GPUs are counted from 0", "use the numbers that nvidia-smi shows"
    if group.profile and config.platform != "tensorrt_plan":
        yield "profile", f"{list(group.profile)}, but only TensorRT has profiles", "remove it"
    elif wrong := [name for name in group.profile if not name.strip().isdigit()]:
        yield "profile", f"{wrong}: a profile is a number from 0", "use the number of the engine's profile"


def _warmup(entry: Entry, config: ModelConfig, warmup: Any) -> Iterator[Problem]:
    if warmup.batch_size == 0:
        return
    inputs = {tensor.name: tensor for tensor in config.input}
    for name, value in sorted(warmup.inputs.items()):
        for part, reason, remedy in _warm_input(entry, value, inputs.get(name)):
            yield f"inputs.{name}{part}", reason, remedy
    missing = sorted({name for name, tensor in inputs.items() if not tensor.optional} - set(warmup.inputs))
    if missing:
        yield "inputs", f"the model's inputs {missing} are missing", "give each of them"


def _warm_input(entry: Entry, value: Any, tensor: Any | None) -> Iterator[Problem]:
    """An input that the configuration does not have is a control input, of any type and dims."""
    dims, data = list(value.dims), value.WhichOneof("input_data_type")
    if -1 in dims:
        yield ".dims", f"{dims}: a request has fixed sizes", "write each size"
    elif data is None:
        yield "", "the input has no data", "set zero_data, random_data or input_data_file"
    elif data == "input_data_file" and (reason := file_problem(entry.folder / "warmup" / value.input_data_file, value)):
        yield ".input_data_file", reason, "put the whole tensor into the folder warmup"
    elif tensor is not None and tensor.data_type and value.data_type != tensor.data_type:
        wanted, given = DataType.Name(tensor.data_type), DataType.Name(value.data_type)
        yield ".data_type", f"{given}, but the model's input is {wanted}", f"set it to {wanted}"
    elif tensor is not None and tensor.dims and not _fits(dims, list(tensor.dims)):
        yield ".dims", f"{dims}, but the model's input has {list(tensor.dims)}", "use dims of a real request"


def _fits(dims: list[int], wanted: list[int]) -> bool:
    return len(dims) == len(wanted) and all(size in (-1, own) for size, own in zip(wanted, dims, strict=True))
