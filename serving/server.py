"""Starts and stops a real tritonserver: loopback, restricted, ready only when every model answers right.

The server's command line carries the admin key, so other users of the same machine can read it (as can anybody who
may read /proc): the key keeps clients out of the model control API, not the machine's own users.
"""

import contextlib
import secrets
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from serving import draining, processes, pruning, readiness, releases, rollout, runtime, server_log, shared_memory
from serving.addresses import reachable
from serving.admin import Admin
from serving.crashes import Crashes
from serving.guardian import Guardian
from serving.histories.opening import histories_beside
from serving.launch import STOP_TIMEOUT_S, Launch, command, environment
from serving.options import ServerOptions
from serving.served_configs import settle
from serving.startup import StartupError
from serving.state import beside, url_of
from serving.tls import ServerTls
from serving.watchdog import DEAD_LOADING_S, Watchdog

__all__ = ["ServerOptions", "TritonServer"]

_PORT_ATTEMPTS = 3
_POLL_S = 0.05


class TritonServer:
    """A running tritonserver; a context manager that leaves no process and no shared-memory file behind."""

    def __init__(self, repository: Path, options: ServerOptions | None = None) -> None:
        """`repository` is a directory of models. Nothing starts before `start`."""
        self.repository = repository.resolve()
        self.options = options or ServerOptions()
        self.state = url_of(self.options.state) if self.options.state else beside(self.repository)
        """URL of the store of user states."""
        self.histories = self.options.histories or histories_beside(self.repository)
        """URL of the store of users' histories."""
        self.log = self.options.log or server_log.new(self.repository.name)
        self.admin_key = self.options.admin_key or secrets.token_hex(16)
        """Opens the model control, trace and log APIs."""
        self.release: rollout.Release | None = None
        """What it serves, where its models can be controlled; the one who rolls out another says so."""
        self.tls: ServerTls | None = None
        """What it was last started with; None for plain text."""
        self.restarts = 0
        """How often it was started again after a fault."""
        self.crashes = Crashes() if self.options.backend == "native" else None
        """What ended it, where that is known."""
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: Guardian | None = None
        self._log_start = 0
        self._launch: Launch | None = None
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
        """host:port of the gRPC service, for this machine."""
        return f"{reachable(self.options.host)}:{self._started.grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads the metrics, for this machine."""
        return f"http://{reachable(self.options.metrics_host)}:{self._started.metrics_port}/metrics"

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
        return f"tritonserver ended {processes.ended_how(self._process.returncode)}; see {self.log}"

    def client(self, deadline_s: float = 5.0) -> Admin:
        """A client with the admin key, over TLS where it serves so."""
        tls = None if self.tls is None else self.tls.own
        return Admin(self.url, deadline_s=deadline_s, admin_key=self.admin_key, tls=tls)

    def start(self, cancelled: threading.Event | None = None) -> None:
        """Starts the server and returns when it is ready.

        Args:
            cancelled: ends a start that is under way.

        Raises:
            ValueError: the repository holds no model, or a file that is not the published one; or a certificate is
                wrong.
            StartupError: the server did not come up, or a model does not answer its golden requests.
        """
        self.release = None
        self._start(cancelled)

    def _start(self, cancelled: threading.Event | None) -> None:
        if self._process is not None:
            raise RuntimeError("the server is running already; stop() it first")
        self.tls = ServerTls.read(self.options.tls) if self.options.tls else None
        readiness.models(self.repository, self.options.target)
        settle(self.repository, releases.served_versions(self.repository))
        if self.options.check_golden:
            readiness.check_files(self.repository, self.options.target, self._pinned)
        shared_memory.sweep()
        try:
            self._launch_on_free_ports(cancelled or threading.Event())
            self._watchdog = Watchdog(self.process)
            pruning.prune()
            self._open()
        except BaseException:
            self.stop()
            raise

    def _open(self) -> None:
        """The last steps before it counts as started."""
        repository, target = self.repository, self.options.target
        with self.client() as client:
            if self.release is not None and self._pinned is not None:
                rollout.load(client, repository, target, self.release)
            elif self.options.model_control == "explicit":
                rollout.pin(client, repository, target)
            if self.options.check_golden:
                readiness.check_goldens(client, repository, target, self._pinned)
            if self.options.model_control == "explicit":
                self.release = rollout.served(client)

    @property
    def _pinned(self) -> dict[str, int] | None:
        """The versions that it served before, where the repository says others and nobody rolled those out."""
        if self.release is None:
            return None
        with contextlib.suppress(ValueError):
            if self.release == rollout.Release.wanted(self.repository, self.options.target):
                return None
        return self.release.versions

    def restart(self, cancelled: threading.Event | None = None) -> None:
        """Starts the server again as it was: ports, admin key, release; raises as `start` does."""
        self.stop()
        self.restarts += 1
        self._start(cancelled)

    def guard(self) -> None:
        """Sees to it that a guardian is there; one that was killed is replaced."""
        if self._process is not None and self._guardian is not None and not self._guardian.alive:
            self._guardian.dismiss()
            self._guardian = Guardian(self._process.pid, self._started.memory_prefix)

    def withdraw(self) -> None:
        """Makes the server say that it is not ready, while it goes on answering; needs `model_control` explicit.

        Raises:
            ServingError: it does not run, or its models cannot be controlled.
        """
        with self.client() as client:
            draining.withdraw(client)

    def stop(self, *, at_once: bool = False) -> None:
        """Stops the server and removes what it left; may be repeated.

        Args:
            at_once: kill it, so that a request under way fails as UNAVAILABLE; else requests under way are answered
                for a while, and new ones fail as NOT_FOUND.
        """
        process, self._process = self._process, None
        if process is None:
            return
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.stop()
        if at_once or (watchdog is not None and watchdog.fault):
            process.kill()
        process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
            processes.kill_group(process.pid)
            shared_memory.remove(self._started.memory_prefix)
            if self._guardian is not None:
                self._guardian.dismiss()

    @property
    def _started(self) -> Launch:
        if self._launch is None:
            raise RuntimeError("the server was never started; call start() or use it in a with statement")
        return self._launch

    def _launch_on_free_ports(self, cancelled: threading.Event) -> None:
        """A port that was free a moment ago may be taken now: then others are tried, unless the caller named it."""
        for remaining in reversed(range(_PORT_ATTEMPTS)):
            self._spawn()
            loading = Watchdog(self.process, DEAD_LOADING_S)
            try:
                if self._wait(cancelled):
                    return
            finally:
                loading.stop()
            self.stop()
            reason = server_log.excerpt(self.log, self._log_start)
            if not (remaining and "already in use" in reason and 0 in self._ports):
                what = loading.fault or "tritonserver did not come up"
                raise StartupError(f"{what}; the end of {self.log}:\n{reason}")

    @property
    def _ports(self) -> tuple[int, int]:
        """Once it is known where the server is, it comes back there."""
        if self._launch is not None and self.restarts:
            return self._launch.grpc_port, self._launch.metrics_port
        return self.options.grpc_port, self.options.metrics_port

    def _spawn(self) -> None:
        hosts = self.options.host, self.options.metrics_host
        self._launch = Launch.drawn(hosts, self._ports)
        words = command(
            self._launch,
            self.repository,
            self.options,
            admin_key=self.admin_key,
            tls=self.tls,
            loads_all=self._pinned is None,
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab" if self.restarts else "wb") as log:
            self._log_start = log.tell()
            # Its own session, so that Ctrl-C reaches only the program, which then stops the server in order.
            self._process = subprocess.Popen(
                words,
                env=runtime.environment(self.state, self.histories, self.metrics_url, self.restarts)
                | environment(self.options)
                | (self.crashes.environment if self.crashes else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guardian = Guardian(self._process.pid, self._launch.memory_prefix)

    def _wait(self, cancelled: threading.Event) -> bool:
        """Whether the server became ready before it died.

        Raises:
            StartupError: neither happened within `ready_timeout_s`, or the start was cancelled.
        """
        deadline = time.monotonic() + self.options.ready_timeout_s
        with self.client(deadline_s=1.0) as client:
            while self.process.poll() is None:
                if client.server_ready():
                    # gRPC answers for a moment even where the metrics port was taken.
                    return "failed to start" not in server_log.excerpt(self.log, self._log_start)
                if cancelled.is_set():
                    raise StartupError("stopped before the server was ready")
                if time.monotonic() > deadline:
                    raise StartupError(
                        f"tritonserver was not ready after {self.options.ready_timeout_s:g} s; the end of {self.log}:\n"
                        f"{server_log.excerpt(self.log, self._log_start)}"
                    )
                time.sleep(_POLL_S)
        return False
