"""Minutes of events, questions and releases: every answer is judged, what processes and stores hold is sampled."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from loadtest.live.faults import described
from loadtest.live.scripts import Play, Size
from loadtest.live.site import Site, followed_site
from loadtest.live.traffic import asking, played
from loadtest.releases import Releases
from loadtest.served import Served

Report = Callable[[str], None]
_KEPT = 2
"""Releases that stay when old ones are removed."""


@dataclass(frozen=True, kw_only=True)
class SoakPlan:
    """How long, and how much."""

    minutes: float = 30.0
    release_every_s: float = 60.0
    users: int = 40
    event_rate: float = 20.0
    rate: float = 100.0
    most: int = 200
    """Events of a user that are kept, so that histories reach their bound early."""
    seed: int = 0

    @property
    def events(self) -> int:
        """Of each user."""
        return max(1, round(60 * self.minutes * self.event_rate / self.users))


def soak(repository: Path, model: str, plan: SoakPlan, report: Report = lambda line: None) -> dict[str, Any]:
    """One server that follows the releases, with LMDB: a result with one experiment. Raises ValueError where the
    repository has fewer than two releases."""
    with TemporaryDirectory(prefix="recserve-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        releases = Releases(repository, folder / "live")
        report(f"recomputing the answers after each of {plan.users * plan.events:,} events")
        play = Play(repository, model, folder, Size(plan.users, plan.events, plan.most), plan.seed)
        stack.callback(play.recomputed.close)
        site = stack.enter_context(followed_site(play, releases, folder))
        samples = list[dict[str, float]]()
        stop = threading.Event()
        happening = threading.Thread(
            target=lambda: played(site.journals, site.happen, rate=plan.event_rate, stop=stop), daemon=True
        )
        with asking(model, site.asked, rate=plan.rate) as askers:
            happening.start()
            _roll_out(site, releases, plan, lambda one: samples.append(one) or report(_told(one)))
            happening.join()
            site.delivered()
        found = {
            "name": "soak",
            "store_away": False,
            "minutes": plan.minutes,
            "releases": releases.published,
            "events": plan.users * plan.events,
            **site.faults()[0],
            **askers.report(play),
            "set_aside": site.set_aside,
            **_slopes(samples),
            "samples": samples,
        }
    return {**described("live-soak", repository, model), "plan": vars(plan), "experiments": [found]}


def _roll_out(site: Site, releases: Releases, plan: SoakPlan, sampled: Callable[[dict[str, float]], None]) -> None:
    """A release every so often, after which old ones are removed as an operator does."""
    (served,), began = site.groups[0], time.monotonic()
    end = began + 60 * plan.minutes
    while time.monotonic() < end - plan.release_every_s / 2:
        time.sleep(min(plan.release_every_s, max(0.0, end - time.monotonic())))
        number = releases.publish()
        served.says(f"{site.play.model} {number}")
        words = ["releases", "prune", "--repository", releases.live, "--keep", _KEPT, "--url", served.address.url]
        words += ["--state", site.folder / "state"]
        subprocess.run([sys.executable, "-m", "recserve", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
        sampled({"second": round(time.monotonic() - began, 1), **_held(site, served)})


def _held(site: Site, served: Served) -> dict[str, float]:
    """Resident memory and descriptors of all processes, bytes on the disk of each store."""
    numbers = [served.process.pid, *served.processes, *(consumer.process.pid for consumer in site.consumers)]
    memory, descriptors = [], []
    for number in numbers:
        # A process of the release before may end right now.
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            process = psutil.Process(number)
            memory.append(process.memory_info().rss)
            descriptors.append(process.num_fds())
    folders = {"histories": "histories", "state": "state", "repository": "live"}
    return {
        "rss_mib": round(sum(memory) / 2**20, 1),
        "descriptors": sum(descriptors),
        "processes": len(memory),
        **{f"{name}_mib": round(_bytes(site.folder / path) / 2**20, 2) for name, path in folders.items()},
        "log_mib": round((site.folder / "log").stat().st_size / 2**20, 2),
    }


def _bytes(folder: Path) -> int:
    """That its files take on the disk."""
    return sum(512 * path.lstat().st_blocks for path in folder.rglob("*") if path.is_file())


def _slopes(samples: list[dict[str, float]]) -> dict[str, float]:
    """Growth an hour of what is held, over the last two thirds: the first still fills caches and stores."""
    settled = samples[len(samples) // 3 :]
    seconds = [one["second"] for one in settled]
    held = [name for name in settled[0] if name != "second"] if len(settled) > 1 else []
    return {
        f"{name}_per_hour": round(3600 * float(np.polyfit(seconds, [one[name] for one in settled], 1)[0]), 1)
        for name in held
    }


def _told(sample: dict[str, float]) -> str:
    return f"soak: {sample['second']:.0f} s, {sample['rss_mib']:.0f} MiB, {sample['descriptors']:.0f} descriptors"
