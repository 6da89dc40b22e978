"""How long it takes from an event to the first answer that knows it, and what an event costs."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import psutil

from loadtest.live.site import Site
from loadtest.live.traffic import asking
from loadtest.served import PATIENCE_S
from recserve_client import Client
from serving.events.pushing import Pusher

_GAP_S = 0.01
_AT_ONCE = 200
"""Events of one push where many are pushed at once."""

Send = Callable[[int, int], None]


def latencies(site: Site, events: range, *, rate: float) -> dict[str, Any]:
    """From the start of a push, and from an entry in the stream, to the answer; beside `rate` questions a second.

    Each event is of the next user, one after the other: sent, and then asked about until an answer knows it.
    """
    served = site.groups[0][0]
    with served.client() as client:
        pusher = Pusher(client, site.play.dataset)

        def push(place: int, event: int) -> None:
            pusher.push([site.play.scripts[place].rows[event]])

        half = len(events) // 2
        with asking(site.play.model, site.asked, rate=rate, threads=8) as askers:
            pushed = _timed(site, client, push, events[:half])
            streamed = _timed(site, client, site.happen, events[half:])
        loaded = askers.report(site.play)
    return {"rate": rate, "push": pushed, "stream": streamed, "load": loaded}


def _timed(site: Site, client: Client, send: Send, events: range) -> dict[str, Any]:
    journal, taken, asked = site.journals[0], [], 0
    for event in events:
        for place, script in enumerate(site.play.scripts):
            journal.sent[place] = event + 1
            begin = time.perf_counter()
            send(place, event)
            while True:
                asked += 1
                scores = client.infer(site.play.model, dict(script.request))["scores"].reshape(-1)
                if event + 1 in script.counts(scores):
                    break
                if time.perf_counter() - begin > PATIENCE_S:
                    raise TimeoutError(f"no answer knows event {event} of user {script.user}")
            taken.append(1e3 * (time.perf_counter() - begin))
            journal.knows(place, event + 1)
            time.sleep(_GAP_S)
    cuts = dict(zip(("p50_ms", "p90_ms", "p99_ms"), np.percentile(taken, (50, 90, 99)).round(2).tolist(), strict=True))
    return {
        "events": len(taken),
        "asked": asked,
        **cuts,
        "max_ms": round(max(taken), 2),
        "taken_ms": np.sort(taken).round(2).tolist(),
    }


def costs(site: Site, events: range) -> dict[str, Any]:
    """CPU microseconds of an event, by process: pushed one by one, pushed many at once, and through the stream."""
    rows = [(place, event) for event in events for place in range(len(site.play.scripts))]
    for place in range(len(site.play.scripts)):
        site.journals[0].sent[place] = events.stop
    third = len(rows) // 3
    with site.groups[0][0].client() as client:
        pusher = Pusher(client, site.play.dataset)

        def one_by_one(part: list[tuple[int, int]]) -> None:
            for place, event in part:
                pusher.push([site.play.scripts[place].rows[event]])

        def at_once(part: list[tuple[int, int]]) -> None:
            for start in range(0, len(part), _AT_ONCE):
                some = part[start : start + _AT_ONCE]
                pusher.push([site.play.scripts[place].rows[event] for place, event in some])

        def streamed(part: list[tuple[int, int]]) -> None:
            for place, event in part:
                site.happen(place, event)
            site.delivered()

        ways = {"one_by_one": one_by_one, "at_once": at_once, "stream": streamed}
        return {
            name: _cost(site, lambda way=way, n=number: way(rows[n * third : (n + 1) * third]), third)
            for number, (name, way) in enumerate(ways.items())
        }


def _cost(site: Site, send: Callable[[], None], number: int) -> dict[str, float]:
    before = _cpu(site)
    begin = time.perf_counter()
    send()
    took, after = time.perf_counter() - begin, _cpu(site)
    spent = {name: round(1e6 * (after[name] - before[name]) / number, 1) for name in before}
    return {
        "events": number,
        "events_per_s": round(number / took),
        **{f"{name}_us": one for name, one in spent.items()},
    }


def _cpu(site: Site) -> dict[str, float]:
    """Seconds of CPU so far."""
    served = site.groups[0][0]
    numbers = {"server": [served.server], "user_events": [served.stub("user_events")]}
    numbers |= {"consumer": [one.process.pid for one in site.consumers]}
    if site.store is not None and site.store.process is not None:
        numbers["store"] = [site.store.process.pid]
    found = dict.fromkeys(numbers, 0.0)
    for name, pids in numbers.items():
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                found[name] += times.user + times.system
    return found
