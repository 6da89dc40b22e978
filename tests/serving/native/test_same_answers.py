"""What the native backend answers, to the bit, and what it refuses, to the letter: as the Python form does."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from loadtest.served import until
from recserve_client.errors import ServingError
from serving.admin import Admin
from serving.backends.onnxruntime import batching
from tests.serving import models
from tests.serving.native import graphs
from tests.serving.native.asking import Reply, Request, ask
from tests.serving.native.conftest import Served
from tests.serving.test_onnxruntime_backend import parsed

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(30)]


def types(changes: Mapping[str, Sequence[object]] | None = None, rows: int = 1) -> Request:
    """A good request of `types`, but for the rows of what is changed."""
    request = {f"x_{name}": np.ones((rows, 2), name) for name in graphs.DTYPES if name != "text"}
    request["x_text"] = np.array([[b"a", "é€😀".encode()[:5]]] * rows, object)
    for name, row in (changes or {}).items():
        with np.errstate(over="ignore"):
            request[f"x_{name}"] = np.array([row] * rows).astype(request[f"x_{name}"].dtype)
    return request


def floats(**rows: Sequence[float]) -> Request:
    return {name: np.array([row], np.float32) for name, row in rows.items()}


def agreeing(items: int, names: Sequence[object]) -> Request:
    return {"items": np.arange(items)[None], "names": np.array([names], object)}


def cut(items: Sequence[int], names: Sequence[object] = (), rows: int = 1) -> Request:
    return {
        "items": np.array([items] * rows, np.int64),
        "names": np.array([names] * rows, object).reshape(rows, len(names)),
        "w": np.ones((rows, 1), np.float16),
    }


def unbatched(x: int, w: int, first: float = 1.5) -> Request:
    return {"x": np.arange(x) + first, "w": np.arange(w) - 0.25}


PLACES = {"strict": (1, 1, 1), "loose": (1, 1, 1), "large": (1,)}
ODD_FLOATS = (-0.0, 1e-5, 99.9, 100, 100.1, 1.5e7, 1e16, 123456789, -5.000001, np.inf, -np.inf, np.nan, 3.4e38, 1 / 3)
CASES: Mapping[str, Sequence[Request]] = {
    "types": [
        types(),
        types(rows=8),
        types({"text": [b"", "😀😀".encode()]}),
        types({"bool": [True, False]}),
        *(types({name: [value, 1]}) for name in ("float16", "float32", "float64") for value in ODD_FLOATS),
        *(types({"float16": [1, value]}) for value in (-6.1, 1000.5, 65504, -0.00001, 5.96e-8, 2049)),
        *(types({name: [1, value]}) for name in ("int8", "int32", "int64") for value in (-5, -6, 100, 101)),
        *(types({"int64": [value, 1]}) for value in (-(2**63), 2**63 - 1)),
        *(types({"uint8": [1, value]}) for value in (0, 100, 255)),
        *(
            types({"text": [b"a", text]})
            for text in (b"123456789", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\0b", b"\xe2\x82")
        ),
        types({"text": [b"\xf4\x90\x80\x80", b"a"]}),
    ],
    "places": [
        floats(**PLACES),
        floats(**PLACES | {"strict": (0, 6, 1)}),
        floats(**PLACES | {"strict": (-1, 6, 1)}),
        floats(**PLACES | {"strict": (1, 1, -1.5)}),
        floats(**PLACES | {"strict": (1, 1, 16777218)}),
        floats(**PLACES | {"strict": (1, np.nan, 1)}),
        floats(**PLACES | {"loose": (np.nan, np.nan, np.nan)}),
        floats(**PLACES | {"loose": (np.nan, 1, -2)}),
        *(
            floats(**PLACES | {"large": (value,)})
            for value in (16777218, 16777220, 16777222, -16777220, -16777222, np.nan)
        ),
    ],
    "agreeing": [
        agreeing(2, ["a", "b"]),
        agreeing(5, ["a", "bc", "é", "", "x"]),
        agreeing(3, ["a", "b"]),
        agreeing(1, ["a"]),
        agreeing(0, []),
        agreeing(6, ["x"] * 6),
        agreeing(2, ["x"] * 13),
        agreeing(2, ["x", b"\xff"]),
        {"items": np.zeros((3, 2), np.int64), "names": np.full((3, 2), "n", object)},
        {"items": np.zeros((4, 3), np.int64), "names": np.full((4, 4), "n", object)},
    ],
    "shaped": [{"x": np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)} for rows in (1, 4)],
    "unbatched": [
        *(unbatched(number, number) for number in (0, 1, 6)),
        unbatched(2, 3),
        unbatched(7, 7),
        unbatched(3, 3, 8.25),
    ],
    "counts": [{"items": np.zeros((1, number), np.int64)} for number in (0, 1, 90)],
    "cut": [
        cut([]),
        cut([3, 1, 2], ["a", "", "éé"]),
        cut(range(150), ["n"] * 40),
        cut(range(151)),
        cut([4, -1]),
        cut([1], ["a\0"]),
        cut([1, 2], ["a"], rows=2),
    ],
    "lookup": [{"id": np.array([[number]])} for number in (3, 77, -11)],
    "faulty": [{"x": np.ones((1, 3), np.float32), "rows": np.array([[rows]])} for rows in (0, 1)],
}


@pytest.mark.parametrize("model", [*CASES])
def test_each_request_gets_the_same_reply(cpp: Served, python: Served, model: str) -> None:
    for request in CASES[model]:
        assert ask(cpp.client, model, request) == ask(python.client, model, request), request


def test_only_the_outputs_that_are_wanted_come(cpp: Served, python: Served) -> None:
    for wanted in (["y_text"], ["y_int8", "y_bool"], ["y_bool", "y_int8"]):
        replies = [ask(one.client, "types", types(), wanted) for one in (cpp, python)]
        assert replies[0] == replies[1]
        assert set(replies[0].outputs) == set(wanted)
        assert [*replies[0].outputs] == [*replies[1].outputs]


def test_what_tritonserver_itself_refuses_is_refused(cpp: Served, python: Served) -> None:
    wrong: Mapping[str, Request] = {
        "lookup": {"id": np.array([[1]], np.int32)},
        "shaped": {"x": np.ones((1, 3), np.float32)},
        "agreeing": {"items": np.array([[1, 2]])},
        "counts": {"items": np.zeros((0, 1), np.int64)},
    }
    for model, request in wrong.items():
        assert ask(cpp.client, model, request) == ask(python.client, model, request)


def together(one: Served, model: str, requests: Sequence[Request]) -> list[Reply]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda request: ask(one.client, model, request), requests))


def test_a_run_that_fails_is_tried_again_request_by_request(cpp: Served, python: Served) -> None:
    requests = [{"id": np.array([[number % 10 if number % 7 else 77]])} for number in range(64)]
    replies = together(cpp, "lookup", requests)
    assert replies == together(python, "lookup", requests)
    for request, reply in zip(requests, replies, strict=True):
        (wanted,) = request["id"][0]
        if wanted == 77:
            assert reply.status == "StatusCode.INTERNAL"
            assert "idx=77 must be within the inclusive range [-10,9]" in reply.text
        else:
            assert reply.array("value")[0, 0] == wanted / 2


def test_requests_of_unlike_length_share_runs_of_bounded_size(cpp: Served, python: Served) -> None:
    for one in (cpp, python):
        lengths = [0, 1, 50, 99, 100, 101, 150, 30] * 8
        replies = together(one, "cut", [cut(range(length), [f"n{length}"] * (length % 5)) for length in lengths])
        for length, reply in zip(lengths, replies, strict=True):
            np.testing.assert_array_equal(reply.array("items_out"), [range(length)])
            assert reply.outputs["names_out"][1] == (1, length % 5)
            assert reply.outputs["names_out"][2].count(f"n{length}".encode()) == length % 5
        # Two of 60 are more than the 100 that a run has; of 34, two fit and three do not.
        for length, most in ((60, 1), (34, 2)):
            replies = together(one, "cut", [cut(range(length)) for _ in range(48)])
            shared = [int(reply.array("shared")[0, 0]) for reply in replies]
            assert max(shared) == most


def test_batches_of_several_rows_are_put_together_and_cut(cpp: Served, python: Served) -> None:
    random = np.random.default_rng(0)
    requests = [{"x": random.normal(size=(1 + number % 3, 4)).astype(np.float32)} for number in range(64)]
    replies = together(cpp, "shaped", requests)
    assert replies == together(python, "shaped", requests)
    for request, reply in zip(requests, replies, strict=True):
        square = request["x"].reshape(-1, 2, 2)
        np.testing.assert_array_equal(reply.array("y"), square.transpose(0, 2, 1).reshape(-1, 4))


REFUSED = {
    "batches": "model_transaction_policy { decoupled: true }",
    "level": "optimization { graph { level: 7 } }",
    "threads": graphs.parameters(intra_op_thread_count="two"),
    "bound": graphs.parameters(minimum__x="1,b,3"),
    "elements": graphs.parameters(run_elements=10),
    "optional": 'input { name: "o" data_type: TYPE_FP32 dims: [1] optional: true }',
    "surplus": 'input { name: "o" data_type: TYPE_FP32 dims: [1] }',
    "lacking": 'output { name: "o" data_type: TYPE_FP32 dims: [1] }',
    "bf16": 'input { name: "s" data_type: TYPE_BF16 dims: [1] }',
    "library": 'model_operations { op_library_filename: "x.so" }',
    "accelerator": 'optimization { execution_accelerators { cpu_execution_accelerator { name: "openvino" } } }',
}


def test_what_cannot_be_loaded_is_refused_with_the_same_words(cpp: Served, tiny: Path) -> None:
    with Admin(cpp.server.url, deadline_s=30.0, admin_key=cpp.server.admin_key) as admin:
        for name, addition in REFUSED.items():
            config = models.SCALED.replace('"scaled"', f'"{name}"').replace(models.BATCHING, addition)
            entry = models.publish(tiny, config, models.scaled())
            with pytest.raises(ValueError, match=name) as expected:
                batching.load_session(entry / "1" / "model.onnx", parsed(config))
            with pytest.raises(ServingError, match="load failed") as refused:
                admin.load(name)
            assert f"Internal: {expected.value}" in str(refused.value)
            shutil.rmtree(entry)


def test_what_is_counted_is_counted_alike(cpp: Served, python: Served) -> None:
    """Our own series; tritonserver's own take a refusal by the Python form for an answer."""
    odd = [1.0, -np.inf, np.nan, 0.5], [-1e9, 1e9, -0.5, 5.25], [7.0, 1.0000001, -1e10, 3.0]
    for one in (cpp, python):
        for request in CASES["agreeing"]:
            ask(one.client, "agreeing", request)
        for number in range(1_001):
            ask(one.client, "shaped", {"x": np.array([odd[number % 3]], np.float32)})
    with suppress(TimeoutError):  # what they tell a moment later is compared either way
        until(lambda: series(cpp) == pytest.approx(series(python), rel=1e-6))
    told = series(cpp)
    assert told == pytest.approx(series(python), rel=1e-6)
    assert told['recserve_refusals_total{model="agreeing",reason="invalid"}'] >= 7
    assert told['recserve_score_drift{model="shaped",source="example",version="1"}'] > 0


def series(one: Served) -> dict[str, float]:
    """Our own, by name and labels."""
    with urlopen(one.server.metrics_url) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines()]
    return {name: float(value) for name, value in lines if name.startswith("recserve_")}
