"""What the client does about servers that fail: without one, and without waiting."""

import hashlib
import uuid
from typing import Any

import numpy as np
import pytest

from recserve_client import core as core_module
from recserve_client import errors
from recserve_client.core import Core
from recserve_client.endpoints import PAUSE_S, Endpoints
from recserve_client.outcomes import Closed, Failed, Outcome, Overdue, TooManyOverdue
from recserve_client.protocol import MODEL_INFER, messages
from recserve_client.retries import MOST, SAVED, Budget
from tests.client.performed import FULL, LOST, World, always

TWO = ("a:1", "b:1")
READY = messages["ModelReadyResponse"](ready=True)


def made(*urls: str, deadline_s: float = 5.0, most_retries: int = MOST) -> Core:
    return Core(urls or ("a:1",), deadline_s, {}, most_retries)


def asked(core: Core, world: World, **options: Any) -> bool:
    return world.run(core.model_ready("any", core.ask(**options)))


def test_servers_are_asked_in_turn() -> None:
    core, world = made("a:1", "b:1", "c:1"), always(READY)
    for _ in range(6):
        assert asked(core, world)
    assert sorted(send.url for send in world.sent[:3]) == ["a:1", "b:1", "c:1"]
    assert [send.url for send in world.sent[:3]] == [send.url for send in world.sent[3:]]
    assert core.counters == (6, 0, 0, 0)


def test_a_lost_server_s_request_goes_to_another_at_once_and_later_ones_leave_it_out() -> None:
    core, world = made(*TWO), World(lambda send: LOST if send.url == "a:1" else READY)
    assert all(asked(core, world) for _ in range(10))
    assert [send.url for send in world.sent].count("a:1") == 1
    assert world.pauses == []
    assert core.counters == (10, 1, 0, 0)


def test_a_single_server_is_asked_again_after_pauses_that_grow_and_differ() -> None:
    seen = set()
    for _ in range(20):
        core, world = made(), always(LOST)
        with pytest.raises(errors.ServerUnavailable, match="start one with recserve serve; asked 3 times"):
            asked(core, world)
        first, second = world.pauses
        assert 0.0125 <= first <= 0.0375
        assert 0.025 <= second <= 0.075
        seen |= {first, second}
    assert len(seen) == 40


def test_a_full_queue_is_asked_again_with_back_off_elsewhere_first() -> None:
    core, world = made(*TWO), always(FULL)
    with pytest.raises(errors.QueueFull, match="asked 3 times"):
        asked(core, world)
    assert {send.url for send in world.sent[:2]} == {*TWO}
    assert len(world.pauses) == 2
    with pytest.raises(errors.QueueFull):
        asked(core, world)
    assert {send.url for send in world.sent[3:5]} == {*TWO}, "a full queue leaves no server out"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Failed("INVALID_ARGUMENT", "no"), errors.InvalidRequest),
        (Failed("RESOURCE_EXHAUSTED", "local_rate_limited"), errors.RateLimited),
        (Failed("UNAVAILABLE", "local_rate_limited"), errors.RateLimited),
        (Failed("UNAUTHENTICATED", "Jwt is missing"), errors.NotAuthenticated),
        (Failed("NOT_FOUND", "unknown model"), errors.ModelUnavailable),
        (Failed("INTERNAL", "out of memory"), errors.ServerFailure),
        (Overdue(), errors.DeadlineExceeded),
        (Closed(), errors.ServerUnavailable),
    ],
)
def test_what_would_fail_again_is_asked_once(outcome: Outcome, error: type[errors.ServingError]) -> None:
    core, world = made(*TWO), always(outcome)
    with pytest.raises(error):
        asked(core, world)
    assert len(world.sent) == 1


def test_what_may_not_be_repeated_is_asked_once() -> None:
    core, world = made(*TWO), always(LOST)
    with pytest.raises(errors.ServerUnavailable):
        asked(core, world, retried=False)
    with pytest.raises(errors.ServerUnavailable):
        asked(made(*TWO, most_retries=0), world)
    assert len(world.sent) == 2


