"""`recserve edge weight|drain|show`: how traffic is spread, and how a server is taken out before it is stopped."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recserve.commands.command import Command, show, table
from recserve.options import Positional
from serving.edge import endpoints
from serving.edge.admin import Admin, Seen, agrees, under_way
from serving.edge.bootstrap import FILE
from serving.edge.description import Server
from serving.edge.endpoints import Endpoint, told
from serving.startup import StartupError

_POLL_S = 0.05
_COLUMNS = ["release", "server", "weight", "share", "takes requests", "healthy", "under way"]


@dataclass(frozen=True, kw_only=True)
class Shifting(Command):
    """Which edge, and how long it may take."""

    out: Path
    """Folder of the edge, as in recserve edge --out."""
    deadline_s: float = 30.0
    """Seconds that Envoy has to take a change, and requests under way to end."""

    def __post_init__(self) -> None:
        if not 0 <= self.deadline_s <= 3600:
            raise ValueError(f"--deadline-s is {self.deadline_s:g}; it must be between 0 and 3600 seconds")

    def taken(self, wanted: list[Endpoint]) -> None:
        """Returns when a running Envoy has taken what the files say. Raises StartupError where it does not."""
        if not self.until(lambda seen: agrees(seen, wanted)):
            raise StartupError(f"envoy at {self.admin.address} has not taken {self.out}; what it prints says more")

    def until(self, condition: Callable[[list[Seen]], bool]) -> bool:
        """Whether it came true of what Envoy sees, within the deadline; true where no Envoy runs."""
        end = time.monotonic() + self.deadline_s
        while (seen := self.seen()) is not None and not condition(seen):
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True

    @property
    def admin(self) -> Admin:
        """Where Envoy says what it sees."""
        return Admin.of(self.out / FILE)

    def seen(self) -> list[Seen] | None:
        """What Envoy sees; None where none runs."""
        with suppress(OSError):
            return self.admin.seen()
        return None

    def tell(self, servers: list[Endpoint]) -> None:
        """The table of all servers, and JSON."""
        seen = self.seen()
        found = {one.server: one for one in seen or ()}
        rows = [_row(one, servers, found.get(one)) for one in servers]
        cells = [["" if row[name] is None else _yes(row[name]) for name in row] for row in rows]
        show(self.console, table(f"edge in {self.out}", _COLUMNS, cells))
        if seen is None:
            said = f"no envoy runs there; one that is started with {self.out / FILE} takes this"
            self.console.print(said, highlight=False, markup=False, soft_wrap=True)
        self.emit({"out": self.out, "running": seen is not None, "servers": rows})


@dataclass(frozen=True, kw_only=True)
class Weight(Shifting):
    """Set the weights of servers, while the edge runs; a drained one takes requests again."""

    weights: Positional[tuple[str, ...]]
    """host:port=WEIGHT of each, 1 to 1000; a server's share is its weight among those that take requests."""

    def run(self) -> int:
        if not self.weights:
            raise ValueError("name a server and its weight, such as 127.0.0.1:8001=10")
        if plain := [word for word in self.weights if "=" not in word]:
            raise ValueError(f"{plain[0]} has no weight; write {plain[0]}=10")
        chosen = [Server.of(word, "server") for word in self.weights]
        weights = {str(one.address): one.weight for one in chosen}
        servers = endpoints.change(self.out, weights, lambda one: one._replace(weight=weights[one.name], drained=False))
        self.taken(told(servers))
        self.tell(servers)
        return 0


@dataclass(frozen=True, kw_only=True)
class Drain(Shifting):
    """Send servers nothing more, and return when what they were asked before is answered: then they may be stopped.

    Exits with 1 where requests are still under way after --deadline-s; recserve edge weight brings a server back.
    """

    servers: Positional[tuple[str, ...]]
    """Addresses, host:port each."""

    def run(self) -> int:
        if not self.servers:
            raise ValueError("name a server, such as 127.0.0.1:8001")
        servers = self._change(leaving=True)
        self.taken(told(servers, self.servers))
        done = self.until(lambda seen: not any(under_way(seen, name) for name in self.servers))
        if done:
            servers = self._change(leaving=False)
            self.taken(told(servers))
        self.tell(servers)
        return 0 if done else 1

    def _change(self, *, leaving: bool) -> list[Endpoint]:
        return endpoints.change(self.out, self.servers, lambda one: one._replace(drained=True), leaving=leaving)


@dataclass(frozen=True, kw_only=True)
class Show(Command):
    """Show the servers of an edge: weights, which take requests, and what a running Envoy sees of them."""

    out: Path
    """Folder of the edge, as in recserve edge --out."""

    def run(self) -> int:
        Shifting(out=self.out, json=self.json).tell(endpoints.read(self.out))
        return 0


def _row(one: Endpoint, servers: list[Endpoint], seen: Seen | None) -> dict[str, Any]:
    whole = sum(other.weight for other in servers if other.release == one.release and not other.drained)
    return {
        "release": one.release,
        "server": one.name,
        "weight": one.weight,
        "share": 0.0 if one.drained else round(one.weight / whole, 4),
        "takes_requests": not one.drained,
        "healthy": None if seen is None else seen.healthy,
        "under_way": None if seen is None else seen.under_way,
    }


def _yes(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value
