"""Rude clients and killed stubs beside clients that behave: is everything answered right or cleanly refused?"""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest import stage as stages
from loadtest.bench import source_of
from loadtest.honest import Crowd, Manner, crowd
from loadtest.pool import Pool
from loadtest.rude import ended, started
from loadtest.scenario import Scenario
from loadtest.served import until
from loadtest.stage import Stage
from serving.environment import circumstances

_ROUND_S = 5.0
"""Between two looks at how it goes."""
_REASON = re.compile(r"restart \d+: ready again after (?P<seconds>[\d.]+) s; (?P<reason>.*)")


@dataclass(frozen=True, kw_only=True)
class AbusePlan:
    """How long and how many."""

    minutes: float = 10.0
    honest: int = 16
    """Clients that use our client."""
    rude: int = 2
    """Processes of rude clients."""
    kill_every_s: float = 45.0
    """Between two killed stubs."""
    seed: int = 0


def run(
    scenario: Scenario, repository: Path, plan: AbusePlan, report: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The result. Raises ValueError where the repository has fewer than two releases."""
    with stages.staged(scenario, repository, seconds=0.0, rate=0.0, seed=plan.seed) as stage:
        url, seconds = stage.serve.address.url, 60 * plan.minutes
        pool, rude = Pool.load(stage.load.pool), started(url, stage.load.pool, seconds, plan.rude, plan.seed)
        try:
            with crowd([url], pool, {Manner.PLAIN: plan.honest}, plan.seed) as clients:
                killed = _abuse(stage, plan, lambda: report(_line(clients.counts(Manner.PLAIN), stage)))
                calls = ended(rude)
                answers = _answers_again(clients)
        finally:
            for one in rude:
                one.kill()
        honest = clients.counts(Manner.PLAIN)
        return {
            "scenario": "abuse",
            "kind": "abuse",
            "run": source_of(repository / scenario.model),
            **circumstances(),
            "seed": plan.seed,
            "minutes": plan.minutes,
            "honest_clients": plan.honest,
            "honest": honest,
            "rude_calls": calls,
            "killed_stubs": killed,
            "restarts": stage.serve.restarts,
            "restart_reasons": _reasons(stage.serve.said),
            "up_at_the_end": stage.serve.process.poll() is None and answers,
        }


def _answers_again(clients: Crowd) -> bool:
    """Whether the last fault too is got over without a hand."""
    # Until it is noticed, the server may call itself ready.
    time.sleep(_ROUND_S)
    before = clients.counts(Manner.PLAIN)["ok"]
    try:
        until(lambda: clients.counts(Manner.PLAIN)["ok"] > before)
    except TimeoutError:
        return False
    return True


def holds(result: dict[str, Any]) -> bool:
    """Nothing wrong, nothing unclean, and the server up at the end."""
    return not result["honest"]["wrong"] and not result["honest"]["unclean"] and result["up_at_the_end"]


def _abuse(stage: Stage, plan: AbusePlan, look: Callable[[], None]) -> int:
    """Kills stubs until the time is over; how many."""
    killed, end, next_kill = 0, time.monotonic() + 60 * plan.minutes, time.monotonic() + plan.kill_every_s
    while time.monotonic() < end:
        time.sleep(min(_ROUND_S, max(0.0, end - time.monotonic())))
        look()
        if time.monotonic() > next_kill:
            # There is none while the server is being started again.
            with suppress(ValueError, StopIteration, ProcessLookupError):
                os.kill(stage.serve.stub(stage.scenario.model), signal.SIGKILL)
                killed += 1
                next_kill += plan.kill_every_s
    return killed


def _line(honest: dict[str, Any], stage: Stage) -> str:
    restarts = stage.serve.said.count("ready again")
    return (
        f"{honest['ok']} of {honest['requests']} honest requests answered, {honest['wrong']} wrong, "
        f"{honest['unclean']} unclean, {restarts} restarts"
    )


def _reasons(said: str) -> dict[str, int]:
    """Why it was started again, without the numbers of processes and the log's name."""
    found = [re.sub(r"; see .*|\d+", "", one["reason"]).replace("  ", " ") for one in _REASON.finditer(said)]
    return dict(Counter(found))
