"""What becomes of the users' states while events arrive and releases change."""

import re
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from loadtest.live.site import Site
from loadtest.live.traffic import asking, played
from loadtest.releases import Releases

_READS = re.compile(r"recserve_user_state_reads_total\{(.*?)\} ([0-9.e+]+)")
_OUTCOME = re.compile(r'outcome="(\w+)"')
OUTCOMES: tuple[str, ...] = ("hit", "stale", "miss")
_EVERY_S = 0.5
EVENT_RATE = 10.0
"""Events a second while states are watched."""


def timeline(
    site: Site, releases: Releases, first: int, *, rate: float, phase_s: float, report: Callable[[str], None]
) -> dict[str, Any]:
    """Reads of the states by what came of them, each half second: while nothing happens, then with events, then with
    the same weights published again, then with other weights. Events are those of the scripts from the `first` on."""
    served, stop = site.groups[0][0], threading.Event()
    marks: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    begin = time.monotonic()

    def mark(what: str) -> None:
        report(f"states: {what}")
        marks.append({"second": round(time.monotonic() - begin, 1), "what": what})

    def sampling() -> None:
        before = _reads(served.address.metrics_url)
        while not stop.wait(_EVERY_S):
            now = _reads(served.address.metrics_url)
            rates = {name: round((now[name] - before[name]) / _EVERY_S, 1) for name in OUTCOMES}
            samples.append({"second": round(time.monotonic() - begin, 1), **rates})
            before = now

    happening = threading.Thread(
        target=lambda: played(site.journals, site.happen, rate=EVENT_RATE, first=first, stop=stop), daemon=True
    )
    watching = threading.Thread(target=sampling, daemon=True)
    with asking(site.play.model, site.asked, rate=rate, threads=8) as askers:
        watching.start()
        mark("no events")
        time.sleep(phase_s)
        happening.start()
        mark(f"{EVENT_RATE:g} events a second")
        time.sleep(phase_s)
        for what, origin in (("same weights again", releases.numbers[0]), ("other weights", releases.numbers[1])):
            mark(what)
            number = releases.publish(origin)
            served.says(f"{site.play.model} {number}")
            time.sleep(phase_s)
        stop.set()
        happening.join()
        watching.join()
        site.delivered()
    return {"marks": marks, "samples": samples, "answers": askers.report(site.play), "phases": _phases(marks, samples)}


def _phases(marks: list[dict[str, Any]], samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reads in all, by phase."""
    ends = [*(one["second"] for one in marks[1:]), float("inf")]
    return [
        {
            "what": one["what"],
            **{
                name: round(sum(s[name] * _EVERY_S for s in samples if one["second"] <= s["second"] < end))
                for name in OUTCOMES
            },
        }
        for one, end in zip(marks, ends, strict=True)
    ]


def _reads(metrics_url: str) -> dict[str, float]:
    with urllib.request.urlopen(metrics_url) as reply:  # noqa: S310 - the server's own address
        text = reply.read().decode()
    found = dict.fromkeys(OUTCOMES, 0.0)
    for labels, value in _READS.findall(text):
        if (outcome := _OUTCOME.search(labels)) and outcome[1] in found:
            found[outcome[1]] += float(value)
    return found
