"""How channels are made, whatever way their calls are waited for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import grpc

from recserve_client.statuses import MAX_MESSAGE_BYTES

LINGER_S = 10.0
"""How long closing a client, or the end of the program, waits for calls under way."""
Headers = Sequence[tuple[str, str]]

OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Its own connection, so that two clients neither share a socket nor each other's reconnection back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_http_proxy", 0),
]


FILES = ("ca.crt", "client.crt", "client.key")
"""In a client's folder: who vouches for the server, and what the server asks for where it asks."""


class Security(NamedTuple):
    """What the channels of one client are encrypted with."""

    credentials: grpc.ChannelCredentials
    name: str | None = None
    """Whose certificate the server must have; its host's where None."""

    @property
    def options(self) -> list[tuple[str, Any]]:
        """Of an encrypted channel."""
        return [*OPTIONS, *([("grpc.ssl_target_name_override", self.name)] if self.name else [])]


class Tls(NamedTuple):
    """What an encrypted connection needs: PEM as `bytes`, or the path of a file that holds it."""

    ca: bytes | str | os.PathLike[str] | None = None
    """Certificates that vouch for the server; those that gRPC brings along where None."""
    certificate: bytes | str | os.PathLike[str] | None = None
    """Of this client, where the server asks for one."""
    key: bytes | str | os.PathLike[str] | None = None
    """That fits the certificate."""
    name: str | None = None
    """Whose certificate the server must have; the host of its URL where None."""

    @classmethod
    def folder(cls, folder: str | os.PathLike[str]) -> Self:
        """The files ca.crt, client.crt and client.key of a folder, as many as are there. Raises ValueError for one
        without any of them, and for a certificate without its key."""
        paths = [Path(folder) / name for name in FILES]
        if not Path(folder).is_dir():
            raise ValueError(f"the TLS folder {os.fspath(folder)} is no directory; name one with {FILES[0]}")
        ca, certificate, key = (path if path.exists() else None for path in paths)
        if ca is certificate is key is None:
            raise ValueError(f"the TLS folder {os.fspath(folder)} has none of {', '.join(FILES)}; put {FILES[0]} there")
        if (certificate is None) != (key is None):
            missing, there = paths[1:] if certificate is None else paths[:0:-1]
            raise ValueError(f"{missing} is missing, which belongs to {there}")
        return cls(ca, certificate, key)

    def security(self) -> Security:
        """For channels. Raises ValueError for a certificate without a key, and for a file that cannot be read."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("Tls has a certificate or a key and not both; give both, or neither")
        pairs = (("ca", self.ca), ("certificate", self.certificate), ("key", self.key))
        ca, certificate, key = (_pem(name, value) for name, value in pairs)
        return Security(grpc.ssl_channel_credentials(ca, key, certificate), self.name)


def _pem(name: str, value: bytes | str | os.PathLike[str] | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    try:
        return Path(value).read_bytes()
    except OSError as error:
        raise ValueError(f"Tls {name}={os.fspath(value)!r} cannot be read: {error}") from None


def written(message: Any) -> bytes:
    """A message as it goes out."""
    return message.SerializeToString()
