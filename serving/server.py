"""Starts and stops a real tritonserver: loopback, restricted, ready only when every model answers right.

The server's command line carries the admin key, so other users of the same machine can read it (as can anybody who
may read /proc): the key keeps clients out of the model control API, not the machine's own users.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from serving import pruning, readiness, rollout, runtime, server_log, shared_memory
from serving.client import Client
from serving.command import container_command, shared_flags
from serving.errors import StartupError
from serving.watchdog import Watchdog

__all__ = ["ServerOptions", "TritonServer", "container_command"]

STOP_TIMEOUT_S = 15
_PORT_ATTEMPTS = 3
_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How to serve a repository."""

    target: str = "cpu"
    """Which configs/<target>.pbtxt the models use."""
    state: Path | None = None
    """Directory of the user-state store; <repository>.state beside the repository where None."""
    host: str = "127.0.0.1"
    grpc_port: int = 0
    """0 takes a free one."""
    metrics_port: int = 0
    """0 takes a free one."""
    backends: Path | None = None
    """Source directory of the Python-based backends; ours where None."""
    log: Path | None = None
    """The server's log, overwritten; a new file in the cache's logs/ where None."""
    ready_timeout_s: float = 120.0
    check_golden: bool = True
    model_control: Literal["none", "explicit"] = "none"
    """explicit: all models are loaded at the start, and `Client.load` and `unload` work with the admin key."""
    tritonserver: Path | None = None
    """The server's binary; that of the wheel where None."""


@dataclass(frozen=True, kw_only=True)
class _Launch:
    """What is drawn anew for each process."""

    grpc_port: int
    metrics_port: int
    admin_key: str
    memory_prefix: str


