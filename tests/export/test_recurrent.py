"""A recurrent network is exported as one node, without a walk through its places."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch._decomp import decomposition_table, decompositions

from export.onnx import export_onnx
from export.recurrent import shapes_alone
from export.verify import verify_onnx
from training.servable import TensorSpec, servable

LENGTH, WIDTH = 24, 3


class BothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.GRU(WIDTH, 4, bidirectional=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        # An open size, over which nothing is unrolled.
        longer = torch.cat((x, x.new_zeros(x.shape[0], x.shape[0], WIDTH)), dim=1)
        return self.network(longer)[0][:, 0].add_(0)


def test_the_graph_has_one_node_and_answers_right_and_nobody_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[str] = []
    walk = decompositions.one_layer_rnn

    def counted(*arguments: Any, **named: Any) -> Any:
        walked.append("a network")
        return walk(*arguments, **named)

    monkeypatch.setattr(decompositions, "one_layer_rnn", counted)
    torch.manual_seed(0)
    model = servable(
        name="both",
        module=BothWays().eval(),
        inputs=(TensorSpec(name="x", dtype="float32", shape=(LENGTH, WIDTH)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(8,)),),
        example=lambda batch_size, seed: (
            torch.randn(batch_size, LENGTH, WIDTH, generator=torch.Generator().manual_seed(seed)),
        ),
    )
    path = tmp_path / "model.onnx"
    with torch.no_grad():
        export_onnx(model, path)
        assert not walked
        assert verify_onnx(model, path) < 1e-5
    assert [node.op_type for node in onnx.load(str(path)).graph.node].count("GRU") == 1


def test_tensors_that_hold_something_are_computed_and_everything_is_as_before_in_the_end() -> None:
    network, x = nn.GRU(WIDTH, 4), torch.randn(5, 2, WIDTH)
    gru, state = torch.ops.aten.gru.input, torch.zeros(1, 2, 4)
    before = decomposition_table[gru]
    with torch.no_grad(), shapes_alone():
        inside = decomposition_table[gru]
        given, _ = inside(x, state, list(network.parameters()), True, 1, 0.0, False, False, False)
        torch.testing.assert_close(given, network(x)[0])
    assert decomposition_table[gru] is before is not inside


class History(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.GRU(WIDTH, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[0].mean(1).add_(0)


def test_a_network_exported_twice_in_a_row_still_takes_histories_of_any_length(tmp_path: Path) -> None:
    # What is changed in place is traced again. A walk through the network then kept the first export's length.
    for attempt in range(2):
        model = servable(
            name="history",
            module=History().eval(),
            inputs=(TensorSpec(name="x", dtype="float32", shape=("history", WIDTH)),),
            outputs=(TensorSpec(name="y", dtype="float32", shape=(4,)),),
            example=lambda batch_size, seed: (torch.randn(batch_size, 3 + seed, WIDTH),),
        )
        with torch.no_grad():
            export_onnx(model, tmp_path / f"{attempt}.onnx")
            assert verify_onnx(model, tmp_path / f"{attempt}.onnx") < 1e-5
