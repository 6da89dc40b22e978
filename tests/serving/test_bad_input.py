"""Requests that are wrong, against the released LREA: each gets its reason, and the next one a right answer."""

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recserve_client.errors import DeadlineExceeded, InvalidRequest, QueueFull, ServingError, StaleState
from serving import golden
from serving.admin import Admin
from serving.direct import DirectModel
from serving.golden import Golden
from serving.histories.examples import example_of
from serving.server import ServerOptions, TritonServer
from serving.state.builder import latest, show
from serving.state.states import Entry
from serving.state.store import StateStore
from tests.serving.patience import shared
from tests.serving.state_models import state_folder
from tests.serving.steps.test_user_state_served import counts

pytestmark = [pytest.mark.triton_server, pytest.mark.slow(30)]

TOLERANCE = 1e-5
PATIENCE_S = 60.0
"""Far more than anything here takes; only a hang reaches it."""
Request = dict[str, np.ndarray]
USER, CANDIDATES = np.array([[1]]), np.array([[3, 1, 2]])


def goldens(repository: Path, model: str) -> list[Golden]:
    return golden.read(repository / model / "1" / "golden.safetensors")


def is_right(expected: Golden, answer: Request) -> bool:
    return golden.compare(expected.outputs, answer, TOLERANCE).ok


@pytest.fixture
def still_right(repository: Path, lrea_client: Admin) -> Callable[[], None]:
    """Asks good requests of users that no other test asks about wrongly, and checks the scores."""
    good = goldens(repository, "lrea")[:3]

    def check() -> None:
        for one in good:
            assert is_right(one, lrea_client.infer("lrea", one.inputs))

    return check


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"candidates": np.zeros((1, 0), np.int64)}, "candidates is empty: send at least one item id"),
        ({"candidates": np.array([[1, 2, -3]])}, "candidates[2] is -3: an item id must be at least 0"),
        ({"candidates": np.ones((1, 20_001), np.int64)}, "candidates has 20001 elements, at most 20000 are allowed"),
        ({"candidates": np.ones((1, 10**6), np.int64)}, "candidates has 1000000 elements, at most 20000 are allowed"),
        ({"user_id": USER.astype(np.int32)}, "input 'user_id' data-type is 'INT32', but model 'lrea' expects"),
        ({"candidates": CANDIDATES.astype(np.float32)}, "input 'candidates' data-type is 'FP32', but model"),
        ({"user_id": np.array([[1, 2]])}, "unexpected shape for input 'user_id' for model 'lrea'"),
        ({"candidates": CANDIDATES[0]}, "batch size does not match other inputs for 'lrea'"),
        (
            {"user_id": np.array([[1], [2]]), "candidates": np.array([[1, 2], [3, 4]])},
            "user_id has shape [2, 1]: send one user per request, [1, 1]",
        ),
        ({"surplus": CANDIDATES}, "expected 2 inputs but got 3 inputs for model 'lrea'"),
    ],
)
def test_a_wrong_request_to_the_ranker_is_refused_with_its_reason(
    lrea_client: Admin, still_right: Callable[[], None], request_: Request, text: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(text)):
        lrea_client.infer("lrea", {"user_id": USER, "candidates": CANDIDATES, **request_})
    still_right()


@pytest.mark.parametrize("missing", ["user_id", "candidates"])
def test_a_missing_input_is_named(lrea_client: Admin, still_right: Callable[[], None], missing: str) -> None:
    inputs = {"user_id": USER, "candidates": CANDIDATES}
    del inputs[missing]
    with pytest.raises(InvalidRequest, match=re.escape(f"missing required input(s) ['{missing}']")):
        lrea_client.infer("lrea", inputs)
    still_right()


