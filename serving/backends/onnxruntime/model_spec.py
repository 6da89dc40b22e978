"""What the backend needs to know of a model's configuration, and the refusal of what it cannot do."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from serving import ids

DTYPES = {
    "TYPE_BOOL": np.dtype(np.bool_),
    "TYPE_INT8": np.dtype(np.int8),
    "TYPE_UINT8": np.dtype(np.uint8),
    "TYPE_INT32": np.dtype(np.int32),
    "TYPE_INT64": np.dtype(np.int64),
    "TYPE_FP16": np.dtype(np.float16),
    "TYPE_FP32": np.dtype(np.float32),
    "TYPE_FP64": np.dtype(np.float64),
    "TYPE_STRING": np.dtype(object),
}
BATCH_INPUT_KINDS = (
    "BATCH_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT",
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
)
SCATTER = "BATCH_SCATTER_WITH_INPUT_SHAPE"
CPU_KINDS = ("KIND_AUTO", "KIND_CPU")
RUN_ELEMENTS = "run_elements"

_INT64 = np.iinfo(np.int64)
_REFUSED = {
    "sequence_batching": "remove it, or use NVIDIA's onnxruntime backend",
    "model_operations.op_library_filename": "ship the operators as functions of the model",
    "model_transaction_policy.decoupled": "one request has one response",
    "optimization.execution_accelerators": "give this target its own configs/<target>.pbtxt",
    "optimization.cuda": "give this target its own configs/<target>.pbtxt",
}
_REFUSED_OF_TENSORS = {"is_shape_tensor", "optional"}


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """An input that requests carry."""

    name: str
    dtype: np.dtype
    ragged: bool
    reshape: tuple[int, ...] | None
    """Shape beside the batch in the graph, where it differs from a client's; -1 is any length."""
    minimum: np.ndarray | None
    maximum: np.ndarray | None
    """int64 [], or one for each place along the only axis beside the batch."""
    missing: bool
    """Whether NaN says that a number is missing, and is legal in spite of bounds."""
    min_elements: int | None
    max_elements: int | None
    max_bytes: int | None
    """Of one element of text."""

    @property
    def bounded(self) -> bool:
        """Whether there is a bound to check."""
        return not (self.minimum is self.maximum is self.min_elements is self.max_elements is None)


@dataclass(frozen=True, kw_only=True)
class AxisSpec:
    """A symbolic axis: its bounds, the axis that it follows, and where it is found."""

    name: str
    least: int
    greatest: int | None
    places: tuple[tuple[str, int], ...]
    """(input, number of the axis beside the batch)"""
    follows: tuple[int, str] | None
    """How many there are for each element of which other axis; None for one whose size is its own."""