def test_nothing_is_asked_again_beyond_the_deadline() -> None:
    world = always(FULL)
    with pytest.raises(errors.QueueFull):
        asked(made(), world, deadline_s=0.01)
    assert len(world.sent) == 1
    assert world.sent[0].seconds <= 0.01


def test_retries_of_an_outage_are_bounded_and_the_error_says_so() -> None:
    core, world, said = made(*TWO), always(LOST), set()
    for _ in range(1000):
        with pytest.raises(errors.ServerUnavailable) as caught:
            asked(core, world)
        said.add(str(caught.value).rpartition("; ")[2])
    counters = core.counters
    assert counters.calls == 1000
    assert SAVED <= counters.retries <= SAVED + 0.1 * 1000 + 5
    assert counters.withheld >= 800
    assert len(world.sent) == 1000 + counters.retries
    assert said == {"asked 3 times", "not asked again: more than 10% of the requests were of late"}


def test_a_budget_is_earned_by_requests_and_by_time() -> None:
    now = [0.0]
    budget = Budget(lambda: now[0])
    while budget.spend():
        pass
    for _ in range(11):
        budget.earn()
    assert budget.spend()
    assert not budget.spend()
    now[0] = 10.0
    assert sum(budget.spend() for _ in range(100)) == 10
    now[0] = 1e6
    assert sum(budget.spend() for _ in range(100)) == SAVED


def test_a_server_that_failed_is_tried_by_one_request_at_a_time_until_it_answers() -> None:
    now = [0.0]
    chosen = Endpoints(TWO, lambda: now[0])
    chosen.failed("a:1")
    assert {chosen.choose() for _ in range(10)} == {"b:1"}
    now[0] = PAUSE_S
    assert [chosen.choose() for _ in range(10)].count("a:1") == 1
    now[0] = 2 * PAUSE_S
    chosen.well("a:1")
    assert [chosen.choose() for _ in range(10)].count("a:1") == 5
    for url in TWO:
        chosen.failed(url)
    assert {chosen.choose() for _ in range(10)} == {*TWO}, "where all are out, all are asked"


def test_a_server_that_hangs_is_left_out_and_one_with_too_many_calls_asked_no_more() -> None:
    core = made(*TWO)
    hung = always(Overdue())
    with pytest.raises(errors.DeadlineExceeded, match="no answer within 5 s"):
        asked(core, hung)
    world = World(lambda send: READY)
    assert all(asked(core, world) for _ in range(5))
    assert {send.url for send in world.sent} == {*TWO} - {hung.sent[0].url}
    full = World(lambda send: TooManyOverdue() if send.url == "a:1" else READY)
    assert all(asked(made(*TWO), full) for _ in range(5))
    assert core.counters.overdue == 1


def test_a_server_is_ready_where_one_of_them_is() -> None:
    ready = {"a:1": LOST, "b:1": messages["ServerReadyResponse"](ready=True)}
    core = made(*TWO)
    assert World(lambda send: ready[send.url]).run(core.server_ready(core.ask()))
    assert not always(Overdue()).run(core.server_ready(core.ask()))


def test_a_server_that_says_it_only_with_a_token_is_not_called_unready() -> None:
    refused = Failed("UNAUTHENTICATED", "Jwt is missing")
    core = made(*TWO)
    with pytest.raises(errors.NotAuthenticated, match="send a valid token"):
        World(lambda send: LOST if send.url == "a:1" else refused).run(core.server_ready(core.ask()))
    ready = {"a:1": refused, "b:1": messages["ServerReadyResponse"](ready=True)}
    assert World(lambda send: ready[send.url]).run(core.server_ready(core.ask()))


def infer_reply(**arrays: np.ndarray) -> Any:
    reply = messages["ModelInferResponse"](model_name="any", model_version="7")
    for name, array in arrays.items():
        reply.outputs.add(name=name, datatype="FP32", shape=array.shape)
        reply.raw_output_contents.append(array.tobytes())
    return reply


