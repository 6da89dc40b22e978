"""Ranking and listing by plain ids: what is asked, what is refused, and the order of the answer. Needs no server."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from recserve_client import questions
from recserve_client.core import DESCRIPTION_LIFE_S, Core, Send
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.outcomes import Failed
from recserve_client.protocol import DATATYPES, MODEL_CONFIG, messages
from recserve_client.questions import Question, Ranked
from recserve_client.tensors import DTYPES, infer_request
from tests.client.performed import World

INT64, FP32, TEXT = DATATYPES.index("INT64"), DATATYPES.index("FP32"), DATATYPES.index("BYTES")
Tensors = Mapping[str, tuple[int, list[int]]]


class Served:
    """One model, which answers with fixed outputs."""

    def __init__(self, inputs: Tensors, outputs: Tensors, answer: Mapping[str, Any], **parameters: str) -> None:
        self.config = messages["ModelConfig"](name="m", max_batch_size=8)
        for side, tensors in ((self.config.input, inputs), (self.config.output, outputs)):
            for name, (kind, dims) in tensors.items():
                side.add(name=name, data_type=kind, dims=dims)
        for name, value in parameters.items():
            self.config.parameters[name.replace("__", ".")].string_value = value
        self.answer, self.requests, self.described = answer, [], 0

    def __call__(self, send: Send) -> Any:
        if send.method == MODEL_CONFIG:
            self.described += 1
            return messages["ModelConfigResponse"](config=self.config)
        self.requests.append(send.request)
        kinds = {tensor.name: DATATYPES[tensor.data_type] for tensor in self.config.input}
        if any(tensor.datatype != kinds[tensor.name] for tensor in send.request.inputs):
            return Failed("INVALID_ARGUMENT", "data-type is another")
        sent = infer_request("m", "", self.answer)
        reply = messages["ModelInferResponse"](model_name="m", model_version="3")
        for tensor, raw in zip(sent.inputs, sent.raw_input_contents, strict=True):
            reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            reply.raw_output_contents.append(raw)
        return reply

    def sent(self, name: str) -> np.ndarray:
        """What the last request carries."""
        place = [tensor.name for tensor in self.requests[-1].inputs].index(name)
        tensor = self.requests[-1].inputs[place]
        return np.frombuffer(self.requests[-1].raw_input_contents[place], DTYPES[tensor.datatype]).reshape(tensor.shape)


RANKER: Tensors = {"user_id": (INT64, [1]), "candidates": (INT64, [-1])}
SCORES: Tensors = {"scores": (FP32, [-1])}


def ranker(inputs: Tensors = RANKER, *scores: float, **parameters: str) -> Served:
    answer = {"scores": np.array([scores or (0.5, 2.0, 0.5)], np.float32)}
    return Served(inputs, SCORES, answer, **{"task": "click", "dataset": "shop", **parameters})


def rank(served: Served, user: Any, items: Any, core: Core | None = None, **said: Any) -> Ranked:
    core = core or Core(["a:1"], 5.0, {}, 0)
    named = {questions.USER: user, questions.CANDIDATES: items}
    question = Question("m", said.get("dataset"), named, said.get("context", {}))
    return World(served).run(questions.rank(core, core.ask(request_id="id"), question))


@pytest.mark.parametrize(
    "items",
    [
        [7, 8, 9],
        (7, 8, 9),
        range(7, 10),
        np.array([7, 8, 9], np.uint16),
        [np.int64(7), np.int32(8), 9],
        torch.tensor([7, 8, 9], dtype=torch.int32),
        [torch.tensor(7), torch.tensor(8), torch.tensor(9)],
    ],
)
@pytest.mark.parametrize("user", [42, np.int32(42), np.array([42]), torch.tensor(42), [42]])
def test_plain_ids_are_ranked_best_first_and_equal_ones_as_they_came(user: Any, items: Any) -> None:
    served = ranker()
    assert rank(served, user, items, dataset="shop") == ((8, 7, 9), (2.0, 0.5, 0.5), "3", "id")
    np.testing.assert_array_equal(served.sent("user_id"), [[42]])
    np.testing.assert_array_equal(served.sent("candidates"), [[7, 8, 9]])


def test_ids_of_text_are_sent_as_text() -> None:
    served = ranker({"user_id": (TEXT, [1]), "candidates": (TEXT, [-1])})
    assert rank(served, "anna", np.array(["x", "y", "z"])).items == ("y", "x", "z")
    assert rank(served, b"anna", ["x", "y", np.str_("z")]).items == ("y", "x", "z")
    assert served.requests[-1].raw_input_contents[0] == b"\4\0\0\0anna"


class OnGpu:
    """As a tensor of torch on a GPU answers numpy."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")


