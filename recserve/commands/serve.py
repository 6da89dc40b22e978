"""`recserve serve`: tritonserver in the foreground."""

import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from recserve.commands.command import Command
from serving.errors import ServingError, StartupError
from serving.rollout import Release, roll_out
from serving.server import ServerOptions, TritonServer


@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """Serve a model repository on loopback until SIGINT or SIGTERM."""

    repository: Path
    """The model repository to serve."""
    target: str = "cpu"
    """Which configs/<target>.pbtxt the models use."""
    state: Path | None = None
    """Directory of the user-state store; <repository>.state by default."""
    grpc_port: int = 8001
    """Where clients ask; 0 takes a free one."""
    metrics_port: int = 8002
    """Where Prometheus reads; 0 takes a free one."""
    log: Path | None = None
    """The server's log; a new file in the cache by default."""
    follow: bool = False
    """Take over each release that is published into the repository while the server runs, without a failed request."""

    def run(self) -> int:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        options = ServerOptions(
            target=self.target,
            state=self.state,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
            log=self.log,
            model_control="explicit" if self.follow else "none",
        )
        server = TritonServer(self.repository, options)
        with self.console.status("starting tritonserver, then asking every model its golden requests"):
            server.start()
        try:
            self.console.print(
                f"ready: gRPC {server.url}, metrics {server.metrics_url}, log {server.log}; stop with Ctrl-C",
                highlight=False,
                soft_wrap=True,
            )
            self.emit({"url": server.url, "metrics_url": server.metrics_url, "log": server.log})
            refused: Release | None = None
            while not stop.wait(0.2):
                if server.fault:
                    raise StartupError(server.fault)
                if self.follow:
                    refused = self._follow(server, refused)
        finally:
            server.stop()
        self.console.print("stopped")
        return 0

    def _follow(self, server: TritonServer, refused: Release | None) -> Release | None:
        """Rolls out what is new; the release that was refused, if any, which is not tried again."""
        newest = Release.newest(self.repository, self.target)
        if newest == refused:
            return refused
        try:
            with server.client() as client:
                # The release that was looked at, and no later one, so that a refusal is remembered of the right one.
                if now := roll_out(client, self.repository, self.target, release=newest):
                    serving = ", ".join(f"{name} {version}" for name, version in sorted(now.versions.items()))
                    self.console.print(f"serving {serving}", highlight=False, soft_wrap=True)
        except ServingError as error:
            self.console.print(f"[red]release refused:[/] {escape(str(error))}", highlight=False)
            return newest
        return None
