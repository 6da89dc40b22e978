"""tritonserver's config.pbtxt, generated from a signature through the server's own protobuf."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export import client_ids
from export.kinds import kind_of
from export.signature import Bounds, check_signature, client_inputs, declared_axes, followers
from serving.backends import backlog
from serving.backends.onnxruntime.model_spec import RUN_ELEMENTS
from serving.configs import FUSED
from serving.identity import Identity
from training import schema as schema_file
from training.servable import Signature, TensorSpec

Target = Literal["gpu", "cpu"]

QUEUE_DELAY_US: dict[Target, int] = {"gpu": 200, "cpu": 0}
"""How long a lone request may wait for company. Under load the queue fills by itself while the instance is busy, so
a longer wait would only be paid by the requests that come when nothing else does; on a CPU, batches gain less."""

QUEUE_TIMEOUT_US = 1_000_000
"""Longest wait in the queue before a request is rejected; a request may ask for less, never for more."""

MAX_QUEUE_SIZE = 256

MAX_BACKLOG_MS = 500
"""The bound of the queue on the target `cpu`, kept by our backends: see serving/backends/backlog.py."""

DATA_TYPES = {
    "bool": "TYPE_BOOL",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "string": "TYPE_STRING",
}

_SIGNATURE_FIELDS = ("name", "backend", "platform", "max_batch_size", "input", "output", "batch_input", "batch_output")


class Problem(NamedTuple):
    """Something wrong with a field of a configuration."""

    field: str
    reason: str
    remedy: str


def model_config(signature: Signature, target: Target) -> ModelConfig:
    """The configuration of one model for one target.

    Raises ValueError where the signature cannot be served, and where an ensemble's steps do not fit together.
    """
    check_signature(signature)
    config = ModelConfig(name=signature.name, max_batch_size=signature.max_batch_size)
    identity_of(signature).add_to(config)
    config.version_policy.latest.num_versions = 1
    for spec in client_inputs(signature):
        config.input.add(
            name=spec.name, data_type=DATA_TYPES[spec.client_dtype], dims=_dims(spec), allow_ragged_batch=spec.ragged
        )
        _drop_last_axis(config.input[-1], spec)
    for spec in signature.outputs:
        config.output.add(name=spec.name, data_type=DATA_TYPES[spec.client_dtype], dims=_dims(spec))
        _drop_last_axis(config.output[-1], spec)
    for name, value in client_ids.parameters(signature).items():
        config.parameters[name].string_value = value
    if signature.steps:
        _add_steps(config, signature)
        _add_bounds(config, signature)
        for problem in ensemble_problems(config, {}):
            raise ValueError(f"ensemble '{signature.name}', {problem.field}: {problem.reason}; {problem.remedy}")
        return config if target == "gpu" else _fused(config, signature)
    kind = kind_of(signature)
    config.backend, config.default_model_filename = kind.backend, kind.filename
    for name, value in kind.parameters(signature).items():
        config.parameters[name].string_value = value
    add_scheduling(config, target)
    _add_bounds(config, signature)
    if signature.is_graph:
        _add_packing(config, signature)
        _add_threads(config)
    if signature.run_elements is not None and target == "cpu":
        config.parameters[RUN_ELEMENTS].string_value = str(signature.run_elements)
    return config


def identity_of(signature: Signature) -> Identity:
    """What the configuration says of the model's origin."""
    origin, schema = signature.origin, signature.origin.schema
    if schema is None:
        return Identity(origin.system, origin.task, part_of=origin.part_of)
    return Identity(origin.system, origin.task, schema.dataset, schema_file.digest(schema), origin.part_of)


def render(config: ModelConfig) -> str:
    """The text of config.pbtxt: the same text for the same configuration."""
    return text_format.MessageToString(config)


def parse(text: str) -> ModelConfig:
    """The configuration that a config.pbtxt holds; raises ValueError with line and column where it holds none."""
    try:
        return text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"not a model configuration: {error}") from error


