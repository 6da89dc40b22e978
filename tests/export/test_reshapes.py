"""A look-up by an index of several axes is one node of an exported graph, and answers as before."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn

from export.reshapes import shorten
from export.rewrites import Rewrites
from training.layers.rows import rows, rows_of_each


class Looked(nn.Module):
    """Rows of a table, rows of each request, and of both what is read flat."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(7, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, index: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        looked = rows(self.table, index) + rows_of_each(x, index)
        return looked, self.table.index_select(0, index.flatten()) + 1


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_look_ups_keep_their_answers_and_lose_their_reshapes(dtype: torch.dtype, tmp_path: Path) -> None:
    module = Looked()
    example = torch.tensor([[0, 4, 1], [5, 5, 2]], dtype=dtype), torch.arange(36.0).reshape(2, 6, 3)
    axes = {0: torch.export.Dim("batch")}
    with warnings.catch_warnings(), Rewrites():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, example, dynamo=True, verbose=False, optimize=False, dynamic_shapes=(axes, axes)
        )
    assert program is not None
    fold_constants(program.model)
    before = Counter(node.op_type for node in program.model.graph)
    shorten(program.model)
    remove_unused_nodes(program.model)
    after = Counter(node.op_type for node in program.model.graph)
    # Of each look-up two of the index and one of the rows; of the flat one that which the exporter adds.
    assert before["Reshape"] - after["Reshape"] >= 7
    assert before["Gather"] == after["Gather"] == 3
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    for batch in (1, 2, 5):
        index = torch.randint(0, 6, (batch, 3), generator=torch.Generator().manual_seed(batch)).to(dtype)
        feeds = index, torch.randn(batch, 6, 3, generator=torch.Generator().manual_seed(batch))
        found = session.run(None, {name: one.numpy() for name, one in zip(names, feeds, strict=True)})
        for one, expected in zip(found, module(*feeds), strict=True):
            assert np.array_equal(np.asarray(one), expected.numpy())
