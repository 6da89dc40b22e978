"""Certificates of a server, tried before tritonserver reads them: of a wrong one that says only that there is one.

They are tried as they will be used: the server and a client of it shake hands in memory. What is wrong then is what
OpenSSL says, of the dates, the key, the purpose or who signed.
"""

import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from recserve_client import Tls
from recserve_client.connecting import FILES
from serving.addresses import EVERYWHERE
from serving.files import no_folder

CERTIFICATE, KEY = "server.crt", "server.key"
CLIENTS = FILES[0]
"""Where it is there, a client needs a certificate that it vouches for."""
_FORM = f"it holds {CERTIFICATE} and {KEY}, and {CLIENTS} where clients need a certificate of it"
_SOON_S = 14 * 86_400
_FLIGHTS = 8
"""Messages that a handshake takes at most, each way."""
_ENCRYPTED = b"ENCRYPTED"


class ServerTls(NamedTuple):
    """A folder of certificates that fit."""

    folder: Path
    names: tuple[str, ...]
    """Hosts that the certificate is of: DNS names, maybe with `*`, and addresses."""
    ends: float
    """When it expires, in seconds since 1970."""
    own: Tls
    """With which whoever started the server asks it: nobody but the owner of this very certificate is trusted."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises ValueError naming the file and what is wrong with it."""
        if not folder.is_dir():
            raise ValueError(f"--tls: {no_folder(folder)}; {_FORM}")
        for name in (CERTIFICATE, KEY):
            if not (folder / name).exists():
                raise ValueError(f"{folder / name} is missing in the TLS folder; {_FORM}")
        _secret(folder / KEY)
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _client(folder / CERTIFICATE)
        certificate, key = _pair(server, folder / CERTIFICATE, folder / KEY)
        own = Tls(certificate)
        if (folder / CLIENTS).exists():
            server.verify_mode = ssl.CERT_REQUIRED
            _trust(server, folder / CLIENTS)
            own = own._replace(certificate=certificate, key=key)
            if (folder / FILES[1]).exists():
                pair = _pair(client, folder / FILES[1], folder / FILES[2])
                own = own._replace(certificate=pair[0], key=pair[1])
            else:
                _pair(client, folder / CERTIFICATE, folder / KEY)
        found = _tried(server, client, folder)
        names = _hosts(found, folder / CERTIFICATE)
        # A name of the certificate, whatever the address at which it is asked.
        own = own._replace(name=names[0].replace("*", "recserve", 1))
        return cls(folder, names, ssl.cert_time_to_seconds(found["notAfter"]), own)

    @property
    def is_mutual(self) -> bool:
        """Whether clients need a certificate."""
        return self.own.certificate is not None

    @property
    def flags(self) -> list[str]:
        """Of tritonserver's command line."""
        files = [f"--grpc-server-cert={self.folder / CERTIFICATE}", f"--grpc-server-key={self.folder / KEY}"]
        if self.is_mutual:
            files += ["--grpc-use-ssl-mutual=1", f"--grpc-root-cert={self.folder / CLIENTS}"]
        return ["--grpc-use-ssl=1", *files]

    def concerns(self, host: str) -> list[str]:
        """What will trouble clients, at once or soon."""
        found = []
        if host not in (EVERYWHERE, *self.names) and not _covers(self.folder / CERTIFICATE, self.folder / KEY, host):
            said = ", ".join(self.names)
            found.append(
                f"{self.folder / CERTIFICATE} is of {said} and not of {host}: clients that ask there refuse it"
            )
        if (left := self.ends - time.time()) < _SOON_S:
            found.append(f"{self.folder / CERTIFICATE} expires in {left / 86_400:.1f} days; renew it, and start again")
        return found

    def __str__(self) -> str:
        clients = f"; clients need a certificate of {self.folder / CLIENTS}" if self.is_mutual else ""
        return f"TLS as {', '.join(self.names)}{clients}"


