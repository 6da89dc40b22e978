"""Ports, exit codes and groups of processes."""

import contextlib
import os
import signal
import socket
from collections.abc import Sequence

from serving.startup import StartupError


def available_ports(wanted: Sequence[tuple[str, int]]) -> list[int]:
    """The ports that are wanted at their hosts, each 0 replaced; all were free a moment ago."""
    with contextlib.ExitStack() as stack:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host, _ in wanted]
        sockets = [stack.enter_context(socket.socket(family)) for family in families]
        for each, (host, port) in zip(sockets, wanted, strict=True):
            # As a server does that starts again on the port where it ran before.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind((host, port))
            except OSError as error:
                raise StartupError(f"port {port} on {host}: {error.strerror}; name another port, or 0") from error
        return [each.getsockname()[1] for each in sockets]


def ended_how(returncode: int) -> str:
    """A return code in words: by which signal, where it was one."""
    if returncode >= 0:
        return f"with exit code {returncode}"
    return f"by signal {signal.Signals(-returncode).name}"


def kill_group(leader: int) -> None:
    """Ends stubs that outlived their server."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
