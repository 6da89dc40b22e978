"""Steps of the core, performed by a test in place of a client."""

from collections.abc import Callable
from typing import Any

from recserve_client.core import Pause, Result, Send, Steps
from recserve_client.outcomes import Failed, Outcome

LOST = Failed("UNAVAILABLE", "Socket closed")
FULL = Failed("UNAVAILABLE", "Exceeds maximum queue size")


class World:
    """Answers each call as it is told, and keeps what was asked."""

    def __init__(self, answer: Callable[[Send], Any]) -> None:
        """`answer` gives the reply to a call, or the outcome that it comes to."""
        self.answer = answer
        self.sent: list[Send] = []
        self.pauses: list[float] = []

    def run(self, steps: Steps[Result]) -> Result:
        """What the steps come to; no time passes."""
        try:
            step = next(steps)
            while True:
                step = self._after(steps, step)
        except StopIteration as done:
            return done.value

    def _after(self, steps: Steps[Any], step: Send | Pause) -> Send | Pause:
        if isinstance(step, Pause):
            self.pauses.append(step.seconds)
            return steps.send(None)
        self.sent.append(step)
        found = self.answer(step)
        return steps.throw(found) if isinstance(found, Outcome) else steps.send(found)


def always(outcome: Any) -> World:
    """Whatever is asked."""
    return World(lambda send: outcome)