class TritonServer:
    """A running tritonserver; a context manager that leaves no process and no shared-memory file behind."""

    def __init__(self, repository: Path, options: ServerOptions | None = None) -> None:
        """`repository` is a directory of models. Nothing starts before `start`."""
        self.repository = repository.resolve()
        self.options = options or ServerOptions()
        self.state = self.options.state or self.repository.with_name(f"{self.repository.name}.state")
        self.log = self.options.log or server_log.new(self.repository.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._launch: _Launch | None = None
        self._watchdog: Watchdog | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process, the leader of its own process group."""
        if self._process is None:
            raise RuntimeError("the server is not running; call start() or use it in a with statement")
        return self._process

    @property
    def url(self) -> str:
        """host:port of the gRPC service."""
        return f"{self.options.host}:{self._started.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads the metrics."""
        return f"http://{self.options.host}:{self._started.metrics_port}/metrics"

    @property
    def admin_key(self) -> str:
        """Opens configuration, statistics and model control; new at each start."""
        return self._started.admin_key

    @property
    def shared_memory_files(self) -> list[str]:
        """Names of the files in /dev/shm through which it talks to its stubs."""
        return shared_memory.files(self._started.memory_prefix)

    @property
    def fault(self) -> str | None:
        """What ended the server, although nobody stopped it; None while all is well."""
        if self._watchdog is not None and self._watchdog.fault:
            return self._watchdog.fault
        if self._process is None or self._process.poll() is None:
            return None
        return f"tritonserver ended with exit code {self._process.returncode}; see {self.log}"

    def client(self) -> Client:
        """A client with the admin key."""
        return Client(self.url, admin_key=self.admin_key)

    def start(self) -> None:
        """Starts the server and returns when it is ready.

        Raises:
            ValueError: the repository holds no model.
            StartupError: the server did not come up, or a model does not answer its golden requests.
        """
        if self._process is not None:
            raise RuntimeError("the server is running already; stop() it first")
        readiness.models(self.repository, self.options.target)
        shared_memory.sweep()
        try:
            self._launch_on_free_ports()
            pruning.prune()
            with self.client() as client:
                if self.options.model_control == "explicit":
                    rollout.pin(client, self.repository, self.options.target)
                if self.options.check_golden:
                    readiness.check_goldens(client, self.repository, self.options.target)
            self._watchdog = Watchdog(self.process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server, lets requests in flight finish for a while, and removes what it left; may be repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._watchdog is not None:
            self._watchdog.stop()
            if self._watchdog.fault:
                # It would wait for the stub that died until its own timeout.
                process.kill()
        process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
            _kill_group(process.pid)
            shared_memory.remove(self._started.memory_prefix)

    @property
    def _started(self) -> _Launch:
        if self._launch is None:
            raise RuntimeError("the server was never started; call start() or use it in a with statement")
        return self._launch

    def _launch_on_free_ports(self) -> None:
        """A port that was free a moment ago may be taken now: then others are tried, unless the caller named it."""
        for remaining in reversed(range(_PORT_ATTEMPTS)):
            self._spawn()
            if self._wait():
                return
            self.stop()
            reason = server_log.excerpt(self.log)
            if not (remaining and "already in use" in reason and 0 in self._ports):
                raise StartupError(f"tritonserver did not come up; the end of {self.log}:\n{reason}")

    @property
    def _ports(self) -> tuple[int, int]:
        return self.options.grpc_port, self.options.metrics_port

    def _spawn(self) -> None:
        grpc_port, metrics_port = available_ports(self.options.host, self._ports)
        self._launch = _Launch(
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            admin_key=secrets.token_hex(16),
            memory_prefix=shared_memory.prefix(secrets.token_hex(4)),
        )
        command = self._command(self._launch)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # Its own session, so that Ctrl-C reaches only the program, which then stops the server in order.
            self._process = subprocess.Popen(
                command,
                env=runtime.environment(self.state, self.metrics_url),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _command(self, launch: _Launch) -> list[str]:
        backends = runtime.backend_directory(self.options.backends or runtime.BACKENDS)
        binary = self.options.tritonserver or runtime.wheel_root() / "bin" / "tritonserver"
        return [
            str(binary),
            *shared_flags(self.repository, self.options.target, launch.admin_key),
            f"--model-control-mode={self.options.model_control}",
            *(["--load-model=*"] if self.options.model_control == "explicit" else []),
            f"--grpc-address={self.options.host}",
            f"--grpc-port={launch.grpc_port}",
            f"--metrics-address={self.options.host}",
            f"--metrics-port={launch.metrics_port}",
            "--allow-gpu-metrics=0",
            f"--backend-directory={backends}",
            # Holds for the Python-based backends too.
            f"--backend-config=python,shm-region-prefix-name={launch.memory_prefix}",
            f"--exit-timeout-secs={STOP_TIMEOUT_S - 5}",
        ]

    def _wait(self) -> bool:
        """Whether the server became ready before it died.

        Raises:
            StartupError: neither happened within `ready_timeout_s`.
        """
        deadline = time.monotonic() + self.options.ready_timeout_s
        with Client(self.url, deadline_s=1.0) as client:
            while self.process.poll() is None:
                if client.server_ready():
                    # gRPC answers for a moment even where the metrics port was taken.
                    return "failed to start" not in server_log.excerpt(self.log)
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"tritonserver was not ready after {self.options.ready_timeout_s:g} s; the end of {self.log}:\n"
                        f"{server_log.excerpt(self.log)}"
                    )
                time.sleep(_POLL_S)
        return False


def available_ports(host: str, wanted: Sequence[int]) -> list[int]:
    """The wanted ports, each 0 replaced; all were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in wanted]
        for each, port in zip(sockets, wanted, strict=True):
            # As a server does that starts again on the port where it ran before.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind((host, port))
            except OSError as error:
                raise StartupError(f"port {port} on {host}: {error.strerror}; name another port, or 0") from error
        return [each.getsockname()[1] for each in sockets]


def _kill_group(leader: int) -> None:
    """Ends stubs that outlived their server."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
