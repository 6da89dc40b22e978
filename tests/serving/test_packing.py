"""What a request must fit before it is packed with others; the served form of these checks is in test_bad_input."""

import numpy as np
import pytest

from serving.backends import packing
from serving.backends.onnxruntime.model_spec import RUN_ELEMENTS, ModelSpec
from training.schema import LARGEST

SPEC = ModelSpec.parse(
    {
        "name": "generator",
        "max_batch_size": 8,
        "input": [
            {"name": "history", "data_type": "TYPE_INT64", "allow_ragged_batch": True},
            {"name": "theta", "data_type": "TYPE_FP32"},
            {"name": "hour", "data_type": "TYPE_FP32"},
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
                ("minimum.hour", str(-LARGEST)),
                ("maximum.hour", str(LARGEST)),
                ("missing.hour", "NaN"),
            )
        },
    }
)


def request(history: list[int], theta: float, hour: float = 0.0) -> packing.Request:
    numbers = {name: np.array([[value]], np.float32) for name, value in (("theta", theta), ("hour", hour))}
    return {"history": np.array([history], np.int64), **numbers}


@pytest.mark.parametrize("hour", [np.nan, 0.0, 1.7e18, -1.7e18])
def test_of_a_number_that_may_be_missing_nan_passes_beside_what_lies_within_the_bounds(hour: float) -> None:
    packing.check(SPEC, request([1], 0.5, hour))


@pytest.mark.parametrize(("hour", "said"), [(np.inf, "above 9"), (-np.inf, "below -9"), (3.4e38, "above 9")])
def test_a_number_that_may_be_missing_has_bounds_all_the_same(hour: float, said: str) -> None:
    with pytest.raises(ValueError, match=rf"generator: input 'hour': .* is {said}0{{18}}; send "):
        packing.check(SPEC, request([1], 0.5, hour))


@pytest.mark.parametrize(("history", "theta"), [([0], 0.0), ([1, 2, 3], 1.0), ([2**40], 0.5)])
def test_what_lies_within_the_bounds_passes(history: list[int], theta: float) -> None:
    packing.check(SPEC, request(history, theta))


@pytest.mark.parametrize(
    ("history", "theta", "reason"),
    [
        ([], 0.5, "generator: input 'history' has 0 elements; send 1 or more"),
        ([1, 2, 3, 4], 0.5, "input 'history' has 4 elements, more than the 3 that one request may carry"),
        ([1, -2], 0.5, "input 'history': -2 is negative; send 0 or more"),
        ([1], 1.5, "input 'theta': 1.5 is above 1; send 1 or less"),
        ([1], -0.5, "input 'theta': -0.5 is negative; send 0 or more"),
        ([1], np.nan, "input 'theta' holds NaN; send numbers"),
        ([1], np.inf, "input 'theta': inf is above 1; send 1 or less"),
    ],
)
def test_what_lies_outside_is_refused_by_name(history: list[int], theta: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        packing.check(SPEC, request(history, theta))


def fields_spec(minimum: str, maximum: str) -> ModelSpec:
    """Three fields of one input, each with its own bounds."""
    return ModelSpec.parse(
        {
            "name": "fields",
            "max_batch_size": 8,
            "input": [{"name": "ids", "data_type": "TYPE_INT64", "dims": ["3"]}],
            "output": [],
            "parameters": {
                "minimum.ids": {"string_value": minimum},
                "maximum.ids": {"string_value": maximum},
            },
        }
    )


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([[0, -20, -(2**63)], [39, 19, 5]], None),
        ([[0, 0, 0], [-1, 0, 0]], "input 'ids': -1 at place 0 is negative; send 0 or more"),
        ([[0, -21, 0]], "-21 at place 1 is below -20; send -20 or more"),
        ([[0, 0, 6]], "6 at place 2 is above 5; send 5 or less"),
        ([[0, 20, 0]], "20 at place 1 is above 19; send 19 or less"),
    ],
)
def test_each_place_keeps_to_its_own_bounds(ids: list[list[int]], reason: str | None) -> None:
    asked = {"ids": np.array(ids)}
    if reason is None:
        packing.check(fields_spec("0,-20,", "39,19,5"), asked)
    else:
        with pytest.raises(ValueError, match=reason):
            packing.check(fields_spec("0,-20,", "39,19,5"), asked)


@pytest.mark.parametrize("text", ["", "x", "1,x", "1.5"])
def test_a_bound_that_is_no_number_is_refused_by_parameter(text: str) -> None:
    with pytest.raises(ValueError, match=f"fields: parameter 'minimum.ids' is '{text}'; write whole numbers"):
        fields_spec(text, "9")


