"""What a request must fit before it is packed with others; the served form of these checks is in test_bad_input."""

import numpy as np
import pytest

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec

SPEC = ModelSpec.parse(
    {
        "name": "generator",
        "max_batch_size": 8,
        "input": [
            {"name": "history", "data_type": "TYPE_INT64", "allow_ragged_batch": True},
            {"name": "theta", "data_type": "TYPE_FP32"},
        ],
        "output": [],
        "parameters": {
            name: {"string_value": value}
            for name, value in (
                ("minimum.history", "0"),
                ("min_elements.history", "1"),
                ("max_elements.history", "3"),
                ("minimum.theta", "0"),
                ("maximum.theta", "1"),
            )
        },
    }
)


def request(history: list[int], theta: float) -> packing.Request:
    return {"history": np.array([history], np.int64), "theta": np.array([[theta]], np.float32)}


@pytest.mark.parametrize(("history", "theta"), [([0], 0.0), ([1, 2, 3], 1.0), ([2**40], 0.5)])
def test_what_lies_within_the_bounds_passes(history: list[int], theta: float) -> None:
    packing.check(SPEC, request(history, theta))


@pytest.mark.parametrize(
    ("history", "theta", "reason"),
    [
        ([], 0.5, "generator: input 'history' has 0 elements; send 1 or more"),
        ([1, 2, 3, 4], 0.5, "input 'history' has 4 elements, more than the 3 that one request may carry"),
        ([1, -2], 0.5, "input 'history': id -2 is negative; send 0 or more"),
        ([1], 1.5, "input 'theta': value 1.5 is above 1; send 1 or less"),
        ([1], -0.5, "input 'theta': value -0.5 is negative; send 0 or more"),
        ([1], np.nan, "input 'theta' holds NaN; send numbers"),
        ([1], np.inf, "input 'theta': value inf is above 1; send 1 or less"),
    ],
)
def test_what_lies_outside_is_refused_by_name(history: list[int], theta: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        packing.check(SPEC, request(history, theta))