@pytest.mark.parametrize(
    ("user", "items", "text"),
    [
        ("anna", [1], "m: user_id: 'anna' is a str; the model takes ids of int64"),
        (1, ["a", "b"], "m: candidates: 'a' is a str; the model takes ids of int64"),
        (1, [1, "b"], "m: candidates: 'b' is a str"),
        (1, [1.0, 2.0], "m: candidates: fractions; the model takes ids of int64"),
        (1, [True, 2], "m: candidates: truth values"),
        (1, np.array([True]), "m: candidates: truth values"),
        (True, [1], "m: user_id: truth values"),
        (1, [None], "m: candidates: None is a NoneType"),
        (1, [2**63], f"m: candidates: {2**63} is beyond int64"),
        (1, [2**64], "m: candidates: an id is beyond int64"),
        (1, [[1, 2], [3, 4]], r"m: candidates has shape \[2, 2\]; send ids of one request"),
        (1, [[1, 2], [3]], "m: candidates is no list of ids"),
        (1, {1, 2}, "m: candidates is a set; send a list or an array of ids, in order"),
        (1, {"a": 1}, "m: candidates is a dict"),
        ([1, 2], [1], "m: user_id: 2 ids; send one"),
        (1, torch.ones(2, requires_grad=True), r"m: candidates is no list of ids .*detach\(\)"),
        (1, torch.ones(2, device="meta", dtype=torch.int64), r"m: candidates is no list of ids .*Tensor.cpu\(\)"),
        (1, OnGpu(), r"m: candidates is no list of ids .*Tensor.cpu\(\)"),
        (1, np.array(["2026-01-01"], "datetime64[D]"), "m: candidates: dates"),
        (None, [1], r"model 'm' also takes user_id \(INT64 \[1\]\); give user="),
        (1, None, r"model 'm' also takes candidates"),
    ],
)
def test_ids_that_the_model_does_not_take_are_refused_by_name(user: Any, items: Any, text: str) -> None:
    served = ranker()
    with pytest.raises(InvalidRequest, match=text):
        rank(served, user, items)
    assert served.requests == []


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([1, "b"], "m: candidates: 1 is a int; the model takes ids of text"),
        (["a\0"], "m: candidates: element 0 holds a NUL"),
        (["a" * 1025], "m: candidates: element 0 has 1025 bytes"),
        (["\udcff"], "m: candidates: element 0 is no UTF-8 text"),
    ],
)
def test_text_that_is_no_id_is_refused_by_name(items: Any, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        rank(ranker({"user_id": (TEXT, [1]), "candidates": (TEXT, [-1])}), "anna", items)


@pytest.mark.parametrize(
    ("parameters", "said", "text"),
    [
        ({}, {"dataset": "ml-100k"}, "model 'm' is of data set shop, not of ml-100k, so its ids mean something else"),
        ({"dataset": ""}, {"dataset": "shop"}, "is of data set that it does not name, not of shop"),
        ({"task": "next_item"}, {}, "model 'm' is of the task next_item, not of click; use infer"),
        ({"task": ""}, {}, "model 'm' is of no task that it names, not of click"),
        ({"part_of": "whole"}, {}, "model 'm' is a part of 'whole'; ask 'whole'"),
        ({}, {"context": {"page": "home"}}, r"model 'm' takes no page; it takes user_id \(INT64 \[1\]\), candidates"),
    ],
)
def test_a_model_of_another_kind_is_refused(parameters: dict[str, str], said: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        rank(ranker(RANKER, **parameters), 1, [1, 2, 3], **said)


WIDE: Tensors = {**RANKER, "page": (TEXT, [1]), "price": (FP32, [1]), "tags": (INT64, [3])}


def test_further_inputs_are_given_as_the_model_takes_them() -> None:
    served = ranker(WIDE)
    rank(served, 1, [1, 2, 3], context={"page": "home", "price": 2, "tags": [1, 2, 3]})
    np.testing.assert_array_equal(served.sent("price"), np.array([[2.0]], np.float32))
    np.testing.assert_array_equal(served.sent("tags"), [[1, 2, 3]])
    rank(served, 1, [1, 2, 3], context={"page": "home", "price": np.nan, "tags": (1, 2, 3)})
    assert np.isnan(served.sent("price")).all(), "a number that is missing"


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (
            {},
            r"also takes page \(BYTES \[1\]\), price \(FP32 \[1\]\), tags \(INT64 \[3\]\); give context={'page': ...}",
        ),
        ({"page": 1, "price": 1.0, "tags": [1, 2, 3]}, "m: page: 1 is a int; the model takes ids of text"),
        ({"page": "a", "price": "dear", "tags": [1, 2, 3]}, "m: price is 'dear'; the model takes FP32"),
        ({"page": "a", "price": 1e60, "tags": [1, 2, 3]}, "m: price is 1e.60, which is beyond FP32"),
        ({"page": "a", "price": 1.0, "tags": [1, 2]}, r"m: tags has shape \[2\]; the model takes \[3\]"),
        ({"page": "a", "price": [1.0, 2.0], "tags": [1, 2, 3]}, r"m: price has shape \[2\]; the model takes \[1\]"),
    ],
)
def test_further_inputs_that_do_not_fit_are_refused_by_name(context: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        rank(ranker(WIDE), 1, [1, 2, 3], context=context)


LISTER: Tensors = {"history": (INT64, [-1])}
LISTED: Tensors = {"items": (INT64, [4]), "scores": (FP32, [4])}


def generate(served: Served, history: Any = None, user: Any = None, k: Any = None) -> Ranked:
    core = Core(["a:1"], 5.0, {}, 0)
    question = Question("m", "shop", {questions.HISTORY: history, questions.USER: user}, {})
    return World(served).run(questions.generate(core, core.ask(request_id="id"), question, k))


def lister(**parameters: str) -> Served:
    answer = {"items": np.array([[5, -1, 6, 7]]), "scores": np.array([[0.5, -1e9, 1.5, 0.5]], np.float32)}
    return Served(LISTER, LISTED, answer, task="next_item", dataset="shop", **parameters)


def test_listed_items_come_best_first_without_empty_places() -> None:
    served = lister(no_id__items="-1")
    assert generate(served, [1, 2]) == ((6, 5, 7), (1.5, 0.5, 0.5), "3", "id")
    assert generate(served, [], k=2).items == (6, 5)
    assert served.sent("history").shape == (1, 0)
    text = Served(
        {"user_id": (INT64, [1])},
        {"items": (TEXT, [3]), "scores": (FP32, [3])},
        {"items": [["a", "", "b"]], "scores": np.array([[1.0, -1e9, 2.0]], np.float32)},
        task="retrieval",
        dataset="shop",
    )
    assert generate(text, user=1).items == ("b", "a")


@pytest.mark.parametrize("k", [0, -1, 5, 1.5, True, "2"])
def test_a_number_of_items_that_the_model_does_not_list_is_refused(k: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"k is {k!r}; model 'm' lists 4 items, so give 1 to 4"):
        generate(lister(), [1], k=k)


def test_a_listing_model_says_what_it_takes() -> None:
    with pytest.raises(InvalidRequest, match=r"also takes history \(INT64 \[-1\]\); give history="):
        generate(lister())
    with pytest.raises(InvalidRequest, match="takes no user_id; it takes history"):
        generate(lister(), [1], user=7)
    with pytest.raises(InvalidRequest, match="of the task click, not of next_item or retrieval"):
        generate(ranker(), [1])


def test_an_answer_that_is_none_is_the_server_s_failure() -> None:
    with pytest.raises(ServerFailure, match="gives 2 scores for 3 items"):
        rank(ranker(RANKER, 1.0, 2.0), 1, [1, 2, 3])
    served = ranker()
    served.answer = {"logits": np.ones((1, 3), np.float32)}
    with pytest.raises(ServerFailure, match="gives no scores, only logits; use infer"):
        rank(served, 1, [1, 2, 3])


def test_what_a_model_is_is_asked_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    served, core = ranker(), Core(["a:1"], 5.0, {}, 0)
    for _ in range(3):
        rank(served, 1, [1, 2, 3], core)
    assert served.described == 1
    monkeypatch.setattr("recserve_client.core.DESCRIPTION_LIFE_S", -DESCRIPTION_LIFE_S)
    rank(served, 1, [1, 2, 3], Core(["a:1"], 5.0, {}, 0))
    assert served.described == 2


def test_a_release_with_ids_of_another_kind_is_noticed_at_once() -> None:
    served, core = ranker(), Core(["a:1"], 5.0, {}, 0)
    rank(served, 1, [1, 2, 3], core)
    for tensor in served.config.input:
        tensor.data_type = TEXT
    with pytest.raises(InvalidRequest, match="the model takes ids of text"):
        rank(served, 1, [1, 2, 3], core)
    assert rank(served, "a", ["x", "y", "z"], core).items == ("y", "x", "z")
    for tensor in served.config.input:
        tensor.data_type = INT64
    assert rank(served, 1, [1, 2, 3], core).items == (2, 1, 3), "refused here, and then not"
