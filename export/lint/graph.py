"""Checks of an ONNX graph by itself: what ONNX Runtime cannot load, and what serves badly."""

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

import onnx
from tritonclient.grpc.model_config_pb2 import ModelConfig  # pyright: ignore[reportAttributeAccessIssue]

from export.lint.entry import Entry, Finding, graph_files
from export.lint.graph_tables import table_findings
from export.lint.graph_tensors import Pair, pair_findings
from export.lint.onnx_types import is_tensor
from export.onnx import OLDEST_SERVER, SERVERS, random_nodes

_SAVED_BY_ORT = "com.microsoft.nchwc"
"""ONNX Runtime declares this domain in the graphs that it writes after optimising them; exporters do not."""

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "org.pytorch.aten")
"""Beside com.microsoft and com.ms: domains of operators that ONNX Runtime has itself."""


def graph_findings(entry: Entry) -> Iterator[Finding]:
    """Findings about the graphs of one model, by themselves and against each configuration."""
    for file, model in entry.graphs.items():
        if not model.HasField("graph"):
            yield entry.error(file, "graph", "the file holds no graph", "export the model again")
            continue
        yield from _age(entry, file, model)
        yield from _optimised(entry, file, model)
        yield from _external(entry, file, model)
        yield from _edges(entry, file, model)
        yield from _names(entry, file, model.graph)
        yield from table_findings(entry, file, model.graph)
        for node in random_nodes(model):
            reason = f"{node.op_type} draws random numbers: the same request gets different answers"
            yield entry.warning(file, node.name, reason, "make the noise an input")
    for file, config in entry.configs.items():
        for graph_file in graph_files(entry, config):
            if graph_file in entry.graphs and entry.graphs[graph_file].HasField("graph"):
                yield from _operators(entry, graph_file, config)
                yield from pair_findings(Pair.of(entry, file, graph_file))


def _age(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    limits = SERVERS[OLDEST_SERVER]
    opset = max((imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")), default=0)
    for field, found, allowed in (("ir_version", model.ir_version, limits.ir), ("opset", opset, limits.opset)):
        if found > allowed:
            able = [name for name, limit in SERVERS.items() if found <= getattr(limit, field.removesuffix("_version"))]
            since = f"it loads from {able[0]} on" if able else "no server that we know loads it"
            reason = f"{found}, but tritonserver {OLDEST_SERVER} reads at most {allowed}; {since}"
            yield entry.error(file, field, reason, f"export with {field} {allowed}")


def _optimised(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    fused = sorted({node.op_type for node in model.graph.node if node.domain.startswith("com.microsoft")})
    if fused or any(imported.domain == _SAVED_BY_ORT for imported in model.opset_import):
        reason = f"optimised offline by ONNX Runtime (fused nodes: {fused}): it is tied to one kind of machine"
        yield entry.warning(file, "", reason, "ship the exported graph; the server optimises it when it loads")


def _external(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    """Weights that are kept in files of their own, which must lie where the graph says."""
    path = entry.folder / file
    folder = path if path.is_dir() else path.parent
    ends: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            stored = {item.key: item.value for item in tensor.external_data}
            end = sum(int(stored[key]) for key in ("offset", "length") if stored.get(key, "").isdecimal())
            location = stored.get("location", "")
            ends[location] = max(ends.get(location, 0), end)
    for location, end in sorted(ends.items()):
        place = PurePosixPath(location)
        if place.is_absolute() or ".." in place.parts:
            reason = f"weights lie in '{location}', outside of the version's folder"
            yield entry.error(file, "external_data", reason, "keep them beside the graph")
        elif not (folder / location).is_file():
            reason = f"weights lie in '{location}', which is not there"
            yield entry.error(file, "external_data", reason, f"copy '{location}' beside the graph")
        elif (size := (folder / location).stat().st_size) < end:
            reason = f"'{location}' has {size} bytes, and the graph reads up to {end}"
            yield entry.error(file, "external_data", reason, "copy the whole file")


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in _graphs(attribute):
                yield from _tensors(inner)


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _edges(entry: Entry, file: str, model: onnx.ModelProto) -> Iterator[Finding]:
    for value in (*model.graph.input, *model.graph.output):
        if not is_tensor(value):
            kind = (value.type.WhichOneof("value") or "no type").removesuffix("_type")
            reason = f"{kind}, but the server hands over plain tensors"
            yield entry.error(file, value.name, reason, "export a graph whose inputs and outputs are tensors")


def _names(entry: Entry, file: str, graph: onnx.GraphProto) -> Iterator[Finding]:
    """Each value has one source. Nodes in branches may read values of the graph around them."""
    known = {value.name for value in (*graph.input, *graph.initializer)}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    made = Counter(name for node in graph.node for name in node.output if name)
    for name in sorted(name for name, count in made.items() if count > 1 or name in known):
        yield entry.error(file, name, "two nodes write this value", "export the model again")
    known.update(made)
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                reason = f"node '{node.name or node.op_type}' reads a value that nothing writes"
                yield entry.error(file, name, reason, "export the model again")
    for value in graph.output:
        if value.name not in known:
            yield entry.error(file, value.name, "nothing writes this output", "export the model again")


def _operators(entry: Entry, file: str, config: ModelConfig) -> Iterator[Finding]:
    model = entry.graphs[file]
    if config.model_operations.op_library_filename:
        return
    bodies = {(function.domain, function.name) for function in model.functions}
    foreign = sorted({(node.domain, node.op_type) for node in _nodes(model) if not _is_built_in(node)} - bodies)
    for domain, operator in foreign:
        reason = f"ONNX Runtime has no operator {domain}:{operator}, and the file no function for it"
        remedy = "name its library in model_operations.op_library_filename, or export without it"
        yield entry.error(file, f"{domain}:{operator}", reason, remedy)


def _is_built_in(node: onnx.NodeProto) -> bool:
    return node.domain in _DOMAINS or node.domain.startswith(("com.microsoft", "com.ms."))


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    waiting = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [inner for attribute in node.attribute for graph in _graphs(attribute) for inner in graph.node]
