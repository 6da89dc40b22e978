"""Tables of a graph in fewer bytes, where `training.layers.stored` has rounded them: a node Gather looks up float16 or
int8, and what it found becomes float32, int8 times the scales of the rows found.

The other order, the table made float32 and then looked up, would make all of it float32 on each run. The answers stay
as they are, to the bit. Tables that something else reads as well, such as a product with all rows, stay float32.

Legend: R rows, D width.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import torch

from serving import golden, manifest
from serving.golden import Gap, Golden
from training.layers.stored import LEVELS, NARROWEST, Form, scales

_LOOK_UP = "Gather"
_SCALE = "_scale"
_LEAST_BYTES = 1024
"""Smaller tables save nothing."""


TOLERANCES: dict[Form, float] = {"fp16": 2e-3, "int8": 5e-2}
"""Largest |rounded - unrounded| / max(1, |unrounded|) of an answer."""


class Tables(NamedTuple):
    """A graph's tables by id, by name."""

    stored: dict[str, int]
    """Bytes in the form that was asked for, scales among them."""
    whole: dict[str, int]
    """Bytes of those in float32: read as a whole as well, worked out from others, or too narrow."""


def store(model: ir.Model, form: Form) -> None:
    """Rewrites the look-ups of all tables whose values the form holds to the bit, and drops their float32."""
    for name, table in list(model.graph.initializers.items()):
        if not _is_table(table) or not all(_looks_up(node, place) for node, place in table.uses()):
            continue
        assert table.const_value is not None
        values = table.const_value.numpy()
        parts = _parts(values, form) if values.nbytes >= _LEAST_BYTES else None
        if parts is None:
            continue
        made = [
            _initializer(model, f"{name}_{form}{end}", part) for end, part in zip(("", _SCALE), parts, strict=False)
        ]
        for node, _ in list(table.uses()):
            _rewrite(node, made)
        del model.graph.initializers[name]


def tables_of(path: Path) -> Tables:
    """Those of an ONNX file that is written."""
    graph = onnx.load(str(path), load_external_data=False).graph
    looked_up = {node.input[0] for node in graph.node if node.op_type == _LOOK_UP}
    tables = [one for one in graph.initializer if one.name in looked_up and len(one.dims) == 2]
    found = Tables({}, {})
    for table in tables:
        size = math.prod(table.dims)
        if table.data_type == onnx.TensorProto.FLOAT16:
            found.stored[table.name] = 2 * size
        elif table.data_type == onnx.TensorProto.INT8:
            found.stored[table.name] = size + 4 * table.dims[0]
    for table in tables:
        size = 4 * math.prod(table.dims)
        is_scale = table.name.removesuffix(_SCALE) in found.stored
        if table.data_type == onnx.TensorProto.FLOAT and size >= _LEAST_BYTES and not is_scale:
            found.whole[table.name] = size
    return found


def facts(form: Form, goldens: Sequence[Golden], graph: Path) -> dict[str, Any]:
    """What the manifest says of a model with rounded tables. Raises ValueError for answers beyond the tolerance."""
    tables = tables_of(graph) if graph.exists() else Tables({}, {})
    found: dict[str, Any] = {"form": form, "tolerance": TOLERANCES[form], **tables._asdict()}
    if goldens[0].unrounded:
        worst = max(gaps(goldens, TOLERANCES[form]), key=lambda gap: (not gap.ok, gap.relative))
        if not worst.ok:
            raise ValueError(
                f"with tables as {form} output '{worst.output}'{list(worst.index)} of a golden request differs by "
                f"{worst.relative:.3g} from that with float32, allowed {TOLERANCES[form]:g}; use another form, or none"
            )
        found["worst"] = worst.relative
    return found


def tell(version: Path, name: str, report: Callable[[str], None]) -> None:
    """Says what a written version keeps in few bytes, and what it does not."""
    said = manifest.read(version).get("tables", {})
    if stored := said.get("stored"):
        beside = f"; float32 stays {', '.join(said['whole'])}" if said["whole"] else ""
        report(f"{name}: {len(stored)} tables as {said['form']}, {sum(stored.values()):,} bytes{beside}")


def refuse_unstored(written: Sequence[Path], whole: str) -> None:
    """Raises ValueError for a release, called `whole`, whose tables were rounded for nothing; `written` are the
    versions of its models with rounded tables."""
    said = {version.parent.name: manifest.read(version)["tables"] for version in written}
    if said and not any(tables["stored"] for tables in said.values()):
        form = next(iter(said.values()))["form"]
        found = [f"{name} of {model}" for model, tables in said.items() for name in tables["whole"]]
        raise ValueError(
            f"no table of {whole} can be stored as {form}: each is read as a whole, worked "
            f"out from others, or narrow ({', '.join(found) or 'none is looked up by id'}); leave --tables out"
        )


def gaps(goldens: Sequence[Golden], tolerance: float) -> list[Gap]:
    """Of each golden that knows: what rounding the tables did to the float outputs of the model that clients ask. Lists
    are compared by their scores, place by place, as items of nearly equal ones may change places."""
    return [golden.compare(one.unrounded, one.outputs, tolerance) for one in goldens if one.unrounded]


def _is_table(value: ir.Value) -> bool:
    weights = value.const_value
    is_float = weights is not None and weights.dtype == ir.DataType.FLOAT and len(weights.shape) == 2
    return is_float and bool(value.uses()) and not value.is_graph_output()


def _looks_up(node: ir.Node, place: int) -> bool:
    axis = node.attributes.get_int("axis", 0)
    return node.op_type == _LOOK_UP and not node.domain and place == 0 and axis == 0


def _parts(table: np.ndarray, form: Form) -> Sequence[np.ndarray] | None:
    """What is looked up in place of the table; None where the form does not hold it."""
    if table.shape[1] < NARROWEST[form]:
        return None
    if form == "fp16":
        with np.errstate(over="ignore"):
            half = table.astype(np.float16)
        return (half,) if np.array_equal(half.astype(np.float32), table) else None
    scale = scales(torch.from_numpy(table.copy())).numpy()
    levels = np.rint(table / scale).clip(-LEVELS, LEVELS).astype(np.int8)
    return (levels, scale) if np.array_equal(levels.astype(np.float32) * scale, table) else None


def _initializer(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value


def _rewrite(node: ir.Node, parts: Sequence[ir.Value]) -> None:
    """Gather -> Gather, Cast; and of int8 times the Gather of the scales."""
    found, index = node.outputs[0], node.inputs[1]
    made = [ir.node(_LOOK_UP, [part, index], {"axis": 0}) for part in parts]
    made.append(ir.node("Cast", [made[0].outputs[0]], {"to": ir.DataType.FLOAT.value}))
    if len(parts) > 1:
        made.append(ir.node("Mul", [made[-1].outputs[0], made[1].outputs[0]]))
    last = made[-1].outputs[0]
    last.name, last.type, last.shape = found.name, found.type, found.shape
    assert node.graph is not None
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], made, [found], [last])
