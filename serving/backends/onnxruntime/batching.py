"""ONNX Runtime under the stand-in backend, inside tritonserver and in process for the parity checks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec
from serving.backends.packing import Request

_LEVELS = {
    None: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def load_session(path: Path, spec: ModelSpec) -> onnxruntime.InferenceSession:
    """A CPU session for one model file, with the threads and graph level of the configuration.

    Raises:
        ValueError: the graph's inputs or outputs are not those of the configuration.
    """
    options = options_of(spec)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    configured = {tensor.name for tensor in (*spec.inputs, *spec.batch_inputs)}
    _same_names(spec.name, "inputs", configured, {node.name for node in session.get_inputs()})
    produced = {node.name for node in session.get_outputs()}
    _same_names(spec.name, "outputs", {tensor.name for tensor in spec.outputs} - produced, set())
    return session


def options_of(spec: ModelSpec) -> onnxruntime.SessionOptions:
    """Threads and graph level of the configuration. Raises ValueError for a level that there is not."""
    if spec.graph_level not in _LEVELS:
        raise ValueError(f"{spec.name}: optimization.graph.level is {spec.graph_level}; use -1, 1, 2 or leave it out")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec.intra_op_threads
    options.inter_op_num_threads = spec.inter_op_threads
    options.execution_mode = (
        onnxruntime.ExecutionMode.ORT_PARALLEL if spec.parallel else onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    )
    options.graph_optimization_level = _LEVELS[spec.graph_level]
    # Errors alone: it warns of constants that it folded away itself, of which nobody has to know.
    options.log_severity_level = 3
    # An idle pool that spins takes the cores of the next model.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def run(
    session: onnxruntime.InferenceSession, spec: ModelSpec, requests: Sequence[Request]
) -> list[dict[str, np.ndarray]]:
    """As `packing.answer`."""
    return packing.answer(spec, requests, lambda feeds: _outputs(session, spec, feeds))


def _outputs(
    session: onnxruntime.InferenceSession, spec: ModelSpec, feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    names = [output.name for output in spec.outputs]
    return {name: np.asarray(array) for name, array in zip(names, session.run(names, feeds), strict=True)}


def _same_names(model: str, what: str, configured: set[str], found: set[str]) -> None:
    if configured != found:
        raise ValueError(
            f"{model}: {what} of the configuration and of the graph differ: only configured "
            f"{sorted(configured - found)}, only in the graph {sorted(found - configured)}; export the model again"
        )
