"""What an edge is: the servers behind it, where it answers, what it lets through, and how hard it tries."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from serving.edge.address import Address
from serving.edge.certificates import Down, Up
from serving.edge.tokens import Tokens

MOST_WEIGHT = 1000
MAX_REQUEST_BYTES = 64 * 1024 * 1024
_RELEASE = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class Server(NamedTuple):
    """A server and its share of the traffic, in proportion to the weights of the others."""

    address: Address
    weight: int = 1

    @classmethod
    def of(cls, text: str, what: str) -> Self:
        """From host:port or host:port=weight. Raises ValueError, which begins with `what`."""
        address, sign, weight = text.partition("=")
        return cls(Address.of(address, what), weight_of(weight, text, what) if sign else 1)


def weight_of(text: str, whole: str, what: str) -> int:
    """A weight. Raises ValueError for anything but 1 to 1,000."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WEIGHT:
        raise ValueError(
            f"{what} '{whole}': a weight is a whole number from 1 to {MOST_WEIGHT}; "
            "to send a server nothing, use recserve edge drain"
        )
    return int(text)


class Rate(NamedTuple):
    """Requests that are let through; as many may come at once."""

    requests: int
    seconds: int = 1

    @classmethod
    def of(cls, text: str, what: str) -> Self:
        """From N, requests a second, or N/SECONDS. Raises ValueError, which begins with `what`."""
        found = re.fullmatch(r"([1-9]\d{0,8})(?:/([1-9]\d{0,5}))?", text)
        if found is None:
            raise ValueError(f"{what} '{text}' is no rate; write 100 for 100 requests a second, or 600/60")
        return cls(int(found[1]), int(found[2] or 1))


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How hard it tries before a client hears of a server that was lost. Inference changes nothing, so it may be
    repeated."""

    attempts: int = 40
    """After the first one, ever further apart, a quarter of a minute in all: longer than a server takes to come
    back."""
    budget_percent: float = 100.0
    """Most retries under way at once, in percent of the requests under way."""
    budget_at_least: int = 1024
    """The same as a number, which counts where few requests are under way because all servers are lost."""
    try_timeout_s: float = 5.0
    """Silence after which a server is given up and the next is asked; more than the slowest answer takes."""

    def __post_init__(self) -> None:
        if not 0 <= self.attempts <= 1000:
            raise ValueError(f"attempts is {self.attempts}; it must be 0 to 1,000")
        if not 0 < self.budget_percent <= 100 or self.budget_at_least < 1:
            raise ValueError("budget_percent must be above 0 and at most 100, budget_at_least at least 1")
        if not 0 < self.try_timeout_s <= 3600:
            raise ValueError(f"try_timeout_s is {self.try_timeout_s:g}; it must be above 0 and at most an hour")


@dataclass(frozen=True, kw_only=True)
class Edge:
    """All that Envoy's files are made of."""

    servers: tuple[Server, ...]
    """Who answers, but for requests that name a release."""
    listen: Address
    admin: Address
    """Statistics and the state of the servers, for this machine alone."""
    access_log: Path
    """A line of JSON for each request."""
    releases: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    """Servers of a release, which requests with the header x-release: NAME go to, and no others."""
    max_request_bytes: int = MAX_REQUEST_BYTES
    retries: Retries = field(default_factory=Retries)
    rate: Rate | None = None
    """Of all requests together."""
    user_rate: Rate | None = None
    """Of each value of the header x-user-id, and of each address that asks a model without one."""
    tokens: Tokens | None = None
    """Who must send a token; nobody where None."""
    tls: Down | None = None
    """Certificates of the side of the clients."""
    server_tls: Up | None = None
    """Certificates of the side of the servers."""
    insecure: bool = False
    """Whether messages may leave this machine unencrypted."""

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers: there are none; name at least one, host:port")
        for name, servers in self.pools:
            if not _RELEASE.fullmatch(name or "a"):
                raise ValueError(f"release '{name}': a name has small letters, digits and -_. and begins with no sign")
            addresses = [one.address for one in servers]
            if len({one.place for one in addresses}) < len(addresses):
                said = ", ".join(map(str, addresses))
                raise ValueError(f"servers: {said} names one twice; give it a weight instead")
            if not servers:
                raise ValueError(f"release '{name}' has no servers; write {name}=host:port")
        if self.max_request_bytes < 1024:
            raise ValueError(f"max_request_bytes is {self.max_request_bytes}; it must be at least 1,024")
        self._check_itself()
        self._check_exposure()

    @property
    def pools(self) -> Iterator[tuple[str, tuple[Server, ...]]]:
        """Servers of each release, those of requests that name none first, under no name."""
        yield "", self.servers
        yield from self.releases.items()

    def _check_itself(self) -> None:
        """That it listens at two addresses, and asks itself at none."""
        if self.listen.is_reached_by(self.admin):
            raise ValueError(f"admin is {self.admin}, where clients ask: listen is {self.listen}; name another port")
        for name in (one.address for _, servers in self.pools for one in servers):
            if self.listen.is_reached_by(name):
                raise ValueError(f"server {name} is the edge itself: listen is {self.listen}; name another port of one")

    def _check_exposure(self) -> None:
        if not self.admin.is_loopback:
            raise ValueError(f"admin is {self.admin}; who reaches it can stop the edge, so it must be on loopback")
        if self.insecure:
            return
        if self.tls is None and not self.listen.is_loopback:
            raise ValueError(
                f"listen is {self.listen}, which other machines reach: add --tls DIR, or say --insecure to take plain "
                "text"
            )
        far = [one.address for _, servers in self.pools for one in servers if not one.address.is_loopback]
        if self.server_tls is None and far:
            raise ValueError(
                f"server {far[0]} is on another machine: add --server-tls DIR, or say --insecure to send plain text"
            )
