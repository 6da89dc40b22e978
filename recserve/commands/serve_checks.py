"""What `recserve serve` is told, checked before anything starts or is printed."""

from itertools import combinations
from typing import TYPE_CHECKING, Any

from recserve.named_stores import histories_of, state_of
from serving import native, processes, readiness
from serving.startup import StartupError

if TYPE_CHECKING:
    from recserve.commands.serve import Serve

_BESIDE = {
    "trace_rate": ("traces", "URL"),
    "request_log_rate": ("request_log", "DIR"),
    "request_log_mib": ("request_log", "DIR"),
    "request_log_ids": ("request_log", "DIR"),
}
"""Options that say how, each with the one that says that, and what that takes."""
_OF_CPU = (
    "backend",
    "follow",
    "host",
    "metrics_host",
    "tls",
    "insecure",
    "traces",
    "request_log",
    "log",
    "max_restarts",
)
_PORTS = ("grpc_port", "metrics_port", "ready_port")


def check_options(serve: "Serve") -> None:
    """Raises ValueError naming an option that is out of range, of no use, or against another one."""
    if not 0 <= serve.drain_s <= 3600:
        raise ValueError(f"--drain-s is {serve.drain_s:g}; it must be between 0 and 3600 seconds")
    if serve.max_restarts < 0:
        raise ValueError(f"--max-restarts is {serve.max_restarts}; it must be 0 or more")
    for name, (other, takes) in _BESIDE.items():
        if getattr(serve, other) is None and _is_said(serve, name):
            raise ValueError(f"{_option(name)} is of no use without {_option(other)}; give {_option(other)} {takes}")
    if serve.tls is not None and serve.insecure:
        raise ValueError("--tls and --insecure contradict each other; choose one")
    _check_ports(serve)
    _check_target(serve)
    state_of(serve.repository, serve.state)
    histories_of(serve.repository, serve.histories)


def check_places(serve: "Serve", host: str) -> None:
    """Whether the repository holds a model, all addresses can be listened at, and the backend is built; `host` is that
    of --ready-port.

    Raises ValueError naming the option or the remedy.
    """
    readiness.models(serve.repository, serve.target)
    wanted = [
        processes.Listening(serve.host, serve.grpc_port),
        processes.Listening(serve.metrics_host, serve.metrics_port, "--metrics-host", "--metrics-port"),
    ]
    if serve.ready_port is not None:
        wanted.append(processes.Listening(host, serve.ready_port, "--host", "--ready-port"))
    try:
        if serve.backend == "native":
            native.library()
        processes.available_ports(wanted)
    except StartupError as error:
        raise ValueError(str(error)) from error


def _check_ports(serve: "Serve") -> None:
    ports = {name: port for name in _PORTS if (port := getattr(serve, name)) is not None}
    for name, port in ports.items():
        if not 0 <= port <= 65535:
            raise ValueError(f"{_option(name)} is {port}; a port is between 1 and 65535, and 0 takes a free one")
    for one, other in combinations(ports, 2):
        if ports[one] == ports[other] != 0:
            raise ValueError(f"{_option(one)} and {_option(other)} are both {ports[one]}; give each its own")


def _check_target(serve: "Serve") -> None:
    if serve.target == "cpu":
        if _is_said(serve, "image"):
            raise ValueError(f"--image {serve.image} is of the target gpu; give --target gpu, or leave it out")
        return
    if 0 in (serve.grpc_port, serve.metrics_port):
        raise ValueError("--grpc-port and --metrics-port of the target gpu are numbers other than 0")
    for name in _OF_CPU:
        if _is_said(serve, name):
            raise ValueError(
                f"{_option(name)} is of the target cpu; leave it out, or change the container's printed line"
            )


def _is_said(serve: "Serve", name: str) -> bool:
    default: Any = getattr(type(serve), name)
    return getattr(serve, name) != default


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