def test_the_request_s_id_goes_out_twice_and_is_in_every_error() -> None:
    core, world = Core(["a:1"], 5.0, {"Authorization": "Bearer x", "x-user-id": "1"}, 0), always(infer_reply())
    ask = core.ask(request_id="mine", headers={"x-user-id": "2"})
    answer = world.run(core_module.with_id(core.infer("any", "", {"x": [1]}, ask), ask))
    assert answer.version == "7"
    (send,) = world.sent
    assert send.method == MODEL_INFER
    assert send.request.id == "mine"
    assert dict(send.headers) == {"authorization": "Bearer x", "x-user-id": "2", "x-request-id": "mine"}
    for inputs, outcome in (
        ({"x": [None]}, READY),
        ({"x": [1]}, LOST),
        ({"x": [1]}, infer_reply(y=np.array([np.nan], np.float32))),
    ):
        ask = core.ask()
        uuid.UUID(ask.request_id)
        with pytest.raises(errors.ServingError, match=rf"\(request {ask.request_id}\)$") as caught:
            always(outcome).run(core_module.with_id(core.infer("any", "", inputs, ask), ask))
        assert caught.value.request_id == ask.request_id


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"user_id": [[42]]}, "42"),
        ({"user_id": np.array([["anna"]], object)}, "anna"),
        ({"user_id": np.array([[b"anna"]], object)}, "anna"),
        ({"user_id": [["J\u00fcrgen 7%"]]}, "J%C3%BCrgen 7%25"),
        ({"user_id": [["a", "a"]]}, "a"),
        ({"user_id": [["a" * 1024]]}, "a" * 1024),
        ({"user_id": [["a" * 70_000]]}, f"sha256:{hashlib.sha256(b'a' * 70_000).hexdigest()}"),
        ({"user_id": [["\u00fc" * 200]]}, f"sha256:{hashlib.sha256(200 * chr(252).encode()).hexdigest()}"),
        ({"user_id": [["a", "b"]]}, None),
        ({"x": [1]}, None),
    ],
)
def test_an_inference_of_one_user_says_whose_it_is(inputs: dict[str, Any], said: str | None) -> None:
    core, world = Core(["a:1"], 5.0, {}, 0), always(infer_reply())
    world.run(core.infer("any", "", inputs, core.ask()))
    assert dict(world.sent[0].headers).get("x-user-id") == said
    world.run(core.infer("any", "", inputs, core.ask(headers={"x-user-id": "own"})))
    assert dict(world.sent[1].headers)["x-user-id"] == "own"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"headers": {"grpc-timeout": "1m"}}, "header 'grpc-timeout': .* none of gRPC's own"),
        ({"headers": {"x-bin": "1"}}, "header 'x-bin'"),
        ({"headers": {"a b": "1"}}, "header 'a b'"),
        ({"headers": {"x-request-id": "1"}}, "say request_id="),
        ({"headers": {"authorization": "secret\n"}}, "header authorization is empty, or no printable ASCII"),
        ({"headers": {"x-user-id": 7}}, "header x-user-id is empty, or no printable"),
        ({"headers": {"x-user-id": "a" * 7000, "b": "b"}}, "headers have .* bytes, x-user-id the most of them; send"),
        ({"request_id": "a" * 70_000}, "headers have .* bytes, x-request-id the most of them; send 6144 or fewer"),
        ({"request_id": ""}, "request_id is empty"),
        ({"deadline_s": -1.0}, "deadline_s is -1.0"),
        ({"deadline_s": float("nan")}, "deadline_s is nan"),
        ({"deadline_s": float("inf")}, "deadline_s is inf"),
    ],
)
def test_what_cannot_go_along_with_a_call_is_refused_by_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=text) as caught:
        made().ask(**options)
    assert "secret" not in str(caught.value)


def test_a_client_of_no_server_is_refused() -> None:
    for urls in ((), ("",)):
        with pytest.raises(ValueError, match="give host:port of one server or more"):
            Core(urls, 5.0, {}, 2)
    with pytest.raises(ValueError, match="retries is -1"):
        Core(["a:1"], 5.0, {}, -1)
    assert Core(["a:1", "a:1"], 5.0, {}, 2).endpoints.urls == ("a:1",)
