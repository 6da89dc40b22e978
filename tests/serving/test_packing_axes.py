"""The sizes of a request's open axes: their bounds, and what inputs have in common; one that the server drops."""

import numpy as np
import pytest

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import ModelSpec


def axes_spec(**parameters: str) -> ModelSpec:
    """A history and its mask, which have the same length, and a score of one axis less in the graph."""
    given = {"axes.history": "length,4", "axes.mask": "length", **parameters}
    return ModelSpec.parse(
        {
            "name": "reader",
            "max_batch_size": 8,
            "input": [
                {"name": "history", "data_type": "TYPE_FP32", "dims": ["-1", "4"]},
                {"name": "mask", "data_type": "TYPE_BOOL", "dims": ["-1"]},
                {"name": "weight", "data_type": "TYPE_FP32", "dims": ["1"], "reshape": {"shape": []}},
            ],
            "output": [{"name": "score", "data_type": "TYPE_FP32", "dims": ["1"], "reshape": {}}],
            "parameters": {name: {"string_value": value} for name, value in given.items()},
        }
    )


def read(history: int, mask: int, batch_size: int = 1) -> packing.Request:
    return {
        "history": np.ones((batch_size, history, 4), np.float32),
        "mask": np.ones((batch_size, mask), bool),
        "weight": np.arange(batch_size, dtype=np.float32)[:, None],
    }


def test_sizes_within_the_bounds_of_their_axis_pass() -> None:
    for size in (2, 3, 5):
        packing.check(axes_spec(**{"least.length": "2", "greatest.length": "5"}), read(size, size))
    packing.check(axes_spec(), read(0, 0))


@pytest.mark.parametrize(
    ("history", "mask", "reason"),
    [
        (1, 1, "reader: input 'history' has 1 elements along 'length'; send 2 or more"),
        (0, 0, "reader: input 'history' has 0 elements along 'length'; send 2 or more"),
        (6, 6, "reader: input 'history' has 6 elements along 'length'; send 5 or fewer"),
        (
            3,
            2,
            "input 'mask' has 2 elements along 'length', input 'history' has 3; send as many of one as of the other",
        ),
        (3, 1, "input 'mask' has 1 elements along 'length'; send 2 or more"),
    ],
)
def test_sizes_outside_of_them_and_unlike_ones_are_refused(history: int, mask: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        packing.check(axes_spec(**{"least.length": "2", "greatest.length": "5"}), read(history, mask))


def test_an_axis_has_as_many_elements_for_each_of_another_as_is_said() -> None:
    spec = axes_spec(**{"axes.mask": "parts", "times.parts": "3,length"})
    packing.check(spec, read(2, 6))
    packing.check(spec, read(0, 0))
    for mask in (0, 5, 7):
        said = f"input 'mask' has {mask} elements, input 'history' has 2; send 3 for each of 'history'"
        with pytest.raises(ValueError, match=said):
            packing.check(spec, read(2, mask))


@pytest.mark.parametrize("text", ["", "3", "x,length", "-3,length", "3,width"])
def test_an_axis_that_follows_none_that_there_is_is_refused_by_parameter(text: str) -> None:
    with pytest.raises(ValueError, match=f"reader: parameter 'times.parts' is '{text}'; write as '8,candidates'"):
        axes_spec(**{"axes.mask": "parts", "times.parts": text})


def test_a_batch_of_no_requests_is_refused() -> None:
    with pytest.raises(ValueError, match="input 'history' has batch size 0; send 1 or more"):
        packing.check(axes_spec(), read(3, 3, batch_size=0))


@pytest.mark.parametrize("served", [True, False])
def test_an_axis_that_only_a_client_sees_is_dropped_and_given_back(served: bool) -> None:
    spec, requests = axes_spec(), [read(3, 3, batch_size=2), read(3, 3)]
    if served:  # tritonserver itself reshapes what it hands over
        requests = [{**request, "weight": request["weight"][:, 0]} for request in requests]
    answers = packing.answer(spec, requests, lambda feeds: {"score": feeds["weight"] + 1})
    assert [answer["score"].tolist() for answer in answers] == [[[1], [2]], [[1]]]
