"""What serves live users in an experiment: servers on one store of histories or on two, a stream, and its consumers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.histories import load
from export.user_events import add_user_events
from loadtest.live.scripts import Play
from loadtest.live.traffic import Journal
from loadtest.live.valkey_server import ValkeyServer, valkey_server
from loadtest.program import PATIENCE_S
from loadtest.releases import Releases
from loadtest.served import Served, until
from serving.events.pushing import Row
from serving.histories.histories import Histories
from serving.histories.opening import open_histories

STREAM = "events"


class Consumer:
    """`recserve events follow` as a process of its own."""

    def __init__(self, stream: str, dataset: str, urls: Sequence[str], *, group: str, said: Path) -> None:
        words = ["events", "follow", stream, "--dataset", dataset, "--group", group, "--url", *urls]
        self._command = [sys.executable, "-m", "recserve", *words]
        self._said = said
        self.start()

    def start(self) -> None:
        """Starts it, also after it was killed."""
        with self._said.open("ab") as said:
            self.process = subprocess.Popen(self._command, stdout=said, stderr=said)

    def kill(self) -> None:
        """By SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As an operator does."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30.0)
        self.kill()


@dataclass
class Site:
    """Servers in groups, each with one store of histories; every group has a consumer of the stream."""

    play: Play
    folder: Path
    stream: ValkeyServer
    """Where events are kept that have happened: what is lost elsewhere is read here again."""
    stores: list[str]
    """URLs of the groups' histories."""
    store: ValkeyServer | None
    """The server of the only group's histories; None where they are in LMDB."""
    groups: list[list[Served]] = field(default_factory=list)
    journals: list[Journal] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)

    @property
    def asked(self) -> list[tuple[Journal, list[str]]]:
        """What `asking` takes."""
        urls = [[served.address.url for served in group] for group in self.groups]
        return [*zip(self.journals, urls, strict=True)]

    @property
    def set_aside(self) -> int:
        """Entries of the stream that consumers refused; all are right."""
        return self.stream.client().xlen(f"{STREAM}:refused")

    def consume(self) -> None:
        """Starts the consumers, a group of the stream each, and returns when all read it."""
        stream = f"{self.stream.url}/{STREAM}"
        for number, (_, urls) in enumerate(self.asked):
            said = self.folder / f"consumer-{number}.txt"
            self.consumers.append(Consumer(stream, self.play.dataset, urls, group=f"recserve-{number}", said=said))
        client = self.stream.client()
        until(lambda: client.exists(STREAM) and len(client.xinfo_groups(STREAM)) == len(self.consumers))

    def happen(self, place: int, event: int) -> None:
        """An event of a script, into the stream."""
        self.add(self.play.scripts[place].rows[event])

    def add(self, row: Row) -> None:
        """Into the stream."""
        fields: dict[Any, Any] = {name: str(value) for name, value in row._asdict().items()}
        self.stream.client().xadd(STREAM, fields)

    def load(self) -> None:
        """The events of the data set, into every store."""
        for url in self.stores:
            histories = Histories(open_histories(url))
            for _ in load(histories, self.play.interactions, self.play.most):
                pass
            histories.close()

    def settle(self, patience_s: float = 60.0) -> float:
        """Seconds until every store has what the recomputation has, or until patience ends."""
        with suppress(TimeoutError):
            return until(lambda: not any(any(one.values()) for one in self.faults()), patience_s)
        return patience_s

    def faults(self) -> list[dict[str, int]]:
        """Of each store, see `Play.faults`."""
        found = []
        for url in self.stores:
            histories = Histories(open_histories(url))
            found.append(self.play.faults(histories))
            histories.close()
        return found

    def delivered(self, patience_s: float = PATIENCE_S) -> float:
        """Seconds until nothing of the stream is left to deliver or to confirm, for any consumer."""

        def done() -> bool:
            groups = self.stream.client().xinfo_groups(STREAM)
            return bool(groups) and all(not one["lag"] and not one["pending"] for one in groups)

        return until(done, patience_s)


@contextmanager
def valkey_site(play: Play, repository: Path, folder: Path, *, servers: int = 2, **settings: str) -> Iterator[Site]:
    """Servers that share histories and states in one Valkey, with these settings; the stream is in another."""
    with ExitStack() as stack:
        stream = stack.enter_context(valkey_server(folder / "stream"))
        store = stack.enter_context(valkey_server(folder / "store", **settings))
        site = Site(play, folder, stream, [store.url], store)
        site.load()
        options = ("--histories", store.url, "--state", f"valkey://127.0.0.1:{store.port}/1")
        _serve(stack, site, _served_copy(repository, folder), [[options] * servers])
        yield site


@contextmanager
def lmdb_site(play: Play, repository: Path, folder: Path, *, groups: int = 2) -> Iterator[Site]:
    """Servers with an LMDB of their own each, to which all events are pushed."""
    with ExitStack() as stack:
        stream = stack.enter_context(valkey_server(folder / "stream"))
        site = Site(play, folder, stream, [f"lmdb://{folder}/histories-{one}" for one in range(groups)], None)
        site.load()
        options = [
            [("--histories", url, "--state", folder / f"state-{number}")] for number, url in enumerate(site.stores)
        ]
        _serve(stack, site, _served_copy(repository, folder), options)
        yield site


@contextmanager
def followed_site(play: Play, releases: Releases, folder: Path) -> Iterator[Site]:
    """One server on LMDB, which takes over what is released; its consumer runs."""
    with ExitStack() as stack:
        stream = stack.enter_context(valkey_server(folder / "stream"))
        site = Site(play, folder, stream, [f"lmdb://{folder}/histories"], None)
        site.load()
        add_user_events(releases.live)
        options = ("--histories", site.stores[0], "--state", folder / "state", "--follow", "--log", folder / "log")
        _serve(stack, site, releases.live, [[options]])
        site.consume()
        yield site


def _serve(stack: ExitStack, site: Site, live: Path, options: Sequence[Sequence[tuple[object, ...]]]) -> None:
    for group in options:
        started = []
        for one in group:
            started.append(stack.enter_context(Served(live, *one, "--drain-s", 0)))
            time.sleep(0.01)  # each names its output by the clock
        site.groups.append(started)
        site.journals.append(Journal(site.play.scripts))
    stack.callback(lambda: [consumer.stop() for consumer in site.consumers])
    for group in site.groups:
        for served in group:
            _ = served.address


def _served_copy(repository: Path, folder: Path) -> Path:
    """The models of a repository, and `user_events`, in a folder of its own."""
    live = folder / "models"
    live.mkdir()
    for one in repository.glob("[!.]*"):
        if one.name != "user_events":
            os.symlink(one.resolve(), live / one.name)
    add_user_events(live)
    return live
