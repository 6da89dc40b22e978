"""A graph that torch's exporter traces once is the one that it makes when it traces twice."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export import second_pass
from export.onnx import export_onnx
from export.run_alone import open_session
from export.verify import run_session
from training.servable import Servable, TensorSpec, servable


class Replaced(nn.Module):
    """Each operator that is replaced by another one."""

    def forward(self, values: Tensor) -> tuple[Tensor]:
        some = (values > 0) & (values < 1) | (values < -1)
        turned = (1 - values).square().T
        return ((turned.T * some.to(torch.float32).to(torch.float32)).to(torch.float32),)


class Apart(nn.Module):
    """One that has to be taken apart."""

    def forward(self, values: Tensor) -> tuple[Tensor]:
        return (torch.diff(values, dim=1, prepend=values[:, :1]),)


class Changing(nn.Module):
    """One that writes into a tensor."""

    def forward(self, values: Tensor) -> tuple[Tensor]:
        own = values * 2
        own.add_(1)
        return (own,)


def served(module: nn.Module) -> Servable:
    """Of `values` [B, 4]."""
    return servable(
        name="toy",
        module=module,
        inputs=(TensorSpec(name="values", dtype="float32", shape=(4,)),),
        outputs=(TensorSpec(name="out", dtype="float32", shape=(4,)),),
        example=lambda batch, seed: (torch.randn(batch, 4, generator=torch.Generator().manual_seed(seed)),),
    )


def graph(one: Servable, path: Path) -> tuple[Counter[str], np.ndarray]:
    """Operators of the exported graph, and what it answers."""
    export_onnx(one, path)
    answers = run_session(open_session(path), one, one.example(7, 3))
    return Counter(node.op_type for node in onnx.load(path).graph.node), answers["out"]


class LeftOpen(nn.Module):
    """Packed rows in a shape that leaves one size to be found."""

    def forward(self, values: Tensor) -> tuple[Tensor]:
        halves = values.view(values.shape[0], 2, -1)
        return ((halves * 2).reshape(values.shape[0], -1),)


@pytest.fixture
def traced_again(monkeypatch: pytest.MonkeyPatch) -> list[ExportedProgram]:
    found: list[ExportedProgram] = []
    run = ExportedProgram.run_decompositions

    def noted(self: ExportedProgram, *tables: Any) -> ExportedProgram:
        found.append(self)
        return run(self, *tables)

    monkeypatch.setattr(ExportedProgram, "run_decompositions", noted)
    return found


def test_what_is_replaced_in_place_is_traced_once_and_is_the_same_graph(
    tmp_path: Path, traced_again: list[ExportedProgram], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = served(Replaced())
    found, answers = graph(one, tmp_path / "once.onnx")
    assert not traced_again
    np.testing.assert_allclose(answers, one.eager(*one.example(7, 3))[0].numpy(), rtol=0, atol=1e-6)
    monkeypatch.setattr(second_pass, "once", nullcontext)
    twice, same = graph(one, tmp_path / "twice.onnx")
    assert len(traced_again) == 1
    assert np.array_equal(answers, same)
    # A square is a product here, and a power there.
    assert found - twice <= Counter(Mul=1)
    assert sum((twice - found).values()) <= 2


@pytest.mark.parametrize("module", [Apart, Changing])
def test_what_has_to_be_taken_apart_is_traced_again(
    tmp_path: Path, traced_again: list[ExportedProgram], module: type[nn.Module]
) -> None:
    one = served(module())
    _, answers = graph(one, tmp_path / "model.onnx")
    assert len(traced_again) == 1
    np.testing.assert_allclose(answers, one.eager(*one.example(7, 3))[0].numpy(), rtol=0, atol=1e-6)


def test_an_operator_with_further_arguments_is_not_replaced(
    tmp_path: Path, traced_again: list[ExportedProgram]
) -> None:
    class Weighted(nn.Module):
        def forward(self, values: Tensor) -> tuple[Tensor]:
            return (torch.rsub(values, 1, alpha=3),)

    one = served(Weighted())
    _, answers = graph(one, tmp_path / "model.onnx")
    assert len(traced_again) == 1
    np.testing.assert_allclose(answers, one.eager(*one.example(7, 3))[0].numpy(), rtol=0, atol=1e-6)


def test_a_size_that_is_left_open_is_said_as_no_runtime_finds_it_beside_a_size_of_0(
    tmp_path: Path, traced_again: list[ExportedProgram]
) -> None:
    one = served(LeftOpen())
    _, answers = graph(one, tmp_path / "model.onnx")
    assert not traced_again
    np.testing.assert_array_equal(answers, one.eager(*one.example(7, 3))[0].numpy())
    (empty,) = run_session(open_session(tmp_path / "model.onnx"), one, (torch.zeros(0, 4),)).values()
    assert empty.shape == (0, 4)
