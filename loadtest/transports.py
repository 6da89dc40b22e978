"""How a load generator talks to a server: ours, or another that serves the same model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from recserve_client import Client, Tls
from recserve_client import headers as named
from recserve_client.connections import NO_HEADERS


class Connection(Protocol):
    """One user's connection; blocks while it waits, which under gevent lets the other users go on."""

    def infer(self, model: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """All outputs by name; raises where there is no answer."""
        ...

    def close(self) -> None:
        """Ends the connection."""
        ...


Connect = Callable[[str], Connection]
"""host:port -> a connection."""

OURS = "recserve"


def ours(url: str, tls: Tls | None = None, headers: Mapping[str, str] = NO_HEADERS) -> Client:
    """Our client, which shows every failure here."""
    return Client(url, retries=0, tls=tls, headers=headers)


def transport(name: str, tls: str = "", headers: str = "") -> Connect:
    """By name: ours, or a peer's. For ours, `tls` is a folder of certificates, plain text where "", and `headers` a
    file of them. Raises ValueError for an unknown one."""
    if name == OURS:
        return partial(
            ours, tls=Tls.folder(tls) if tls else None, headers=named.read(headers) if headers else NO_HEADERS
        )
    from loadtest.peers.transports import TRANSPORTS

    if name not in TRANSPORTS:
        raise ValueError(f"transport '{name}' is unknown; use one of {[OURS, *sorted(TRANSPORTS)]}")
    return TRANSPORTS[name]
