"""`recserve serve --target gpu`: NVIDIA's container in the foreground."""

import shlex
import signal
import threading
from typing import TYPE_CHECKING

from recserve.named_stores import histories_of, state_of
from serving import admin_key
from serving.command import Container, container_command
from serving.container import Running, engine
from serving.options import ServerOptions
from serving.startup import StartupError

if TYPE_CHECKING:
    from recserve.commands.serve import Serve, _Signals

_TEND_S = 0.2


def run(serve: "Serve", signals: "_Signals") -> int:
    """Prints the container's command line and runs it until a signal comes; 0 then.

    Raises:
        StartupError: there is no container engine; or the container ended, or answers wrongly.
    """
    found = engine()
    served = Container(
        repository=serve.repository,
        state=state_of(serve.repository, serve.state),
        histories=histories_of(serve.repository, serve.histories),
        image=serve.image,
        engine=found or "docker",
        grpc_port=serve.grpc_port,
        metrics_port=serve.metrics_port,
    )
    key = admin_key.read_or_make(serve.admin_key_file) if serve.admin_key_file else None
    words = container_command(served, key)
    line = shlex.join(words)
    # A key that somebody keeps is in no log.
    serve.say(line.replace(key, f"$(cat {shlex.quote(str(serve.admin_key_file))})") if key else line)
    if found is None:
        raise StartupError(
            "neither docker nor podman is on PATH; run this command where one is, and a GPU: the line above "
            "alone starts a server whose files and answers nobody checks"
        )
    with Running(served, words, ready_timeout_s=ServerOptions.ready_timeout_s) as running:
        _attend(serve, running, signals)
    serve.say("stopped")
    return 0


def _attend(serve: "Serve", running: Running, signals: "_Signals") -> None:
    announced = threading.Event()
    with serve.told("127.0.0.1", lambda: announced.is_set() and not signals.stop.is_set() and running.ended is None):
        with serve.console.status(f"starting {serve.image}, then asking every model its golden requests"):
            running.start(signals.stop)
        if not signals.stop.is_set():
            announced.set()
            serve.say(f"ready: gRPC {running.url}; stop with Ctrl-C")
            serve.emit({"url": running.url})
        while not signals.stop.wait(_TEND_S):
            if running.ended is not None:
                raise StartupError(f"the container ended with {running.ended}; what it printed says why")
        if signals.first == signal.SIGTERM:
            signals.again.wait(serve.drain_s)