def read_config(path: Path) -> ModelConfig:
    """The configuration in a file; raises ValueError with path, line and column where it holds none."""
    try:
        return parse(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def signature_changes(old: ModelConfig, new: ModelConfig) -> list[str]:
    """Names of the fields, of those a client depends on, in which two configurations differ."""
    old, new = _of_ensemble(old), _of_ensemble(new)
    return [name for name in _SIGNATURE_FIELDS if getattr(old, name) != getattr(new, name)]


def ensemble_problems(config: ModelConfig, steps: Mapping[str, ModelConfig]) -> Iterator[Problem]:
    """What keeps an ensemble from loading; what a step itself offers is checked for those in `steps`."""
    types: dict[str, int | None] = {tensor.name: tensor.data_type for tensor in config.input}
    for number, step in enumerate(config.ensemble_scheduling.step):
        model = steps.get(step.model_name)
        produced = {} if model is None else {tensor.name: tensor.data_type for tensor in model.output}
        for name, tensor in sorted(step.output_map.items()):
            if tensor in types:
                reason = f"output '{name}' of '{step.model_name}' writes '{tensor}', which exists already"
                yield Problem(f"ensemble_scheduling.step[{number}].output_map", reason, "give it another name")
            types[tensor] = produced.get(name)
    # The server orders the steps by their tensors, so a step may read what a later one writes.
    for number, step in enumerate(config.ensemble_scheduling.step):
        for name, source in sorted(step.input_map.items()):
            if source not in types:
                reason = f"input '{name}' of '{step.model_name}' reads '{source}', which nothing produces"
                remedy = f"map it to one of {sorted(types)}"
                yield Problem(f"ensemble_scheduling.step[{number}].input_map", reason, remedy)
        if step.model_name in steps:
            yield from _step_problems(config, number, steps[step.model_name], types)
    for tensor in config.output:
        if tensor.name not in types:
            yield Problem("output", f"no step produces '{tensor.name}'", f"map it from one of {sorted(types)}")


def _step_problems(
    config: ModelConfig, number: int, model: ModelConfig, types: Mapping[str, int | None]
) -> Iterator[Problem]:
    step, field = config.ensemble_scheduling.step[number], f"ensemble_scheduling.step[{number}]"
    if config.max_batch_size > model.max_batch_size:
        reason = f"the ensemble's {config.max_batch_size} exceeds the {model.max_batch_size} of '{step.model_name}'"
        yield Problem("max_batch_size", reason, f"set it to at most {model.max_batch_size}")
    for kind, mapping, tensors in (("input", step.input_map, model.input), ("output", step.output_map, model.output)):
        offered = {tensor.name for tensor in tensors}
        for name in sorted(set(mapping) - offered):
            reason = f"'{step.model_name}' has no {kind} '{name}'"
            yield Problem(f"{field}.{kind}_map", reason, f"use one of {sorted(offered)}")
    for tensor in model.input:
        source = step.input_map.get(tensor.name)
        found = types.get(source) if source is not None else None
        if source is None and not tensor.optional:
            reason = f"input '{tensor.name}' of '{step.model_name}' is not mapped"
            yield Problem(f"{field}.input_map", reason, "map it to a tensor of the ensemble")
        if found is not None and found != tensor.data_type:
            wanted, given = DataType.Name(tensor.data_type), DataType.Name(found)
            reason = f"input '{tensor.name}' of '{step.model_name}' is {wanted}, '{source}' is {given}"
            yield Problem(f"{field}.input_map", reason, "map it to a tensor of its own type")


def _dims(spec: TensorSpec) -> list[int]:
    return [axis if isinstance(axis, int) else -1 for axis in spec.shape] or [1]


def _drop_last_axis(tensor: Any, spec: TensorSpec) -> None:
    """Of a ModelInput or ModelOutput: an axis beside the batch, which tritonserver wants; a graph's [B] has none."""
    if spec.shape == ():
        tensor.reshape.SetInParent()


def _add_steps(config: ModelConfig, signature: Signature) -> None:
    config.platform = "ensemble"
    # The server sets the flag per step; on the ensemble itself it would say nothing.
    for tensor in config.input:
        tensor.allow_ragged_batch = False
    for step in signature.steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model, model_version=-1, input_map=step.inputs, output_map=step.outputs
        )


def _fused(ensemble: ModelConfig, signature: Signature) -> ModelConfig:
    """The ensemble as one model, which reads its steps from config.pbtxt."""
    config = ModelConfig()
    config.CopyFrom(ensemble)
    config.ClearField("ensemble_scheduling")
    config.ClearField("platform")
    config.backend = FUSED
    ragged = {spec.name for spec in signature.inputs if spec.ragged}
    for tensor in config.input:
        tensor.allow_ragged_batch = tensor.name in ragged
    add_scheduling(config, "cpu")
    return config


