"""What a running edge says of itself, over Envoy's own port of administration."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
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
    """Asks Envoy; every method raises OSError where it does not run."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @classmethod
    def of(cls, bootstrap: Path) -> Self:
        """Of the edge that runs on this envoy.yaml. Raises ValueError where there is none."""
        try:
            socket = yaml.safe_load(bootstrap.read_text())["admin"]["address"]["socket_address"]
            return cls(Address(socket["address"], socket["port_value"]))
        except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
            raise ValueError(f"{bootstrap} is no edge's ({error!r}); recserve edge --out writes one") from error

    def ready(self) -> bool:
        """Whether it takes requests."""
        try:
            return self._ask("/ready").startswith("LIVE")
        except urllib.error.HTTPError:
            return False

    def seen(self) -> list[Seen]:
        """All servers of all pools, as Envoy has them now."""
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
        self._ask("/drain_listeners?graceful", b"")

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
