"""What the exporter cannot translate is refused in one line that names the operator or the line, and what to do."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.onnx import export_onnx
from export.refusals import reason
from tests.export.brought import Brought, Forward, dense_model


def branches(self: nn.Module, x: Tensor) -> Tensor:
    return x + 1 if x.sum() > 0 else x


def loops(self: nn.Module, x: Tensor) -> Tensor:
    while x.abs().max() > 1:
        x = x / 2
    return x


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (branches, r"data-dependent: .*\(.*test_refusals\.py:\d+, in \w+\); use torch\.where"),
        (loops, r"data-dependent: .*\(.*test_refusals\.py:\d+, in \w+\); use torch\.where"),
        (
            lambda self, x: torch.searchsorted(torch.arange(9.0), x).float(),
            "'aten.searchsorted.Tensor' has no ONNX f",
        ),
        (
            lambda self, x: x.median(1, keepdim=True).values + x,
            "'aten.median.dim' has no ONNX form; take the mid",
        ),
        (lambda self, x: x.kthvalue(2, 1, True).values + x, "'aten.kthvalue.default' has no ONNX form; take the k-th"),
        (lambda self, x: torch.cdist(x, torch.eye(4)), r"'aten._cdist_forward.default' has no ONNX form; write it as"),
        (lambda self, x: torch.lgamma(x), "'prims.lgamma.default' has no ONNX form; write it with other operators"),
        (lambda self, x: x[:, torch.randperm(4)], "'aten.randperm.default' is random; make the noise an input"),
    ],
)
def test_one_line_names_the_operator_or_the_place(tmp_path: Path, forward: Forward, message: str) -> None:
    with pytest.raises(ValueError, match=r"^model 'brought': its forward cannot be exported to ONNX: ") as caught:
        export_onnx(dense_model(Brought(forward)), tmp_path / "model.onnx")
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_any_other_error_keeps_its_type_and_first_line() -> None:
    error = RuntimeError("outer")
    error.__cause__ = TypeError("inner\nmore")
    assert reason(error) == "TypeError: inner"
    assert reason(NotImplementedError()) == "NotImplementedError"
