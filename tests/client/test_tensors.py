"""What a client may send: arrays, what becomes an array, and nothing else without being told by name."""

from typing import Any

import numpy as np
import pytest
import torch

from recserve_client import Client
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.protocol import messages
from recserve_client.tensors import infer_request, outputs


@pytest.mark.parametrize(
    ("value", "datatype", "shape"),
    [
        ([[1, 2], [3, 4]], "INT64", [2, 2]),
        ([[1.0, 2.0]], "FP64", [1, 2]),
        (np.float32(2), "FP32", []),
        (7, "INT64", []),
        (torch.tensor([[1.5, 2.5]]), "FP32", [1, 2]),
        (np.zeros((1, 0), np.int64), "INT64", [1, 0]),
        (np.arange(6, dtype=np.int32).reshape(2, 3).T, "INT32", [3, 2]),
        ([True, False], "BOOL", [2]),
        (np.array([1, 2], np.float16), "FP16", [2]),
        ([["a", "bc"]], "BYTES", [1, 2]),
        ("\u7121\u540d", "BYTES", []),
        ([["1 ", ""]], "BYTES", [1, 2]),
        (np.array(["\u00e9", "e\u0301"]), "BYTES", [2]),
        (np.array([["a", b"b"]], object), "BYTES", [1, 2]),
        (np.zeros((1, 0), object), "BYTES", [1, 0]),
        (np.array([b"x", b"yz"]), "BYTES", [2]),
        (np.array([], dtype=object), "BYTES", [0]),
    ],
)
def test_what_numpy_makes_an_array_of_is_sent(value: Any, datatype: str, shape: list[int]) -> None:
    request = infer_request("any", "", {"x": value})
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", datatype, shape)
    reply = messages["ModelInferResponse"](raw_output_contents=request.raw_input_contents)
    reply.outputs.add(name="x", datatype=datatype, shape=shape)
    found = outputs(reply)["x"]
    expected = np.asarray(value)
    if datatype == "BYTES":
        expected = np.array([one.decode() if isinstance(one, bytes) else one for one in expected.flat], object)
        expected = expected.reshape(shape)
        assert not found.flags.writeable
    np.testing.assert_array_equal(found, expected)


def test_bytes_that_are_no_text_are_no_answer() -> None:
    reply = messages["ModelInferResponse"](model_name="any", raw_output_contents=[b"\1\0\0\0\xff"])
    reply.outputs.add(name="x", datatype="BYTES", shape=[1])
    with pytest.raises(ServerFailure, match="any: output 'x' is no UTF-8 text"):
        outputs(reply)


class Stubborn:
    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("not me")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[1, 2], [3]], "input 'x' is no array"),
        (None, "input 'x' mixes types"),
        ([[1, None]], "input 'x' mixes types"),
        (["a", 1], "input 'x' mixes types"),
        ([b"a", 1.5], "input 'x' mixes types"),
        (["ok", "a\0"], "input 'x': element 1 holds a NUL character, which no id has; send it without"),
        (np.array(["a\0b"], object), "input 'x': element 0 holds a NUL"),
        (["\udcff"], "input 'x': element 0 holds half a surrogate pair"),
        ([2**70], "input 'x' mixes types, is ragged, or holds numbers beyond 64 bits"),
        ({"a": 1}, "input 'x' mixes types"),
        ({1, 2}, "input 'x' mixes types"),
        (1j, "input 'x' has dtype complex128"),
        (np.datetime64("2026-01-01"), "input 'x' has dtype datetime64"),
        (np.zeros(2, ">f4"), "input 'x' has dtype >f4"),
        (np.zeros(2, np.longdouble), "input 'x' has dtype float128"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "input 'x' is a masked array"),
        (torch.ones(2, requires_grad=True), "input 'x' is no array"),
        (torch.ones(2, dtype=torch.bfloat16), "input 'x' is no array"),
        (np.zeros((0, 0), np.int64), r"input 'x' has shape \[0, 0\]"),
        (Stubborn(), "input 'x' is no array .not me."),
    ],
)
def test_what_is_no_array_is_refused_by_name(value: Any, text: str) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequest, match=text):
        client.infer("any", {"x": value})


@pytest.mark.parametrize("arguments", [("any", [1, 2]), ("any", {3: [1]}), (None, {"x": [1]}), (7, {})])
def test_names_that_are_no_strings_are_refused(arguments: tuple[Any, Any]) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequest):
        client.infer(*arguments)
