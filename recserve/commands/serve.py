"""`recserve serve`: tritonserver in the foreground, kept up."""

import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from recserve.commands.command import Command
from recserve_client.errors import ServingError
from serving import admin_key
from serving.follower import Follower
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from serving.state import open_store
from serving.state.builder import models_with_states
from serving.state.states import StateStoreError
from serving.supervisor import Policy, Supervisor

_TEND_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """Serve a model repository on loopback until SIGINT, SIGTERM or SIGHUP; a server that falls is started again.

    SIGTERM drains: the server says that it is not ready, goes on answering for --drain-s, and stops.
    """

    repository: Path
    """The model repository to serve."""
    target: str = "cpu"
    """Target whose configs/<target>.pbtxt the models use."""
    state: str | None = None
    """Directory or URL of the store of user states, lmdb:///directory?max_bytes=N or valkey://host:port/0?ttl_s=N;
    <repository>.state by default."""
    histories: str | None = None
    """URL of the store of users' histories, lmdb:///directory or valkey://host:port/0; <repository>.histories by
    default."""
    grpc_port: int = 8001
    """Port where clients ask; 0 takes a free one."""
    metrics_port: int = 8002
    """Port where Prometheus reads; 0 takes a free one."""
    log: Path | None = None
    """The server's log; a new file in the cache by default."""
    follow: bool = False
    """Roll-out of each release that is published into the repository while the server runs, without a failed
    request."""
    drain_s: float = 5.0
    """Seconds between SIGTERM and the end, not ready and still answering, for balancers to notice; a second signal
    ends them. With 0 and without --follow, the model control API is off."""
    max_restarts: int = Policy.max_restarts
    """Restarts after a fault within ten minutes; one more fault, and it exits with 1."""
    admin_key_file: Path | None = None
    """File with the key of the model control, trace and log APIs; made with a new key where it does not exist. Without
    it nobody is given the key."""

    def __post_init__(self) -> None:
        if not 0 <= self.drain_s <= 3600:
            raise ValueError(f"--drain-s is {self.drain_s:g}; it must be between 0 and 3600 seconds")
        if self.max_restarts < 0:
            raise ValueError(f"--max-restarts is {self.max_restarts}; it must be 0 or more")

    def run(self) -> int:
        signals = _Signals()
        server = TritonServer(self.repository, self._options())
        try:
            with self.console.status("starting tritonserver, then asking every model its golden requests"):
                self._start(server, signals.stop)
            if not signals.stop.is_set():
                self._announce(server)
                self._tend(server, signals.stop)
                self._drain(server, signals)
        finally:
            server.stop(at_once=signals.first == signal.SIGTERM)
        self._say("stopped")
        return 0

    def _options(self) -> ServerOptions:
        return ServerOptions(
            target=self.target,
            state=self.state,
            histories=self.histories,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
            log=self.log,
            model_control="explicit" if self.follow or self.drain_s else "none",
            admin_key=admin_key.read_or_make(self.admin_key_file) if self.admin_key_file else None,
        )

    def _start(self, server: TritonServer, stop: threading.Event) -> None:
        try:
            server.start(stop)
        except StartupError:
            if not stop.is_set():
                raise

    def _announce(self, server: TritonServer) -> None:
        if models_with_states(server.repository) and (problem := _unusable(server.state)):
            self._say(f"no state store ({problem}): states are computed at each request; see --state")
        self._say(f"ready: gRPC {server.url}, metrics {server.metrics_url}, log {server.log}; stop with Ctrl-C")
        self.emit({"url": server.url, "metrics_url": server.metrics_url, "log": server.log})

    def _tend(self, server: TritonServer, stop: threading.Event) -> None:
        supervisor = Supervisor(server, Policy(max_restarts=self.max_restarts), stop, self._say)
        follower = Follower(server, self._say)
        while not stop.wait(_TEND_S):
            supervisor.tend()
            if self.follow:
                follower.look()

    def _drain(self, server: TritonServer, signals: "_Signals") -> None:
        if signals.first != signal.SIGTERM or not self.drain_s or server.fault:
            return
        try:
            server.withdraw()
        except ServingError as error:
            self._say(f"stopping without a drain: {error}")
            return
        self._say(f"not ready; stops in {self.drain_s:g} s")
        signals.again.wait(self.drain_s)

    def _say(self, line: str) -> None:
        self.console.print(escape(line), highlight=False, soft_wrap=True)


def _unusable(url: str) -> str | None:
    """Why no state can be kept there, if so."""
    try:
        open_store(url).close()
    except StateStoreError as error:
        return str(error)
    return None


class _Signals:
    """What asked the program to end."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.again = threading.Event()
        """Asked twice."""
        self.first: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)

    def _asked(self, number: int, _: object) -> None:
        if self.first is None:
            self.first = number
            self.stop.set()
        else:
            self.again.set()
