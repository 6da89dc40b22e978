"""No call is ever cut short, whatever the caller's deadline says."""

import subprocess
import sys
import threading
import time

import pytest

from recserve_client import Client, outcomes
from recserve_client.errors import DeadlineExceeded, InvalidRequest, ServerUnavailable
from tests.client.conftest import Watched


def ready(client: Client, deadline_s: float) -> None:
    ask = client._core.ask(deadline_s)
    client._run(client._core.model_ready("any", ask), ask)


def test_a_deadline_stays_with_the_caller_and_the_call_runs_to_its_end(witness: Watched) -> None:
    servicer, url = witness
    client = Client(url)
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0\.2 s"):
        ready(client, 0.2)
    closing = threading.Thread(target=client.close)
    closing.start()
    time.sleep(0.1)
    assert closing.is_alive(), "closing waits for the call under way"
    servicer.go_on.set()
    closing.join(10.0)
    assert not closing.is_alive()
    assert servicer.ended == [True]
    # gRPC says the end of time, or nothing, where no deadline came along.
    assert all(seconds is None or seconds > 1e6 for seconds in servicer.deadlines)


def test_a_client_that_nobody_holds_any_more_does_not_cut_its_calls_short(witness: Watched) -> None:
    servicer, url = witness
    with pytest.raises(DeadlineExceeded):
        ready(Client(url), 0.1)
    servicer.go_on.set()
    deadline = time.monotonic() + 10.0
    while not servicer.ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert servicer.ended == [True]


def test_the_end_of_the_program_waits_for_calls_under_way(witness: Watched) -> None:
    servicer, url = witness
    code = (
        "import sys; from recserve_client import Client, DeadlineExceeded\n"
        "client = Client(sys.argv[1], deadline_s=0.3)\n"
        "try: client.model_ready('any')\n"
        "except DeadlineExceeded: print('ends', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ends\n"
        time.sleep(0.2)
        assert process.poll() is None
        servicer.go_on.set()
        assert process.wait(20.0) == 0
    assert servicer.ended == [True]


def test_calls_past_their_deadline_are_bounded(witness: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    servicer, url = witness
    monkeypatch.setattr(outcomes, "MAX_OVERDUE", 3)
    with Client(url) as client:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                ready(client, 0.05)
        with pytest.raises(ServerUnavailable, match="passed their deadline and are still under way"):
            ready(client, 0.05)
        servicer.go_on.set()
        deadline = time.monotonic() + 10.0
        while len(servicer.ended) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client._calls[url].settle(10.0)
        ready(client, 10.0)


@pytest.mark.parametrize("deadline_s", [-1.0, float("nan"), float("inf")])
def test_a_deadline_that_is_none_is_refused(deadline_s: float) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequest, match="deadline_s is"):
        client.infer("any", {"x": [1]}, deadline_s=deadline_s)
