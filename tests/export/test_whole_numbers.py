"""int64 that share their upper 32 bits are compared right in an exported graph, whatever the operator."""

import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.rewrites import Rewrites

VALUES = [0, 1, 7, 100, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**33 + 2**31, 2**62, 2**63 - 1]
VALUES += [-1 - value for value in VALUES]
PAIRS = torch.tensor([*product(VALUES, VALUES)])[
    torch.randperm(len(VALUES) ** 2, generator=torch.Generator().manual_seed(0))
]
OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda x: x.clamp(0, 100),
    "clamp_below": lambda x: torch.clamp(x, max=2**31),
    "clamp_above": lambda x: x.clamp(min=1),
    "clip": lambda x: x.clip(-1, 2**32),
    "clamp_min": lambda x: x.clamp_min(-1),
    "clamp_max": lambda x: torch.clamp_max(x, 7),
    "clamp_by_a_tensor": lambda x: x.clamp(x[:, :1], x[:, 1:]),
    "maximum": lambda x: torch.maximum(x[:, 0], x[:, 1]),
    "minimum": lambda x: x[:, 0].minimum(x[:, 1]),
    "max_of_two": lambda x: torch.max(x[:, 0], x[:, 1]),
    "min_of_two": lambda x: torch.min(x[:, 0], other=x[:, 1]),
    "amax": lambda x: x.reshape(-1, 8).amax(1),
    "amin": lambda x: torch.amin(x.reshape(-1, 8), dim=-1, keepdim=True),
    "max_of_all": lambda x: x.flatten()[8:24].max(),
    "max_of_an_axis": lambda x: torch.max(x.reshape(-1, 8), dim=1).values,
    "min_of_an_axis": lambda x: x.reshape(-1, 8).min(1, keepdim=True).values,
    "cut_off": lambda x: torch.div(x, 2**31 - 1, rounding_mode="trunc"),
    "cut_off_by_a_tensor": lambda x: x[:, 0].divide(x[:, 1].abs().clamp(min=1), rounding_mode="trunc"),
    "sign": lambda x: torch.sign(x),
}


class Applied(nn.Module):
    def __init__(self, operator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(x)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_graph_compares_as_torch_does(name: str, tmp_path: Path) -> None:
    module, path = Applied(OPERATORS[name]), tmp_path / "model.onnx"
    with warnings.catch_warnings(), Rewrites():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (PAIRS,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: PAIRS.numpy()})
    assert np.array_equal(np.asarray(found), module(PAIRS).numpy())


def test_other_numbers_are_left_to_torch() -> None:
    floats = PAIRS.float()
    with Rewrites():
        for operator in OPERATORS.values():
            assert operator(floats).dtype in (torch.float32, torch.int64)
        assert torch.equal(torch.tensor([0, 3]).clamp(0.5, 2.5), torch.tensor([0.5, 2.5]))
        assert torch.equal(torch.tensor([0, 3], dtype=torch.int32).clamp(1), torch.tensor([1, 3], dtype=torch.int32))


def test_a_greatest_of_several_axes_is_left_to_torch() -> None:
    with Rewrites():
        assert torch.amax(PAIRS, dim=(0, 1)).item() == 2**63 - 1