def _of_ensemble(config: ModelConfig) -> ModelConfig:
    """A fused ensemble as the ensemble that it stands for; any other configuration as it is."""
    if config.backend != FUSED:
        return config
    ensemble = ModelConfig()
    ensemble.CopyFrom(config)
    ensemble.backend, ensemble.platform = "", "ensemble"
    for tensor in ensemble.input:
        tensor.allow_ragged_batch = False
    return ensemble


def add_scheduling(config: ModelConfig, target: Target) -> None:
    """One instance, and how requests wait for it."""
    # The user state is read on the CPU on every target.
    on_gpu = target == "gpu" and config.backend != "python"
    config.instance_group.add(count=1, kind="KIND_GPU" if on_gpu else "KIND_CPU")
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = QUEUE_DELAY_US[target]
    if target == "cpu":
        config.parameters[backlog.PARAMETER].string_value = str(MAX_BACKLOG_MS)
        return
    # The policy's timeout_action is left at its default, REJECT.
    batching.default_queue_policy.default_timeout_microseconds = QUEUE_TIMEOUT_US
    batching.default_queue_policy.allow_timeout_override = True
    batching.default_queue_policy.max_queue_size = MAX_QUEUE_SIZE


def _add_bounds(config: ModelConfig, signature: Signature) -> None:
    for spec in client_inputs(signature):
        for bound in ("minimum", "maximum", "min_elements", "max_elements"):
            value = getattr(spec, bound)
            if value is not None:
                places = value if isinstance(value, tuple) else (value,)
                text = ",".join("" if place is None else str(place) for place in places)
                config.parameters[f"{bound}.{spec.name}"].string_value = text
        if spec.missing:
            config.parameters[f"missing.{spec.name}"].string_value = "NaN"
        if spec.neutral is not None:
            config.parameters[f"neutral.{spec.name}"].string_value = spec.neutral
    _add_axes(config, signature)


def _add_axes(config: ModelConfig, signature: Signature) -> None:
    """What a backend checks of the open axes: bounds, those that inputs have in common, those that follow another."""
    inputs = client_inputs(signature)
    places = [axis for spec in inputs for axis in spec.shape if isinstance(axis, str)]
    bounds = declared_axes(signature)
    following = followers(signature)
    checked = {axis for axis, bound in bounds.items() if bound != Bounds(0, None) or places.count(axis) > 1}
    checked |= {*following, *(str(follower.of) for follower in following.values())}
    for spec in inputs:
        if checked & set(spec.shape):
            config.parameters[f"axes.{spec.name}"].string_value = ",".join(str(axis) for axis in spec.shape)
    for axis in checked:
        if (least := bounds[axis].least) > 0:
            config.parameters[f"least.{axis}"].string_value = str(least)
        if (greatest := bounds[axis].greatest) is not None:
            config.parameters[f"greatest.{axis}"].string_value = str(greatest)
    for axis, follower in following.items():
        config.parameters[f"times.{axis}"].string_value = f"{follower.times},{follower.of}"


def _add_packing(config: ModelConfig, signature: Signature) -> None:
    for spec in signature.inputs:
        if spec.of is not None:
            config.batch_input.add(
                kind="BATCH_ACCUMULATED_ELEMENT_COUNT",
                target_name=[spec.name],
                data_type=DATA_TYPES[spec.dtype],
                source_input=[spec.of],
            )
    for spec in signature.outputs:
        if spec.of is not None:
            config.batch_output.add(
                target_name=[spec.name],
                kind="BATCH_SCATTER_WITH_INPUT_SHAPE",
                source_input=[spec.of],
            )


def _add_threads(config: ModelConfig) -> None:
    # Unset, ONNX Runtime starts a thread per core of the host, whatever the container may use; on a GPU target the
    # operators that fall back to the CPU would do the same.
    threads = [("intra_op_thread_count", 1), ("inter_op_thread_count", 1)]
    if config.backend == "onnxruntime":
        threads.append(("execution_mode", 0))
    for name, value in threads:
        config.parameters[name].string_value = str(value)
