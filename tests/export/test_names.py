"""The names of a signature win over whatever the exporter calls its values, nodes and weights."""

from pathlib import Path

import onnx
import pytest
from torch import nn

from export.onnx import export_onnx
from export.verify import verify_onnx
from tests.export.brought import Brought, dense_model, names_and_copies, table
from training.servable import Servable, TensorSpec


def exported(model: Servable, folder: Path) -> onnx.GraphProto:
    export_onnx(model, folder / "model.onnx")
    assert verify_onnx(model, folder / "model.onnx") <= 1e-5
    return onnx.load(folder / "model.onnx").graph


def test_outputs_that_are_inputs_weights_or_each_other_get_nodes_of_their_own(tmp_path: Path) -> None:
    graph = exported(names_and_copies(), tmp_path)
    names = [value.name for value in graph.output]
    assert names == ["linear", "layer.weight", "val_0", "relu", "tensors_0"]
    produced = [name for node in graph.node for name in node.output]
    assert len(set(produced)) == len(produced)
    assert set(names) <= set(produced)
    assert [value.name for value in graph.input] == ["embedding", "ids"]
    assert {"layer.bias", "items.weight", "layer.weight.1"} <= {value.name for value in graph.initializer}


@pytest.mark.parametrize("name", ["add", "layer.bias", "module.layer.weight"])
def test_any_name_of_an_input_or_output_is_free(tmp_path: Path, name: str) -> None:
    module = Brought(lambda self, x: self.layer(x).relu() + self.items.weight[0], layer=nn.Linear(4, 4), items=table())
    tensor = TensorSpec(name=name, dtype="float32", shape=(4,))
    taken = exported(dense_model(module, outputs=[tensor]), tmp_path)
    assert [value.name for value in taken.output] == [name]
    answer = [TensorSpec(name="relu", dtype="float32", shape=(4,))]
    assert [value.name for value in exported(dense_model(module, inputs=[tensor], outputs=answer), tmp_path).input] == [
        name
    ]
