"""How channels are made, whatever way their calls are waited for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class Tls(NamedTuple):
    """What an encrypted connection needs: PEM as `bytes`, or the path of a file that holds it."""

    ca: bytes | str | os.PathLike[str] | None = None
    """Certificates that vouch for the server; those that gRPC brings along where None."""
    certificate: bytes | str | os.PathLike[str] | None = None
    """Of this client, where the server asks for one."""
    key: bytes | str | os.PathLike[str] | None = None
    """That fits the certificate."""

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel. Raises ValueError for a certificate without a key, and for a file that cannot be read."""
        if (self.certificate is None) != (self.key is None):
            raise ValueError("Tls has a certificate or a key and not both; give both, or neither")
        ca, certificate, key = (_pem(name, value) for name, value in self._asdict().items())
        return grpc.ssl_channel_credentials(ca, key, certificate)


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
