"""Counts that are told a moment later."""

import threading
from collections import defaultdict

from serving.tally import Tally


def test_counts_of_many_threads_are_told_together_and_none_is_lost() -> None:
    told: list[tuple[str, float]] = []
    tally = Tally(lambda outcome, number: told.append((outcome, number)), period_s=0.01)

    def work() -> None:
        for _ in range(1000):
            tally.add("hit", 1)
            tally.add("miss", 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.close()
    sums: defaultdict[str, float] = defaultdict(float)
    for outcome, number in told:
        sums[outcome] += number
    assert sums == {"hit": 4000, "miss": 8000}
    assert len(told) < 1000


def test_a_count_arrives_without_another_one_and_nothing_is_told_of_nothing() -> None:
    arrived = threading.Event()
    told: list[tuple[str, float]] = []

    def tell(outcome: str, number: float) -> None:
        told.append((outcome, number))
        arrived.set()

    tally = Tally(tell, period_s=0.01)
    tally.add("hit", 3)
    assert arrived.wait(10)
    tally.close()
    assert told == [("hit", 3)]
