"""Inputs beyond what a task asks, as a person writes them: what does not fit is refused, not made another number."""

import re

import numpy as np
import pytest
from tritonclient.grpc.model_config_pb2 import ModelInput  # pyright: ignore[reportAttributeAccessIssue]

from export.further import filled


@pytest.mark.parametrize(
    ("kind", "said", "wanted"),
    [
        ("TYPE_INT32", "5000000000", "a whole number of 32 bits"),
        ("TYPE_INT64", "9" * 20, "a whole number of 64 bits"),
        ("TYPE_INT64", "10.7", "a whole number of 64 bits"),
        ("TYPE_FP32", "1e60", "a finite number of 32 bits"),
        ("TYPE_FP32", "inf", "a finite number of 32 bits"),
        ("TYPE_FP32", "dear", "a finite number of 32 bits"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(kind: str, said: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=f"^theta={re.escape(said)}: it must be {wanted}$"):
        filled(ModelInput(name="theta", data_type=kind, dims=[1]), said)


@pytest.mark.parametrize(
    ("kind", "said", "value"),
    [
        ("TYPE_INT32", "-7", -7),
        ("TYPE_INT64", str(2**62), 2**62),
        ("TYPE_FP32", "0.5", 0.5),
        ("TYPE_FP32", np.nan, np.nan),
        ("TYPE_STRING", "home", "home"),
    ],
)
def test_a_value_fills_all_elements(kind: str, said: object, value: object) -> None:
    found = filled(ModelInput(name="theta", data_type=kind, dims=[2]), said)
    np.testing.assert_array_equal(found, np.array([[value, value]], found.dtype))


def test_several_numbers_fill_one_element_each() -> None:
    alpha = ModelInput(name="alpha", data_type="TYPE_FP32", dims=[3])
    np.testing.assert_array_equal(filled(alpha, "1,0.5,0"), np.array([[1, 0.5, 0]], np.float32))
    with pytest.raises(ValueError, match=r"^alpha=1,2: 2 numbers; say one, or 3$"):
        filled(alpha, "1,2")
    with pytest.raises(ValueError, match=r"^alpha=1,,2: it must be a finite number of 32 bits$"):
        filled(alpha, "1,,2")
