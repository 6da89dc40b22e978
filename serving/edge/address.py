"""Where a server answers, as a person writes it: host:port."""

import ipaddress
import re
import socket
from typing import NamedTuple, Self

_FORM = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]/=,\s]+)):(?P<port>\d{1,5})")


class Address(NamedTuple):
    """A host, by name or number, and a port."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str, what: str) -> Self:
        """From host:port, or [v6]:port. Raises ValueError, which begins with `what`, for anything else."""
        found = _FORM.fullmatch(text)
        if found is None or int(found["port"]) > 65535:
            raise ValueError(f"{what} '{text}' is no address; write host:port, such as 127.0.0.1:8001")
        return cls(found["v6"] or found["host"], int(found["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def number(self) -> str:
        """The IP address, of version 4 where there is one. Raises ValueError for a name that nobody knows."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])
        except (OSError, UnicodeError) as error:
            raise ValueError(f"{self}: the name {self.host} is not known here ({error}); write an address") from error

    @property
    def place(self) -> tuple[str, int]:
        """Host and port, the same for all names of one; a host that is not known here stands for itself."""
        try:
            return self.number, self.port
        except ValueError:
            return self.host, self.port

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.number).is_loopback

    def is_reached_by(self, other: "Address") -> bool:
        """Whether who asks at the other address comes to what listens at this one."""
        if self.port != other.port:
            return False
        is_everywhere = ipaddress.ip_address(self.number).is_unspecified
        return self.place == other.place or (is_everywhere and other.is_loopback)

    def socket(self) -> dict[str, object]:
        """As Envoy writes it."""
        return {"socket_address": {"address": self.number, "port_value": self.port}}
