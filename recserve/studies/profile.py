"""Where the time of a graph goes, by ONNX Runtime's profile."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import NodeProto

_HIERARCHY = "pkg.torch.onnx.class_hierarchy"
_KERNEL = "_kernel_time"


class Profile(NamedTuple):
    """Of some runs."""

    events: list[dict[str, Any]]
    """Of nodes, each run of each, with `name` (the node's), `dur` (microseconds) and what ORT says in `args`."""
    outputs: list[np.ndarray]
    """Of the last run."""


def profiled(
    file: Path, feeds: Mapping[str, np.ndarray], options: onnxruntime.SessionOptions, repetitions: int
) -> Profile:
    """By a session with these options, which are changed."""
    with TemporaryDirectory(prefix="recserve-profile-") as folder:
        options.enable_profiling, options.profile_file_prefix = True, f"{folder}/profile"
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        outputs = [session.run(None, dict(feeds)) for _ in range(repetitions)][-1]
        found = json.loads(Path(session.end_profiling()).read_text())
    events = [one | {"name": one["name"].removesuffix(_KERNEL)} for one in found if one["name"].endswith(_KERNEL)]
    return Profile(events, [np.asarray(one) for one in outputs])


def shares(
    file: Path, feeds: Mapping[str, np.ndarray], group: Callable[[NodeProto], str | None], repetitions: int = 20
) -> dict[str, float]:
    """Share of the time that the nodes of each group take; of no group are those for which `group` says None.

    Without optimisation, so that the nodes keep their names.
    """
    named = {node.name: group(node) for node in onnx.load(file).graph.node}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    took: dict[str | None, float] = {}
    for event in profiled(file, feeds, options, repetitions).events:
        own = named.get(event["name"])
        took[own] = took.get(own, 0.0) + event["dur"]
    return {name: took.get(name, 0.0) / sum(took.values()) for name in {*named.values()} if name is not None}


def classes_of(node: NodeProto) -> list[str]:
    """Classes of the modules that a node is in, the outermost first; none of a node that the exporter added."""
    said = {entry.key: entry.value for entry in node.metadata_props}.get(_HIERARCHY, "[]")
    # The last one is the operator.
    return [one.strip("'\" ").rpartition(".")[2] for one in said.strip("[]").split(",")][:-1]
