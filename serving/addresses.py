"""Addresses at which a server listens: who reaches them, and where it is asked itself."""

import ipaddress

EVERYWHERE = "0.0.0.0"  # noqa: S104 - never a default


def check(field: str, host: str) -> None:
    """Raises ValueError, naming the field, for what tritonserver of the wheel cannot listen at."""
    if not host or ":" in host or "/" in host:
        raise ValueError(f"{field} is '{host}'; give an IPv4 address or the name of one, without a port")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reachable(host: str) -> str:
    """Where this machine asks a server that listens there."""
    return "127.0.0.1" if host == EVERYWHERE else host
