"""A small site that is watched: tritonserver, Envoy before it, and a real Prometheus as the committed files say."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from serving.edge.address import Address
from serving.edge.running import free_port
from serving.processes import available_ports
from serving.server import TritonServer
from tests.production.gate import HOST, edge

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
PATIENCE_S = 30.0
Found = TypeVar("Found")


class Asking(NamedTuple):
    """A Prometheus that runs."""

    url: str

    def values(self, expression: str) -> dict[tuple[str, ...], float]:
        """What an expression gives now, by the values of its labels in the order of their names."""
        return {
            tuple(
                value for name, value in sorted(one["metric"].items()) if name not in ("__name__", "instance", "job")
            ): (float(one["value"][1]))
            for one in self.get("query", query=expression)["result"]
        }

    def families(self) -> set[str]:
        """Names of all series that there ever were."""
        return {*self.get("label/__name__/values")}

    def get(self, path: str, **asked: str) -> Any:
        """Of the API; an expression that it cannot parse raises urllib.error.HTTPError."""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}", timeout=30) as reply:
            return json.load(reply)["data"]


def until(what: Callable[[], Found]) -> Found:
    """Waits until it is something. Raises TimeoutError."""
    end, error = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < end:
        try:
            if found := what():
                return found
        except OSError as raised:
            error = raised
        time.sleep(0.2)
    raise TimeoutError(f"it did not come true within {PATIENCE_S:g} s: {error}")


def settled(asking: Asking, expression: str) -> dict[tuple[str, ...], float]:
    """What an expression gives once nothing has moved for three seconds."""
    before, since = asking.values(expression), time.monotonic()
    while time.monotonic() - since < 3:
        time.sleep(0.2)
        if (now := asking.values(expression)) != before:
            before, since = now, time.monotonic()
    return before


@contextmanager
def edge_before(server: TritonServer, folder: Path) -> Iterator[tuple[str, str]]:
    """The edge as it is, before one server: host:port where it is asked, and of its admin listener."""
    host, _, port = server.url.rpartition(":")
    admin = Address(HOST, free_port(HOST))
    with edge(folder, Address(host, int(port)), None, admin=admin) as (_, listen):
        yield listen, str(admin)


@contextmanager
def prometheus(folder: Path, servers: Sequence[str], edges: Sequence[str]) -> Iterator[Asking]:
    """The committed configuration, with these targets, read and evaluated every second."""
    own = folder / "prometheus"
    shutil.copytree(PROMETHEUS, own)
    config = own / "prometheus.yml"
    config.write_text(config.read_text().replace(": 15s", ": 1s"))
    for name, targets in {"servers": servers, "edges": edges}.items():
        (own / "targets" / f"{name}.yml").write_text(json.dumps([{"targets": [*targets]}]))
    (port, _) = available_ports([("127.0.0.1", 0)] * 2)
    command = [
        *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'series'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    asking = Asking(f"http://127.0.0.1:{port}")
    with running(command, folder / "prometheus.log"):
        until(lambda: all(one["health"] == "up" for one in asking.get("targets")["activeTargets"] or [{"health": ""}]))
        yield asking


@contextmanager
def running(command: Sequence[object], log: Path) -> Iterator[None]:
    """A process beside the test."""
    with log.open("wb") as output, ExitStack() as stack:
        process = subprocess.Popen([*map(str, command)], stdout=output, stderr=output)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield
