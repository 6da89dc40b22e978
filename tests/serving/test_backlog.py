"""The bound of the queue that our backends keep."""

from typing import Any

import pytest

from serving.backends.backlog import Backlog


class Queue:
    """A model of 8 rows and 10 ms a request behind a queue of which the test knows the length."""

    def __init__(self, instances: int = 1) -> None:
        self.now, self.waiting, self.asked = 0.0, 0, 0
        self.backlog = Backlog(8, 0.5, self.pending, instances, lambda: self.now)

    def pending(self) -> int:
        self.asked += 1
        return self.waiting

    def refuses(self, requests: int, rows: int = 1) -> bool:
        """Whether a batch is refused; one that is not takes its time."""
        refused = self.backlog.refuses([rows] * requests)
        self.now += 0.001 if refused else 0.01 * requests
        self.backlog.ended()
        return refused


def test_batches_with_room_left_never_ask_and_are_never_refused() -> None:
    queue = Queue()
    queue.waiting = 10_000
    assert not any(queue.refuses(7) for _ in range(100))
    assert not any(queue.refuses(3, rows=2) for _ in range(100))
    assert queue.asked == 0


def test_full_batches_are_accepted_while_the_last_request_waits_for_less_than_the_patience() -> None:
    queue = Queue()
    queue.waiting = 45
    assert not any(queue.refuses(8) for _ in range(100))
    assert 0 < queue.asked <= 100 * 0.08 / 0.125 + 1


def test_a_queue_that_has_grown_too_long_is_refused_until_it_is_short_again() -> None:
    queue = Queue()
    queue.waiting = 100
    outcomes = [queue.refuses(8) for _ in range(17)]
    # Seven batches until the patience is over; of the 100 requests of 10 ms that then wait, 56 must go; asked again.
    assert outcomes == [False] * 7 + [True] * 7 + [False] * 2 + [True]


def test_requests_of_several_rows_fill_a_batch_that_has_no_room_for_one_more() -> None:
    queue = Queue()
    queue.waiting = 1000
    outcomes = [queue.refuses(2, rows=3) for _ in range(40)]
    assert not any(outcomes[:25])
    assert all(outcomes[27:])


def test_two_instances_share_what_waits() -> None:
    one, two = Queue(), Queue(instances=2)
    one.waiting = two.waiting = 80
    assert any(one.refuses(8) for _ in range(10))
    assert not any(two.refuses(8) for _ in range(10))


def test_full_batches_after_a_pause_are_not_behind() -> None:
    queue = Queue()
    for _ in range(5):
        assert not queue.refuses(8)
        queue.now += 60


def test_a_server_too_busy_to_say_what_waits_is_behind() -> None:
    queue = Queue()

    def silent() -> int:
        raise TimeoutError

    queue.pending = silent
    queue.backlog = Backlog(8, 0.5, silent, 1, lambda: queue.now)
    assert [queue.refuses(8) for _ in range(9)] == [False] * 7 + [True] * 2


def test_the_parameter_is_read_and_refused_where_it_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def config(**parameters: str) -> dict[str, Any]:
        values = {name: {"string_value": value} for name, value in parameters.items()}
        return {"name": "scorer", "max_batch_size": 64, "parameters": values}

    assert Backlog.of(config(), "1") is None
    with pytest.raises(ValueError, match=r"scorer: 'max_backlog_ms' needs the address.*set RECSERVE_METRICS"):
        Backlog.of(config(max_backlog_ms="250"), "1")
    monkeypatch.setenv("RECSERVE_METRICS", "http://127.0.0.1:9/metrics")
    found = Backlog.of(config(max_backlog_ms="250"), "1")
    assert found is not None
    assert found.reason == "the queue is full: a request would wait for more than 250 ms"
    for wrong in ("0", "-1", "soon", ""):
        with pytest.raises(ValueError, match="scorer: parameter 'max_backlog_ms'"):
            Backlog.of(config(max_backlog_ms=wrong), "1")
