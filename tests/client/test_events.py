"""Events as `user_events` takes them, and what it says of them. Needs no server."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from recserve_client import events
from recserve_client.core import Core, Send
from recserve_client.errors import InvalidRequest, ServerFailure
from recserve_client.events import Event, Observed
from recserve_client.protocol import messages
from recserve_client.tensors import DTYPES, infer_request, outputs
from tests.client.performed import World


class UserEvents:
    """Says what it is told, and keeps what it was sent."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = outcomes
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, send: Send) -> Any:
        echo = messages["ModelInferResponse"](raw_output_contents=send.request.raw_input_contents)
        for tensor in send.request.inputs:
            echo.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        self.arrays = outputs(echo)
        said = infer_request("user_events", "", {"outcome": np.array([self.outcomes], object)})
        reply = messages["ModelInferResponse"](model_name="user_events", model_version="1")
        reply.outputs.add(name="outcome", datatype="BYTES", shape=[1, len(self.outcomes)])
        reply.raw_output_contents.append(said.raw_input_contents[0])
        return reply


def observe(served: UserEvents, user: Any, observed: Sequence[Any], dataset: Any = "shop") -> Observed:
    core = Core(["a:1"], 5.0, {}, 0)
    return World(served).run(events.observe(core, core.ask(request_id="id"), user, observed, dataset))


def ids(user: Any, *observed: Event) -> list[str]:
    served = UserEvents(*["applied"] * len(observed))
    observe(served, user, observed)
    return served.arrays["event_id"][0].tolist()


def test_events_are_sent_one_element_each_in_one_row() -> None:
    served = UserEvents("applied", "applied")
    observe(served, 42, [Event(7, time=100), Event(np.int64(8), 0.5, np.int32(101), 9, "mine")])
    sent = {name: array[0].tolist() for name, array in served.arrays.items()}
    assert sent.pop("event_id")[1] == "mine"
    assert sent == {
        "dataset": ["shop"],
        "user_id": ["42", "42"],
        "item_id": ["7", "8"],
        "value": [1.0, 0.5],
        "time": [100, 101],
        "order": [0, 9],
    }
    kinds = {"value": "FP64", "time": "INT64", "order": "INT64"}
    assert {name: array.dtype for name, array in served.arrays.items()} == {
        name: DTYPES[kinds.get(name, "BYTES")] for name in served.arrays
    }


def test_an_event_s_id_follows_from_what_happened_and_from_nothing_else() -> None:
    one = Event("x", 2.0, 100)
    (made,) = ids("anna", one)
    assert made == "x|100|0|2.0", "ids that were stored before must be made again"
    assert ids("anna", Event("x", 12.99, 100)) == ["x|100|0|12.99"]
    assert ids("anna", Event("y", time=1), one)[1] == made, "the place in the call does not count"
    assert ids(42, Event(7, time=1)) == ids("42", Event("7", time=1))
    others = [Event("y", 2.0, 100), Event("x", 2.5, 100), Event("x", 2.0, 101), Event("x", 2.0, 100, order=1)]
    assert len({made, *ids("anna", *others)}) == 5
    assert ids("bert", one) == [made], "an id is one of a user"


def test_what_became_of_the_events_is_counted_and_refusals_have_their_reasons() -> None:
    happened = [Event(item, time=item) for item in range(5)]
    served = UserEvents("applied", "duplicate", "dropped", "refused: item 3 is unknown", "applied")
    found = observe(served, 1, happened)
    assert found == (2, 1, 1, ((3, happened[3], "item 3 is unknown"),), "id")


@pytest.mark.parametrize("outcomes", [(), ("applied", "applied"), ("lost",)])
def test_an_answer_that_is_none_is_the_server_s_failure(outcomes: tuple[str, ...]) -> None:
    with pytest.raises(ServerFailure, match="of 1 events, which is no answer to them"):
        observe(UserEvents(*outcomes), 1, [Event(7, time=1)])


@pytest.mark.parametrize(
    ("user", "observed", "dataset", "text"),
    [
        (1, [Event(7, time=1)], "", "dataset is ''; name the data set"),
        (1, [], "shop", "events is no list of Event, or empty"),
        (1, [(7, 1.0, 1)], "shop", "events is no list of Event"),
        (1.5, [Event(7, time=1)], "shop", "user is 1.5; an id is text, or a whole number of int64"),
        (True, [Event(7, time=1)], "shop", "user is True"),
        (1, [Event("a\0", time=1)], "shop", "event 0: item: element 0 holds a NUL"),
        (1, [Event(2**63, time=1)], "shop", f"event 0: item is {2**63}"),
        (1, [Event(7)], "shop", "event 0 has no time, order or event_id"),
        (1, [Event(7, time=1), Event(7, math.nan, 1)], "shop", "event 1: value is nan; send a finite number"),
        (1, [Event(7, math.inf, 1)], "shop", "event 0: value is inf"),
        (1, [Event(7, time=1.5)], "shop", "event 0: time is 1.5; send a whole number"),  # pyright: ignore[reportArgumentType]
        (1, [Event(7, order=2**63)], "shop", f"event 0: order is {2**63}"),
        (1, [Event(7, event_id=5)], "shop", "event 0: event_id: 5 is a int"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_what_is_no_event_is_refused_by_place_and_field(user: Any, observed: Any, dataset: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=text):
        observe(UserEvents(), user, observed, dataset)
