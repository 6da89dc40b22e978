"""What becomes of events, and of answers about their users, while consumers, servers and stores fall.

Events arrive in a stream, in no order, consumers push them to servers, and all the while users are asked about. Each
answer is compared with the recomputation from the events that were known when it was asked, each store at the end with
one that a process of its own filled without any fault.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest.bench import source_of
from loadtest.live.scripts import Play, Size
from loadtest.live.site import STREAM, Site, lmdb_site, valkey_site
from loadtest.live.traffic import asking, played
from loadtest.served import until
from loadtest.stage import CLEAN
from serving.environment import circumstances

Report = Callable[[str], None]
_STOPPED_S, _UNAWARE_S = 3.0, 1.0
_FULL_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much, and how fast."""

    users: int = 40
    events: int = 10
    """Of each user."""
    event_rate: float = 50.0
    """Events a second, in all."""
    rate: float = 100.0
    """Questions a second, in all."""
    seed: int = 0

    @property
    def seconds(self) -> float:
        """That the events take."""
        return self.users * self.events / self.event_rate


Fault = Callable[[Site], None]


def run(
    repository: Path, model: str, plan: Plan, report: Report = lambda line: None, names: Sequence[str] = ()
) -> dict[str, Any]:
    """All experiments, or those that are named."""
    rows = []
    for name in names or [*EXPERIMENTS]:
        report(name.replace("_", " "))
        with TemporaryDirectory(prefix="recserve-live-") as folder:
            play = Play(repository, model, Path(folder), Size(plan.users, plan.events), plan.seed)
            rows.append({"name": name, **EXPERIMENTS[name](play, repository, Path(folder), plan)})
            play.recomputed.close()
    return {**described("live", repository, model), "plan": vars(plan), "experiments": rows}


def described(scenario: str, repository: Path, model: str) -> dict[str, Any]:
    """What a result says of itself: what was run, on what, when."""
    return {
        "kind": "live",
        "scenario": scenario,
        "model": model,
        "run": source_of(repository / model),
        **circumstances(),
    }


def holds(result: dict[str, Any]) -> bool:
    """Nothing lost, twice or set aside, no answer wrong, no unclean error; none that knew less than was known, unless
    its store was away."""
    return not any(
        one["lost"]
        or one["double"]
        or one["unlike"]
        or one["wrong"]
        or one["set_aside"]
        or {*one["errors"]} - CLEAN
        or (one["older"] + one["later"] and not one["store_away"])
        for one in result["experiments"]
    )


def _shared(
    play: Play, repository: Path, folder: Path, plan: Plan, *, fault: Fault, store_away: bool = False, **settings: Any
) -> dict[str, Any]:
    """Two servers that share histories and states in one Valkey."""
    with valkey_site(play, repository, folder, **settings) as site:
        return {**_played(site, plan, fault), "store_away": store_away}


def _two_stores(play: Play, repository: Path, folder: Path, plan: Plan) -> dict[str, Any]:
    """Two servers with an LMDB each, and a consumer group for each."""
    with lmdb_site(play, repository, folder) as site:
        return {**_played(site, plan, lambda _: None), "store_away": False}