def test_reshapes_of_other_kinds_are_done_for_models_with_and_without_a_batch() -> None:
    for size in (0, 4):
        spec = ModelSpec.parse(
            {
                "name": "shaper",
                "max_batch_size": size,
                "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["6"], "reshape": {"shape": ["2", "-1"]}}],
                "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["3", "2"], "reshape": {"shape": ["6"]}}],
            }
        )
        request = {"x": np.arange(6, dtype=np.float32).reshape([1, 6] if size else [6])}
        shapes: list[tuple[int, ...]] = []

        def compute(feeds: packing.Request, shapes: list[tuple[int, ...]] = shapes) -> packing.Request:
            shapes.append(feeds["x"].shape)
            return {"y": feeds["x"].reshape((*feeds["x"].shape[:-2], 6))}

        (answer,) = packing.answer(spec, [request], compute)
        assert (shapes[0][-2:], answer["y"].shape[-2:]) == ((2, 3), (3, 2))
        np.testing.assert_array_equal(answer["y"].ravel(), request["x"].ravel())


def names_spec(**parameters: str) -> ModelSpec:
    """Ragged names."""
    return ModelSpec.parse(
        {
            "name": "named",
            "max_batch_size": 8,
            "input": [{"name": "names", "data_type": "TYPE_STRING", "allow_ragged_batch": True}],
            "output": [],
            "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        }
    )


def test_text_of_bytes_and_of_str_is_packed_as_str() -> None:
    requests = [{"names": np.array([names], object)} for names in ([b"1 ", "\u7121"], [], [b"\xc3\xa9"])]
    for request in requests:
        packing.check(names_spec(), request)
    assert packing.pack(names_spec(), requests)["names"].tolist() == ["1 ", "\u7121", "\u00e9"]
    assert packing.pack(names_spec(), requests[1:2])["names"].shape == (0,)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (np.array([[b"ok", b"abcdef"]], object), "named: input 'names': element 1 has 6 bytes; send 5 or fewer"),
        (np.array([[b"\xff"]], object), "named: input 'names': element 0 is no UTF-8 text"),
        (np.array([[b"a\0"]], object), "named: input 'names': element 0 holds a NUL character"),
        (np.array([[7]], object), "named: input 'names': element 0 is a int; send text"),
        (np.array([["ok"]]), "named: input 'names' is <U2; send an array of str"),
    ],
)
def test_what_is_no_text_is_refused_by_name(names: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        packing.check(names_spec(**{"max_bytes.names": "5"}), {"names": names})
    packing.check(names_spec(), {"names": np.array([["abcdef" * 1000]], object)})


def ragged_spec(run_elements: str | None, *, ragged: bool = True) -> ModelSpec:
    """Packed candidates and what comes of each."""
    parameters = {} if run_elements is None else {RUN_ELEMENTS: {"string_value": run_elements}}
    return ModelSpec.parse(
        {
            "name": "scorer",
            "max_batch_size": 8,
            "input": [
                {"name": "candidates", "data_type": "TYPE_INT64", "dims": ["-1"], "allow_ragged_batch": ragged},
                {"name": "user", "data_type": "TYPE_INT64", "dims": ["1"]},
            ],
            "output": [{"name": "scores", "data_type": "TYPE_INT64", "dims": ["-1"]}],
            "batch_output": [{"target_name": ["scores"], "source_input": ["candidates"]}],
            "parameters": parameters,
        }
    )


def candidates(count: int) -> packing.Request:
    return {"candidates": np.arange(count)[None], "user": np.array([[count]])}


@pytest.mark.parametrize(
    ("bound", "sizes", "expected"),
    [
        (None, [3, 4, 5], [[3, 4, 5]]),
        ("7", [3, 4, 5], [[3, 4], [5]]),
        ("6", [3, 4, 5], [[3], [4], [5]]),
        ("4", [9, 1, 2], [[9], [1, 2]]),
        ("4", [0, 4, 0, 1], [[0, 4, 0], [1]]),
        ("4", [0, 9, 0], [[0, 9], [0]]),
        ("1", [1], [[1]]),
    ],
)
def test_a_run_has_as_many_requests_as_its_bound_takes(
    bound: str | None, sizes: list[int], expected: list[list[int]]
) -> None:
    found: list[list[int]] = []

    def compute(feeds: packing.Request) -> packing.Request:
        found.append(feeds["user"][:, 0].tolist())
        return {"scores": feeds["candidates"] * 10}

    answers = packing.answer(ragged_spec(bound), [candidates(size) for size in sizes], compute)
    assert found == expected
    assert [answer["scores"].tolist() for answer in answers] == [[[10 * n for n in range(size)]] for size in sizes]


@pytest.mark.parametrize(
    ("bound", "ragged", "reason"),
    [
        ("0", True, "scorer: parameter 'run_elements' is '0'; write 1 or more"),
        ("-5", True, "scorer: parameter 'run_elements' is '-5'; write 1 or more"),
        ("many", True, "scorer: parameter 'run_elements' is 'many'; write a whole number"),
        ("100", False, "scorer: parameter 'run_elements' needs an input with allow_ragged_batch"),
    ],
)
def test_a_bound_that_says_nothing_is_refused(bound: str, ragged: bool, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ragged_spec(bound, ragged=ragged)
