"""How a load generator talks to a server: ours, or another that serves the same model."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from recserve_client import Client, Tls


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


def ours(url: str, tls: Tls | None = None) -> Client:
    """Our client, which shows every failure here."""
    return Client(url, retries=0, tls=tls)


def transport(name: str, tls: str = "") -> Connect:
    """By name: ours, or a peer's; `tls` is a folder of certificates for ours, plain text where "". Raises ValueError
    for an unknown one."""
    if name == OURS:
        return partial(ours, tls=Tls.folder(tls) if tls else None)
    from loadtest.peers.transports import TRANSPORTS

    if name not in TRANSPORTS:
        raise ValueError(f"transport '{name}' is unknown; use one of {[OURS, *sorted(TRANSPORTS)]}")
    return TRANSPORTS[name]
