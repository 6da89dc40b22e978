"""Certificates of both sides of an edge, checked before anything starts."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from serving import tls
from serving.edge.address import Address

CA = "ca.crt"
_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
_PARAMETERS = {"tls_minimum_protocol_version": "TLSv1_2"}


@dataclass(frozen=True)
class Down:
    """Towards clients: server.crt and server.key of a folder; where it has ca.crt, clients need a certificate of it."""

    folder: Path

    def __post_init__(self) -> None:
        _check(self.folder, "server", optional=(CA,))

    def context(self) -> dict[str, Any]:
        """Of the listener."""
        common = _common(self.folder, "server")
        with_ca = (self.folder / CA).is_file()
        if with_ca:
            common["validation_context"] = {"trusted_ca": {"filename": str(self.folder.resolve() / CA)}}
        return _socket("DownstreamTlsContext", common, require_client_certificate=with_ca)


@dataclass(frozen=True)
class Up:
    """Towards servers: ca.crt of a folder, which vouches for them by address, and client.crt and client.key, where
    they ask for a certificate."""

    folder: Path

    def __post_init__(self) -> None:
        _check(self.folder, "client", optional=("client.crt", "client.key"))

    def context(self, servers: Iterable[Address]) -> dict[str, Any]:
        """Of a cluster of these servers."""
        common = _common(self.folder, "client") if (self.folder / "client.crt").is_file() else _alone()
        common["validation_context"] = {
            "trusted_ca": {"filename": str(self.folder.resolve() / CA)},
            # Not any certificate of the CA: tritonserver itself looks no further.
            "match_typed_subject_alt_names": [_alternative(one.host) for one in servers],
        }
        return _socket("UpstreamTlsContext", common)


def _alternative(host: str) -> dict[str, Any]:
    try:
        ip_address(host)
    except ValueError:
        return {"san_type": "DNS", "matcher": {"exact": host}}
    return {"san_type": "IP_ADDRESS", "matcher": {"exact": host}}


def _alone() -> dict[str, Any]:
    return {"alpn_protocols": ["h2"], "tls_params": dict(_PARAMETERS)}


def _common(folder: Path, name: str) -> dict[str, Any]:
    pair = {"certificate_chain": f"{name}.crt", "private_key": f"{name}.key"}
    files = {part: {"filename": str(folder.resolve() / file)} for part, file in pair.items()}
    return {**_alone(), "tls_certificates": [files]}


def _socket(kind: str, common: dict[str, Any], **more: Any) -> dict[str, Any]:
    typed = {"@type": _TYPE + kind, **more, "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def _check(folder: Path, name: str, optional: Iterable[str]) -> None:
    """Raises ValueError for a file that is missing, and for one that is of no use."""
    pair = (f"{name}.crt", f"{name}.key")
    if not folder.is_dir():
        wanted = " and ".join(sorted({CA, *pair} - {*optional}))
        raise ValueError(f"the TLS folder {folder} is no directory; name one with {wanted}")
    there = {file for file in (CA, *pair) if (folder / file).is_file()}
    missing = {CA, *pair} - there - {*optional}
    if there & {*pair}:
        missing |= {*pair} - there
    if missing:
        raise ValueError(f"{folder} has no {' and no '.join(sorted(missing))}; put it there, as PEM")
    if CA in there:
        tls.check_trusted(folder / CA)
    if pair[0] in there:
        tls.check_shown(folder / pair[0], folder / pair[1], by_client=name == "client")