def test_a_user_whom_nobody_knows_is_scored_with_an_empty_history(repository: Path, lrea_client: Admin) -> None:
    """By the two graphs, on a history of length 0: the same scores for any such user."""
    encoder, scorer = (DirectModel.open(repository / name) for name in ("lrea_encoder", "lrea_scorer"))
    lengths = {"history_items": 16, "history_values": 16, "history_length": 1, "profile": 4}
    state = encoder.run([{name: np.zeros((1, length), np.int64) for name, length in lengths.items()}])[0]
    expected = scorer.run([{**state, "candidates": CANDIDATES}])[0]["scores"]
    for user in (999, 0, -1, 2**62, -(2**63), 2**63 - 1):
        answer = lrea_client.infer("lrea", {"user_id": np.array([[user]]), "candidates": CANDIDATES})
        np.testing.assert_allclose(answer["scores"], expected, rtol=1e-6)
    known = lrea_client.infer("lrea", {"user_id": USER, "candidates": CANDIDATES})
    assert np.abs(known["scores"] - expected).max() > 1e-4


def test_an_unknown_item_is_scored_as_the_out_of_vocabulary_one(lrea_client: Admin) -> None:
    candidates = np.array([[0, 49, 2**40, 5]])
    (scores,) = lrea_client.infer("lrea", {"user_id": USER, "candidates": candidates})["scores"]
    assert scores[0] == scores[1] == scores[2] != scores[3]


@pytest.mark.parametrize(
    ("model", "change", "text"),
    [
        ("lrea_scorer", lambda good: {"candidates": np.array([[-1]])}, "input 'candidates': -1 is negative"),
        ("lrea_scorer", lambda good: {"candidates": np.ones((1, 10**6), np.int64)}, "more than the 20000 that one"),
        ("lrea_scorer", lambda good: {"keys": good["keys"][:, :, :3]}, "unexpected shape for input 'keys'"),
        ("lrea_scorer", lambda good: {"keys": good["keys"].astype(np.float64)}, "input 'keys' data-type is 'FP64'"),
        (
            "lrea_scorer",
            lambda good: {name: array.repeat(2, axis=0) for name, array in good.items()},
            "input 'candidates' has batch size 2; this model takes requests of unlike length",
        ),
        (
            "lrea_encoder",
            lambda good: {"history_items": np.ones((1, 17), np.int64)},
            "unexpected shape for input 'history_items' for model 'lrea_encoder'. Expected [-1,16], got [1,17]",
        ),
        ("lrea_encoder", lambda good: {"history_length": np.array([[17]])}, "'history_length': 17 is above 16"),
        ("lrea_encoder", lambda good: {"history_length": np.array([[-1]])}, "'history_length': -1 is negative"),
        ("lrea_encoder", lambda good: {"history_items": -np.ones((1, 16), np.int64)}, "-1 is negative"),
    ],
)
def test_a_wrong_request_to_a_step_is_refused_with_its_reason(
    repository: Path, lrea_client: Admin, model: str, change: Callable[[Request], Request], text: str
) -> None:
    good = goldens(repository, model)[5]
    with pytest.raises(InvalidRequest, match=re.escape(text)):
        lrea_client.infer(model, good.inputs | change(good.inputs))
    assert is_right(good, lrea_client.infer(model, good.inputs))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda state: {"keys": np.full_like(state["keys"], np.nan)}, id="not a number"),
        pytest.param(lambda state: {"stamp": state["stamp"] + 1}, id="stale stamp"),
    ],
)
def test_a_state_that_is_not_fit_gives_no_score_and_its_batch_mates_theirs(
    repository: Path, lrea_client: Admin, change: Callable[[Request], Request]
) -> None:
    good = [one for one in goldens(repository, "lrea_scorer") if one.inputs["candidates"].size]

    def ask(number: int) -> None:
        one = good[number % len(good)]
        if number % 3:
            assert is_right(one, lrea_client.infer("lrea_scorer", one.inputs))
            return
        with pytest.raises(StaleState, match=r"lrea_scorer: output 'scores' holds NaN: .*of another model version"):
            lrea_client.infer("lrea_scorer", one.inputs | change(one.inputs))

    def ask_all() -> int:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(96)))
        return 96

    assert shared(lrea_client, "lrea_scorer", ask_all), "no two requests shared an execution"


