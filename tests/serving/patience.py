"""Waiting for what a busy machine does late, and asking again until requests have met."""

import time
from collections.abc import Callable
from typing import Any

from serving.admin import Admin, InferStats

PATIENCE_S = 60.0
"""Far more than anything here takes; only a fault reaches it."""
_ROUNDS = 50


def settled(read: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    """The first reading that is done; the last one where none is in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not done(found := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def counted(client: Admin, model: str, before: InferStats, answered: int) -> InferStats:
    """The statistics once they hold so many answers more; the server counts a batch after it has answered it."""
    return settled(lambda: client.statistics(model), lambda after: after.success - before.success >= answered)


def shared(client: Admin, model: str, ask: Callable[[], int]) -> bool:
    """Asks until fewer executions than requests were needed: where the machine is busy elsewhere, requests may come one
    by one for a while. `ask` sends requests at once and says how many were answered."""
    for _ in range(_ROUNDS):
        before = client.statistics(model)
        answered = ask()
        after = counted(client, model, before, answered)
        if after.executions - before.executions < answered:
            return True
    return False
