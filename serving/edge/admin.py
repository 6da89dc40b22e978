"""What a running edge says of itself, over Envoy's own port of administration."""

import json
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from serving.edge.address import Address
from serving.edge.endpoints import OUT, Endpoint, release_of

_TIMEOUT_S = 2.0


class Seen(NamedTuple):
    """A server of one pool as Envoy has it."""

    server: Endpoint
    healthy: bool
    """It answers health checks, and its connections hold."""
    under_way: int
    """Requests."""


class Admin:
    """Asks Envoy; every method raises OSError where it does not run, also where another one has its port."""

    def __init__(self, address: Address, node: str) -> None:
        """Where it listens, and its name for itself."""
        self.address, self._node = address, node

    @classmethod
    def of(cls, bootstrap: Path) -> Self:
        """Of the edge that runs on this envoy.yaml. Raises ValueError where there is none."""
        try:
            written = yaml.safe_load(bootstrap.read_text())
            socket = written["admin"]["address"]["socket_address"]
            return cls(Address(socket["address"], socket["port_value"]), written["node"]["id"])
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ValueError(f"{bootstrap} is no edge's ({error!r}); recserve edge --out writes one") from error

    def ready(self) -> bool:
        """Whether it takes requests."""
        return self._own()["state"] == "LIVE"

    def seen(self) -> list[Seen]:
        """All servers of all pools, as Envoy has them now."""
        self._own()
        found = json.loads(self._ask("/clusters?format=json")).get("cluster_statuses", [])
        return [_seen(pool["name"], host) for pool in found for host in pool.get("host_statuses", [])]

    def counted(self, name: str) -> int:
        """One counter or gauge."""
        for line in self._ask(f"/stats?filter=^{name}$").splitlines():
            return int(line.rpartition(": ")[2])
        return 0

    def prometheus(self) -> str:
        """All statistics, histograms among them, as Prometheus reads them."""
        return self._ask("/stats/prometheus")

    def drain(self) -> None:
        """Tells clients to go elsewhere, and takes no connections after a while."""
        self._own()
        self._ask("/drain_listeners?graceful", b"")

    def _own(self) -> dict[str, Any]:
        """What Envoy says of itself as a server."""
        try:
            said = json.loads(self._ask("/server_info"))
            found = said["node"]["id"]
        except (HTTPException, KeyError, TypeError, ValueError) as error:
            raise OSError(f"what answers at {self.address} is no edge ({error!r})") from error
        if found != self._node:
            raise OSError(f"the edge at {self.address} is that of {found} and not of {self._node}")
        return said

    def _ask(self, path: str, data: bytes | None = None) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", data, _TIMEOUT_S) as reply:
            return reply.read().decode()


def agrees(seen: Sequence[Seen], wanted: Sequence[Endpoint]) -> bool:
    """Whether Envoy has taken what the files say."""
    return sorted(one.server for one in seen) == sorted(wanted)


def under_way(seen: Sequence[Seen], name: str) -> int:
    """Requests at one server, over all pools."""
    return sum(one.under_way for one in seen if one.server.name == name)


def _seen(pool: str, host: dict[str, Any]) -> Seen:
    stats = {one["name"]: int(one.get("value", 0)) for one in host["stats"]}
    status = dict(host["health_status"])
    drained = status.pop("eds_health_status") == OUT
    address = Address(host["hostname"], host["address"]["socket_address"]["port_value"])
    server = Endpoint(release_of(pool), address, host.get("weight", 1), drained)
    return Seen(server, not any(status.values()), stats["rq_active"])