def test_a_store_that_is_stale_corrupt_or_gone_is_computed_again_and_counted(
    repository: Path, lrea_server: TritonServer, lrea_client: Admin
) -> None:
    one = goldens(repository, "lrea")[0]
    user = example_of(int(one.inputs["user_id"][0, 0]))
    assert user is not None

    def outcomes() -> Counter[str]:
        """What was counted for one request, which was answered right."""
        before = counts(lrea_server)
        assert is_right(one, lrea_client.infer("lrea", one.inputs))
        return counts(lrea_server) - before

    outcomes()
    assert outcomes() == {"hit": 1}
    stored = show(repository, lrea_server.state, user).state
    assert stored is not None
    with StateStore(state_folder(lrea_server)) as store:
        lookup = latest(repository).question(user).lookup
        other = {name: array + 1 for name, array in stored.items()}
        store.put(Entry(lookup._replace(digest=b"another "), other))
    assert outcomes() == {"stale": 1, "written": 1}
    (state_folder(lrea_server) / "data.mdb").write_bytes(b"\x55" * 50_000)
    assert outcomes() == {"store_error": 1, "written": 1}
    shutil.rmtree(state_folder(lrea_server))
    assert outcomes() == {"store_error": 1, "written": 1}
    assert outcomes() == {"hit": 1}


def test_a_deadline_that_has_passed_is_an_error_and_the_next_request_is_answered(
    lrea_client: Admin, still_right: Callable[[], None]
) -> None:
    many = np.ones((1, 20_000), np.int64)
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0 s"):
        lrea_client.infer("lrea", {"user_id": USER, "candidates": many}, deadline_s=0.0)
    still_right()


def ask_all(client: Admin, good: list[Golden], number: int) -> list[ServingError | None]:
    """Many clients at once; None for each that was answered right, else its error."""

    def ask(one: Golden) -> ServingError | None:
        try:
            answer = client.infer("lrea", one.inputs, deadline_s=PATIENCE_S)
        except ServingError as error:
            return error
        assert is_right(one, answer)
        return None

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(ask, [good[n % len(good)] for n in range(2 * number)]))


def settled(client: Admin) -> int:
    """Requests answered so far, once none is under way: one that nobody waits for any more is counted late."""
    counts = [-1, client.statistics("lrea").success]
    while counts[-1] != counts[-2]:
        time.sleep(0.5)
        counts.append(client.statistics("lrea").success)
    return counts[-1]


def test_two_hundred_clients_at_once_are_answered_right_or_told_that_the_queue_is_full(
    repository: Path, lrea_client: Admin, still_right: Callable[[], None]
) -> None:
    good = goldens(repository, "lrea")
    before = settled(lrea_client)
    outcomes = ask_all(lrea_client, good, 200)
    assert len(outcomes) == 400
    assert {type(outcome) for outcome in outcomes} <= {type(None), QueueFull}, set(map(str, outcomes))
    assert outcomes.count(None) > 0
    # The server counts an ensemble's request a moment after it has answered it.
    deadline = time.monotonic() + PATIENCE_S
    while lrea_client.statistics("lrea").success - before != outcomes.count(None):
        assert time.monotonic() < deadline
    still_right()


@pytest.mark.parametrize("model", ["lrea_state", "lrea_scorer"])
def test_a_queue_that_overflows_in_any_step_rejects_and_recovers(broken: Path, tmp_path: Path, model: str) -> None:
    for name in (model, "lrea"):
        path = broken / name / "configs" / "cpu.pbtxt"
        text = path.read_text()
        assert "max_batch_size: 64" in text
        path.write_text(text.replace("max_batch_size: 64", "max_batch_size: 4").replace('"500"', '"1"'))
    good = goldens(broken, "lrea")
    options = ServerOptions(state=tmp_path / "state", log=tmp_path / "log", check_golden=False)
    with TritonServer(broken, options) as server, server.client() as client:
        outcomes = ask_all(client, good, 200)
        rejected = [outcome for outcome in outcomes if outcome is not None]
        assert 0 < len(rejected) < len(outcomes)
        assert {type(error) for error in rejected} == {QueueFull}
        assert "the queue is full: a request would wait for more than 1 ms; retry" in str(rejected[0])
        for one in good:
            assert is_right(one, client.infer("lrea", one.inputs, deadline_s=PATIENCE_S))