def check_shown(certificate: Path, key: Path, *, by_client: bool = False) -> None:
    """Whether a server can show this certificate, or a client; its own signature is trusted, whosever it is. Raises
    ValueError naming the file that is missing, no PEM, of another key, out of date, of another purpose, of no host
    where it is a server's, or read by others."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _client(certificate)
    _pair(server, certificate, key)
    _secret(key)
    if by_client:
        _pair(client, certificate, key)
        client.verify_mode, server.verify_mode = ssl.CERT_NONE, ssl.CERT_REQUIRED
        server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _trust(server, certificate)
    try:
        found = _handshake(server, client)
    except _Refused as error:
        raise ValueError(f"{certificate}: {error}; put a valid one there") from error
    if not by_client:
        _hosts(found, certificate)


def check_trusted(certificates: Path) -> None:
    """Raises ValueError where the file cannot vouch for others."""
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificates)


def _secret(key: Path) -> None:
    if key.stat().st_mode & 0o007:
        raise ValueError(f"{key} can be read by others; chmod 600 it")


def _client(trusted: Path) -> ssl.SSLContext:
    """Trusts this certificate itself, whoever signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _trust(context, trusted)
    return context


def _trust(context: ssl.SSLContext, certificates: Path) -> None:
    _content(certificates, b"CERTIFICATE")
    try:
        context.load_verify_locations(certificates)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{certificates} cannot be used: {_reason(error)}; put another one there") from error


def _pair(context: ssl.SSLContext, certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """What the files hold, which the context has then."""
    pair = _content(certificate, b"CERTIFICATE"), _content(key, b"PRIVATE KEY")
    if _ENCRYPTED in pair[1]:
        raise ValueError(f"{key} has a passphrase, for which tritonserver cannot ask; store it without one")
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{key} does not fit {certificate}; put the key there that it was made with") from error
        raise ValueError(f"{certificate} and {key} cannot be used: {_reason(error)}") from error
    return pair


def _content(path: Path, kind: bytes) -> bytes:
    """Of a PEM file. Raises ValueError for another one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if b"-----BEGIN" not in content or kind not in content:
        raise ValueError(f"{path} is no {kind.decode().lower()} in PEM form; it begins with -----BEGIN")
    return content


class _Refused(Exception):
    """A handshake that failed."""

    def __init__(self, by_server: bool, error: ssl.SSLError) -> None:
        super().__init__(_reason(error))
        self.by_server = by_server


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str | None = None) -> dict[str, Any]:
    """The server's certificate as a client sees it who asks at that host. Raises _Refused."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(one, other, server_hostname=host)
    answering = server.wrap_bio(other, one, server_side=True)
    for side in (asking, answering) * _FLIGHTS:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            raise _Refused(side.server_side, error) from error
    return asking.getpeercert() or {}


def _tried(server: ssl.SSLContext, client: ssl.SSLContext, folder: Path) -> dict[str, Any]:
    """The server's certificate. Raises ValueError where server or client refuses the other."""
    try:
        return _handshake(server, client)
    except _Refused as error:
        own = folder / (FILES[1] if (folder / FILES[1]).exists() else CERTIFICATE)
        what = f"{own} is refused by {CLIENTS}" if error.by_server else str(folder / CERTIFICATE)
        raise ValueError(f"{what}: {error}; put a valid one there") from error


def _hosts(found: dict[str, Any], certificate: Path) -> tuple[str, ...]:
    """What a certificate is of. Raises ValueError for one of no host."""
    names = tuple(name for kind, name in found.get("subjectAltName", ()) if kind in ("DNS", "IP Address"))
    if not names:
        raise ValueError(f"{certificate} is of no host: no client accepts it without a subjectAltName DNS or IP")
    return names


def _covers(certificate: Path, key: Path, host: str) -> bool:
    """Whether who asks at that host accepts the certificate."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), _client(certificate)
    server.load_cert_chain(certificate, key)
    client.check_hostname = True
    try:
        return bool(_handshake(server, client, host))
    except _Refused:
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
