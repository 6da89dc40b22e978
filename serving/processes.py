"""Ports, exit codes and groups of processes."""

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Sequence
from typing import NamedTuple

from serving.startup import StartupError

_PORT_FAULTS = (errno.EADDRINUSE, errno.EACCES)
"""The host is right where it is one of these."""


class Listening(NamedTuple):
    """Where something is to listen, and the options of recserve serve that say so."""

    host: str
    port: int
    of_host: str = "--host"
    of_port: str = "--grpc-port"


def available_ports(wanted: Sequence[Listening | tuple[str, int]]) -> list[int]:
    """The ports that are wanted at their hosts, each 0 replaced; all were free a moment ago.

    Raises StartupError naming the option of the host or of the port, whichever is wrong.
    """
    with contextlib.ExitStack() as stack:
        families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host, *_ in wanted]
        sockets = [stack.enter_context(socket.socket(family)) for family in families]
        for each, (host, port, *options) in zip(sockets, wanted, strict=True):
            one = Listening(host, port, *options)
            # As a server does that starts again on the port where it ran before.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind((one.host, one.port))
            except OSError as error:
                raise StartupError(_refused(one, error)) from error
        return [each.getsockname()[1] for each in sockets]


def _refused(one: Listening, error: OSError) -> str:
    if error.errno in _PORT_FAULTS:
        return f"{one.of_port} {one.port} on {one.host}: {error.strerror}; name another port, or 0"
    return f"{one.of_host} {one.host}: {error.strerror}; name an address of this machine"


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
