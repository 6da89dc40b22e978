"""`recserve serve`: tritonserver in the foreground, kept up."""

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.markup import escape

from recserve.commands import serve_checks, serve_container
from recserve.commands.command import Command
from recserve_client.errors import ServingError
from serving import addresses, admin_key
from serving.command import IMAGE
from serving.follower import Follower
from serving.options import Backend
from serving.ready_port import ReadyPort
from serving.server import ServerOptions, TritonServer
from serving.startup import StartupError
from serving.state import open_store
from serving.state.builder import models_with_states
from serving.state.states import StateStoreError
from serving.supervisor import Policy, Supervisor
from serving.traces import Traces
from serving.watch.request_log import LogOptions

_TEND_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """Serve a model repository until SIGINT, SIGTERM or SIGHUP; a server that falls is started again.

    Only this machine reaches it unless --host says otherwise. SIGTERM drains: the server says that it is not ready,
    goes on answering for --drain-s, and stops.
    """

    repository: Path
    """The model repository to serve."""
    target: Literal["cpu", "gpu"] = "cpu"
    """The tritonserver of the wheel, or NVIDIA's container which docker or podman starts for this command."""
    image: str = IMAGE
    """Image of the target gpu; deploy/containers/gpu.Dockerfile makes one with all that models may need."""
    backend: Backend = "python"
    """Form of the backend onnxruntime: a Python process for each model, or C++ in the server, which make native builds;
    the latter does not go with --request-log and --traces."""
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
    host: str = "127.0.0.1"
    """Address where clients ask, 0.0.0.0 for all; one that other machines reach needs --tls, or --insecure."""
    tls: Path | None = None
    """Folder with server.crt and server.key; where it has ca.crt too, each client needs a certificate of that, and
    client.crt and client.key there are those of serve itself. Plain text by default."""
    insecure: bool = False
    """Plain text also where other machines reach it: something before it encrypts, or the network is trusted."""
    metrics_host: str = "127.0.0.1"
    """Address where Prometheus reads, always in plain text."""
    traces: str | None = None
    """URL of an OpenTelemetry collector, http://HOST:4318/v1/traces; nothing is traced by default."""
    trace_rate: int = Traces.rate
    """Requests of which one is traced, beside all that come with a traceparent; 0 for those alone."""
    ready_port: int | None = None
    """Port at --host that answers HTTP GET with 200 while the server is ready and with 503 while it is not, for
    balancers and Kubernetes; 0 takes a free one, none is opened by default."""
    log: Path | None = None
    """The server's log, with its folder made where there is none; a new file in the cache by default."""
    follow: bool = False
    """Roll-out of each release that is published into the repository while the server runs, without a failed
    request."""
    drain_s: float = 5.0
    """Seconds between SIGTERM and the end, not ready and still answering, for balancers to notice; a second signal
    ends them. With 0 and without --follow, the model control API is off."""
    max_restarts: int = Policy.max_restarts
    """Restarts after a fault within ten minutes; one more fault, and it exits with 1."""
    request_log: Path | None = None
    """Folder of a log of requests and answers; none by default. Binary records, to be read by `recserve drift` and
    others, users by pseudonyms."""
    request_log_rate: float = LogOptions.rate
    """Share of the requests that are logged."""
    request_log_mib: int = LogOptions.mib
    """Bound of the log in MiB; the oldest files make room."""
    request_log_ids: Literal["hashed", "raw"] = LogOptions.ids
    """Names of users in the log: a hash whose key is in the folder, or those that clients send."""
    admin_key_file: Path | None = None
    """File with the key of the model control, trace and log APIs; made with a new key where it does not exist. Without
    it nobody is given the key."""

    def __post_init__(self) -> None:
        serve_checks.check_options(self)

    def run(self) -> int:
        signals = _Signals()
        if self.target == "gpu":
            return serve_container.run(self, signals)
        options = self._options()
        serve_checks.check_places(self, options.host)
        server = TritonServer(self.repository, options)
        supervisor = Supervisor(server, Policy(max_restarts=self.max_restarts), signals.stop, self.say)
        announced = threading.Event()
        with self.told(
            server.options.host, lambda: announced.is_set() and not signals.stop.is_set() and supervisor.is_up
        ):
            try:
                with self.console.status("starting tritonserver, then asking every model its golden requests"):
                    self._start(server, signals.stop)
                if not signals.stop.is_set():
                    announced.set()
                    self._announce(server)
                    self._tend(server, supervisor, signals.stop)
                    self._drain(server, signals)
            finally:
                server.stop(at_once=signals.first == signal.SIGTERM)
        self.say("stopped")
        return 0

    def _options(self) -> ServerOptions:
        return ServerOptions(
            target=self.target,
            backend=self.backend,
            state=self.state,
            histories=self.histories,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
            host=self.host,
            tls=self.tls,
            insecure=self.insecure,
            metrics_host=self.metrics_host,
            traces=Traces(url=self.traces, rate=self.trace_rate) if self.traces else None,
            log=self.log,
            model_control="explicit" if self.follow or self.drain_s else "none",
            admin_key=admin_key.read_or_make(self.admin_key_file) if self.admin_key_file else None,
            request_log=self._log_options(),
        )

    def _log_options(self) -> LogOptions | None:
        if self.request_log is None:
            return None
        rate, mib, ids = self.request_log_rate, self.request_log_mib, self.request_log_ids
        return LogOptions(folder=self.request_log, rate=rate, mib=mib, ids=ids)

    def told(self, host: str, is_ready: Callable[[], bool]) -> AbstractContextManager[object]:
        """The port of --ready-port, where one was asked for."""
        if self.ready_port is None:
            return nullcontext()
        port = ReadyPort(host, self.ready_port, is_ready)
        self.say(f"readiness is told at {port.url}")
        return port

    def _start(self, server: TritonServer, stop: threading.Event) -> None:
        try:
            server.start(stop)
        except StartupError:
            if not stop.is_set():
                raise

    def _announce(self, server: TritonServer) -> None:
        if models_with_states(server.repository) and (problem := _unusable(server.state)):
            self.say(f"no state store ({problem}): states are computed at each request; see --state")
        for concern in server.tls.concerns(self.host) if server.tls else ():
            self.say(concern)
        where = f"gRPC {server.url}{self._how(server)}, metrics {server.metrics_url}, log {server.log}"
        self.say(f"ready: {where}; stop with Ctrl-C")
        self.emit({"url": server.url, "metrics_url": server.metrics_url, "log": server.log})

    def _how(self, server: TritonServer) -> str:
        """Who reaches it, and how it is encrypted; nothing where that goes without saying."""
        listens = "from everywhere, " if self.host == addresses.EVERYWHERE else ""
        if server.tls is None and addresses.is_loopback(self.host):
            return ""
        return f" ({listens}{server.tls or 'plain text'})"

    def _tend(self, server: TritonServer, supervisor: Supervisor, stop: threading.Event) -> None:
        follower = Follower(server, self.say)
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
            self.say(f"stopping without a drain: {error}")
            return
        self.say(f"not ready; stops in {self.drain_s:g} s")
        signals.again.wait(self.drain_s)

    def say(self, line: str) -> None:
        """A line for a person."""
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