@dataclass(frozen=True, kw_only=True)
class BatchInputSpec:
    """An input that is computed from the requests' sizes."""

    name: str
    dtype: np.dtype
    kind: str
    source: str


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """An output; `scattered_like` names the ragged input whose lengths it has."""

    name: str
    dtype: np.dtype
    scattered_like: str | None
    reshape: tuple[int, ...] | None
    """Shape beside the batch at a client, where it differs from the graph's."""


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model's configuration, as far as it governs how requests become one run."""

    name: str
    max_batch_size: int
    inputs: tuple[InputSpec, ...]
    axes: tuple[AxisSpec, ...]
    batch_inputs: tuple[BatchInputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    filename: str
    intra_op_threads: int
    inter_op_threads: int
    parallel: bool
    """Whether independent nodes run at once (`execution_mode` 1)."""
    mapped_ids: tuple[str, ...]
    """Tensors whose raw ids a backend maps by files of the version; a graph of ONNX does so itself."""
    run_elements: int | None
    """Elements of the ragged inputs that requests of one run have together at most; None for no bound."""
    graph_level: int | None
    """-1 basic, 1 extended, 2 no optimisation, None all: as in NVIDIA's backend."""

    @property
    def ragged(self) -> bool:
        """Whether requests of unlike length share a run."""
        return any(spec.ragged for spec in self.inputs)

    @classmethod
    def parse(cls, config: Mapping[str, Any], kinds: Sequence[str] = CPU_KINDS) -> Self:
        """Reads a configuration in its JSON form.

        Args:
            config: the JSON that tritonserver hands to a backend, or `json_format.MessageToDict(message,
                preserving_proto_field_name=True)` of a `ModelConfig`.
            kinds: the kinds of instances that the backend runs.

        Raises:
            ValueError: the configuration asks for what this backend does not do.
        """
        name = str(config.get("name", ""))
        for problem in _unsupported(config, kinds):
            raise ValueError(f"{name}: {problem}")
        parameters = {key: str(value.get("string_value", "")) for key, value in config.get("parameters", {}).items()}
        graph = config.get("optimization", {}).get("graph")
        return cls(
            name=name,
            max_batch_size=int(config.get("max_batch_size", 0)),
            inputs=tuple(_input(name, entry, parameters) for entry in config.get("input", [])),
            axes=_axes(name, config, parameters),
            batch_inputs=tuple(spec for entry in config.get("batch_input", []) for spec in _batch_inputs(name, entry)),
            outputs=_outputs(name, config),
            filename=config.get("default_model_filename") or "model.onnx",
            intra_op_threads=_integer(name, parameters, "intra_op_thread_count") or 1,
            inter_op_threads=_integer(name, parameters, "inter_op_thread_count") or 1,
            parallel=_integer(name, parameters, "execution_mode") == 1,
            mapped_ids=ids.mapped_ids(parameters),
            run_elements=_run_elements(name, config, parameters),
            graph_level=None if graph is None else int(graph.get("level", 0)) or None,
        )


def _unsupported(config: Mapping[str, Any], kinds: Sequence[str]) -> Iterator[str]:
    """What the configuration asks for and this backend would have to ignore."""
    for path, remedy in _REFUSED.items():
        section, _, field = path.partition(".")
        # An empty section asks for its defaults, so its mere presence counts.
        if (config.get(section) or {}).get(field) if field else section in config:
            yield f"{path} is not supported by this backend; {remedy}"
    for tensor in (*config.get("input", []), *config.get("output", [])):
        for field in _REFUSED_OF_TENSORS & {name for name, value in tensor.items() if value}:
            yield f"tensor '{tensor['name']}': {field} is not supported by this backend; export the model without it"
    for group in config.get("instance_group", []):
        if group.get("kind", "KIND_AUTO") not in kinds:
            yield f"instance_group.kind {group['kind']} is not supported by this backend; on a CPU use KIND_CPU"
    for entry in config.get("batch_input", []):
        # The first kind is the protobuf default, which MessageToDict leaves out.
        if (kind := entry.get("kind", BATCH_INPUT_KINDS[0])) not in BATCH_INPUT_KINDS:
            yield f"batch_input.kind {kind} is not supported by this backend; use one of {', '.join(BATCH_INPUT_KINDS)}"


def _input(model: str, entry: Mapping[str, Any], parameters: Mapping[str, str]) -> InputSpec:
    name = entry["name"]
    return InputSpec(
        name=name,
        dtype=_dtype(model, name, entry["data_type"]),
        ragged=bool(entry.get("allow_ragged_batch", False)),
        reshape=_shape(entry["reshape"].get("shape", [])) if "reshape" in entry else None,
        minimum=_bound(model, parameters, f"minimum.{name}", _INT64.min),
        maximum=_bound(model, parameters, f"maximum.{name}", _INT64.max),
        missing=f"missing.{name}" in parameters,
        min_elements=_integer(model, parameters, f"min_elements.{name}"),
        max_elements=_integer(model, parameters, f"max_elements.{name}"),
        max_bytes=_integer(model, parameters, f"max_bytes.{name}"),
    )


def _axes(model: str, config: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[AxisSpec, ...]:
    places: dict[str, list[tuple[str, int]]] = {}
    for entry in config.get("input", []):
        names = parameters.get(f"axes.{entry['name']}", "").split(",")
        for number, name in enumerate(names):
            if name and not name.isdigit():
                places.setdefault(name, []).append((entry["name"], number))
    return tuple(
        AxisSpec(
            name=name,
            least=_integer(model, parameters, f"least.{name}") or 0,
            greatest=_integer(model, parameters, f"greatest.{name}"),
            places=tuple(found),
            follows=_follows(model, parameters, name, places),
        )
        for name, found in places.items()
    )


def _follows(model: str, parameters: Mapping[str, str], name: str, axes: Collection[str]) -> tuple[int, str] | None:
    text = parameters.get(f"times.{name}")
    if text is None:
        return None
    times, _, axis = text.partition(",")
    if not (times.isascii() and times.isdigit() and axis in axes):
        raise ValueError(f"{model}: parameter 'times.{name}' is '{text}'; write as '8,candidates'")
    return int(times), axis


def _shape(axes: Sequence[Any]) -> tuple[int, ...]:
    # 64-bit numbers are text in the JSON form.
    return tuple(int(axis) for axis in axes)


def _batch_inputs(model: str, entry: Mapping[str, Any]) -> Iterator[BatchInputSpec]:
    for name in entry["target_name"]:
        yield BatchInputSpec(
            name=name,
            dtype=_dtype(model, name, entry["data_type"]),
            kind=entry.get("kind", BATCH_INPUT_KINDS[0]),
            source=entry["source_input"][0],
        )


def _outputs(model: str, config: Mapping[str, Any]) -> tuple[OutputSpec, ...]:
    scattered = {
        name: entry["source_input"][0] for entry in config.get("batch_output", []) for name in entry["target_name"]
    }
    return tuple(
        OutputSpec(
            name=entry["name"],
            dtype=_dtype(model, entry["name"], entry["data_type"]),
            scattered_like=scattered.get(entry["name"]),
            reshape=_shape(entry.get("dims", [])) if "reshape" in entry else None,
        )
        for entry in config.get("output", [])
    )


def _dtype(model: str, tensor: str, data_type: str) -> np.dtype:
    if data_type not in DTYPES:
        raise ValueError(f"{model}: tensor '{tensor}' has data_type {data_type}; use one of {', '.join(DTYPES)}")
    return DTYPES[data_type]


def _run_elements(model: str, config: Mapping[str, Any], parameters: Mapping[str, str]) -> int | None:
    found = _integer(model, parameters, RUN_ELEMENTS)
    if found is not None and found < 1:
        raise ValueError(f"{model}: parameter '{RUN_ELEMENTS}' is '{found}'; write 1 or more, or leave it out")
    if found is not None and not any(entry.get("allow_ragged_batch") for entry in config.get("input", [])):
        raise ValueError(f"{model}: parameter '{RUN_ELEMENTS}' needs an input with allow_ragged_batch; leave it out")
    return found


def _bound(model: str, parameters: Mapping[str, str], key: str, unlimited: int) -> np.ndarray | None:
    """One whole number, or several with commas between them; an empty one is no bound."""
    if key not in parameters:
        return None
    texts = parameters[key].split(",")
    try:
        places = [unlimited if len(texts) > 1 and not text else int(text) for text in texts]
    except ValueError:
        raise ValueError(f"{model}: parameter '{key}' is '{parameters[key]}'; write whole numbers") from None
    return np.array(places[0] if len(places) == 1 else places)


def _integer(model: str, parameters: Mapping[str, str], key: str) -> int | None:
    if key not in parameters:
        return None
    try:
        return int(parameters[key])
    except ValueError:
        raise ValueError(f"{model}: parameter '{key}' is '{parameters[key]}'; write a whole number") from None
