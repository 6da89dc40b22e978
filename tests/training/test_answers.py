"""The forms in which a module may return its outputs."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from training.answers import WrongAnswerError, in_order

A, B = torch.zeros(2, 1), torch.ones(2, 1)


class Pair(NamedTuple):
    b: Tensor
    a: Tensor


class Other(NamedTuple):
    first: Tensor
    second: Tensor


@dataclass
class Output:
    b: Tensor
    a: Tensor | None
    loss: None = None


class ModelOutput(OrderedDict[str, object]):
    """As of a library whose results are mappings and more."""


@pytest.mark.parametrize(
    "result",
    [
        (A, B),
        [A, B],
        (None, A, None, B),
        Pair(b=B, a=A),
        Other(A, B),
        Output(b=B, a=A),
        {"b": B, "a": A, "loss": None, "hidden": (A, A)},
        ModelOutput(b=B, a=A),
    ],
)
def test_outputs_are_taken_by_name_or_else_in_order(result: object) -> None:
    a, b = in_order(result, ["a", "b"])
    assert (a is A, b is B) == (True, True)


def test_one_output_may_be_a_tensor_alone() -> None:
    assert in_order(A, ["a"]) == (A,)


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (None, "forward returned None"),
        (A, r"forward returned a float32 tensor \[2, 1\]"),
        ((A,), "forward returned a tuple of 1"),
        ((A, B, A), "forward returned a tuple of 3"),
        ((A, (B, B)), r"forward returned a tuple of 2 \(a float32 tensor \[2, 1\], a tuple of 2"),
        ((A, None), "forward returned a tuple of 2"),
        ({"logits": A, "b": B}, r"forward returned dict\(logits: a float32 tensor"),
        ({"a": {"a": A}, "b": B}, r"forward returned dict\(a: dict\(a"),
        (Output(b=B, a=None), r"forward returned Output\(b: .*, a: None"),
        ((A, 0.5), "a float"),
        ((A, A.numpy()), r"numpy\.ndarray"),
        ("text", "forward returned a str"),
    ],
)
def test_anything_else_is_refused_with_what_it_is_and_what_it_should_be(result: object, found: str) -> None:
    with pytest.raises(WrongAnswerError, match=rf"{found}.*; return the 2 outputs \['a', 'b'\]") as caught:
        in_order(result, ["a", "b"])
    assert "\n" not in str(caught.value)