def _played(site: Site, plan: Plan, fault: Fault) -> dict[str, Any]:
    """The whole script, with the fault after a third of it; then what is left to do."""
    failed: list[BaseException] = []

    def strike() -> None:
        time.sleep(plan.seconds / 3)
        try:
            # What nobody knows yet cannot be forgotten.
            until(lambda: all(sum(map(bool, one.known)) > plan.users // 3 for one in site.journals))
            fault(site)
        except BaseException as error:
            failed.append(error)

    site.consume()
    striking = threading.Thread(target=strike)
    with asking(site.play.model, site.asked, rate=plan.rate) as askers:
        striking.start()
        sent = played(site.journals, site.happen, rate=plan.event_rate)
        striking.join()
        if failed:
            raise failed[0]
        site.delivered()
        settled = site.settle()
        time.sleep(0.5)
    stores = site.faults()
    apart = [script.told_apart for script in site.play.scripts]
    return {
        "events": sent,
        **{name: sum(one[name] for one in stores) for name in ("lost", "double", "unlike")},
        **askers.report(site.play),
        "set_aside": site.set_aside,
        "settled_s": round(settled, 2),
        "told_apart": round(sum(apart) / len(apart), 3),
    }


def _kill_consumer(site: Site) -> None:
    for consumer in site.consumers:
        for _ in range(2):
            consumer.kill()
            consumer.start()
            time.sleep(1.0)


def _kill_server(site: Site) -> None:
    for served in site.groups[0]:
        os.kill(served.server, signal.SIGKILL)
        served.says("restart 1: ready again")


def _kill_stub(site: Site) -> None:
    served = site.groups[0][0]
    os.kill(served.stub("user_events"), signal.SIGKILL)
    served.says("restart 1: ready again")


def _kill_store(site: Site) -> None:
    assert site.store is not None
    site.store.kill()
    time.sleep(_STOPPED_S)
    site.store.start()


def _hang_store(site: Site) -> None:
    assert site.store is not None
    site.store.send(signal.SIGSTOP)
    time.sleep(_STOPPED_S)
    site.store.send(signal.SIGCONT)


def _fill_store(site: Site) -> None:
    """No more writes for a while."""
    assert site.store is not None
    client = site.store.client()
    client.config_set("maxmemory", _FULL_BYTES)
    time.sleep(_STOPPED_S)
    client.config_set("maxmemory", 0)


def _wipe_store(site: Site) -> None:
    """What was in it is put back: the events of the data set, then the stream from its beginning."""
    assert site.store is not None
    site.store.client().flushall()
    _again(site)


def _restore_dump(site: Site) -> None:
    """The store goes on from a copy of its file that was made before the events; then the stream is read again."""
    assert site.store is not None
    kept = site.folder / "kept"
    site.store.kill()
    shutil.rmtree(site.store.folder)
    shutil.copytree(kept, site.store.folder)
    site.store.start()
    _replay_later(site)


def _again(site: Site) -> None:
    site.load()
    _replay_later(site)


def _replay_later(site: Site) -> None:
    """As `_replay`, after a while in which what happens now is known, and what was lost is not."""
    time.sleep(_UNAWARE_S)
    _replay(site)


def _replay(site: Site) -> None:
    """The whole stream is read again, by the same consumers."""
    client = site.stream.client()
    for group in client.xinfo_groups(STREAM):
        client.xgroup_setid(STREAM, group["name"], "0")


def _duplicates(site: Site) -> None:
    """Every event that has happened so far happens again, the newest first."""
    for script, sent in zip(site.play.scripts, site.journals[0].sent, strict=True):
        for row in script.rows[sent - 1 :: -1] if sent else ():
            site.add(row)


def _keep_dump(play: Play, repository: Path, folder: Path, plan: Plan) -> dict[str, Any]:
    with valkey_site(play, repository, folder) as site:
        assert site.store is not None
        site.store.kill()
        shutil.copytree(site.store.folder, folder / "kept")
        site.store.start()
        return {**_played(site, plan, _restore_dump), "store_away": True}


Experiment = Callable[[Play, Path, Path, Plan], dict[str, Any]]

EXPERIMENTS: dict[str, Experiment] = {
    "nothing_happens": partial(_shared, fault=lambda _: None),
    "kill_consumer": partial(_shared, fault=_kill_consumer),
    "kill_servers": partial(_shared, fault=_kill_server),
    "kill_user_events": partial(_shared, fault=_kill_stub),
    "kill_store": partial(_shared, fault=_kill_store, store_away=True, appendfsync="always"),
    "hang_store": partial(_shared, fault=_hang_store, store_away=True),
    "full_store": partial(_shared, fault=_fill_store),
    "wiped_store": partial(_shared, fault=_wipe_store, store_away=True),
    "old_dump": _keep_dump,
    "duplicates": partial(_shared, fault=_duplicates),
    "replay": partial(_shared, fault=_replay),
    "two_stores": _two_stores,
}
