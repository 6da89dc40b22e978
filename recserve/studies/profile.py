"""Where the time of a graph goes, by ONNX Runtime's profile: shares of groups of its nodes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto

_HIERARCHY = "pkg.torch.onnx.class_hierarchy"
_KERNEL = "_kernel_time"


def shares(
    file: Path,
    feeds: Mapping[str, np.ndarray],
    group: Callable[[NodeProto], str | None],
    folder: Path,
    repetitions: int = 20,
) -> dict[str, float]:
    """Share of the time that the nodes of each group take; of no group are those for which `group` says None.

    Without optimisation, so that the nodes keep their names. The profile is written into `folder`.
    """
    named = {node.name: group(node) for node in onnx.load(file).graph.node}
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads = True, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    for _ in range(repetitions):
        session.run(None, dict(feeds))
    took: dict[str | None, float] = {}
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event["name"].endswith(_KERNEL):
            own = named.get(event["name"].removesuffix(_KERNEL))
            took[own] = took.get(own, 0.0) + event["dur"]
    return {name: took.get(name, 0.0) / sum(took.values()) for name in {*named.values()} if name is not None}


def classes_of(node: NodeProto) -> list[str]:
    """Classes of the modules that a node is in, the outermost first; none of a node that the exporter added."""
    said = {entry.key: entry.value for entry in node.metadata_props}.get(_HIERARCHY, "[]")
    # The last one is the operator.
    return [one.strip("'\" ").rpartition(".")[2] for one in said.strip("[]").split(",")][:-1]
