"""`recserve events follow`."""

import signal
import socket
import threading
from dataclasses import dataclass

from rich.markup import escape

from recserve.commands.connected import Connected
from recserve.options import Positional
from recserve_client import Client
from serving.events.following import Following
from serving.events.pushing import Pusher
from serving.events.source import GROUP, ValkeyStream


@dataclass(frozen=True, kw_only=True)
class Follow(Connected):
    """Push what arrives in a stream into a running server, until SIGINT or SIGTERM."""

    stream: Positional[str]
    """Stream of a Valkey server, valkey://host:port/0/STREAM, whose entries have user, item, time and maybe value."""
    dataset: str
    """Name of the data set that the events belong to."""
    url: tuple[str, ...] = ("127.0.0.1:8001",)
    """Addresses of the servers that share a store of histories, host:port each; one that is away is left out."""
    group: str = GROUP
    """Consumer group; those of one group share the stream."""
    consumer: str = ""
    """Name within the group; the host's name by default. One that comes back goes on where it was."""
    once: bool = False
    """End of the work once the stream has nothing more; with 1 where that cannot be said, as something is away."""

    def run(self) -> int:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        source = ValkeyStream(self.stream, self.consumer or socket.gethostname(), group=self.group)
        totals, waits = {"pushed": 0, "refused": 0}, ""
        try:
            with Client(*self.url, headers=self.sent, tls=self.security) as client:
                pusher = Pusher(client, self.dataset, waiting=lambda why: self._say(f"waiting: {why}"))
                following = Following(source, pusher, self._say)
                while not stop.is_set():
                    done = following.step()
                    totals["pushed"] += done.pushed
                    totals["refused"] += done.refused
                    waits = done.waits
                    if self.once and not (done.pushed or done.refused):
                        break
        finally:
            source.close()
        self._say(f"{totals['pushed']} events pushed, {totals['refused']} refused")
        self.emit({"stream": source.name, **totals, "counts": dict(pusher.counts)})
        return 1 if self.once and waits else 0

    def _say(self, line: str) -> None:
        self.console.print(escape(line), highlight=False, soft_wrap=True)
