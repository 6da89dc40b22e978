"""The command line and the environment of one process of the wheel's tritonserver."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from serving import native, processes, runtime, shared_memory
from serving.command import shared_flags
from serving.options import ServerOptions
from serving.tls import ServerTls
from serving.watch import request_log

STOP_TIMEOUT_S = 15


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is drawn anew for each process."""

    grpc_port: int
    metrics_port: int
    memory_prefix: str

    @classmethod
    def drawn(cls, hosts: tuple[str, str], ports: tuple[int, int]) -> Self:
        """On these hosts and ports of gRPC and metrics; a free port for 0."""
        grpc_port, metrics_port = processes.available_ports(
            [
                processes.Listening(hosts[0], ports[0]),
                processes.Listening(hosts[1], ports[1], "--metrics-host", "--metrics-port"),
            ]
        )
        prefix = shared_memory.prefix(secrets.token_hex(4))
        return cls(grpc_port=grpc_port, metrics_port=metrics_port, memory_prefix=prefix)


def command(
    launch: Launch,
    repository: Path,
    options: ServerOptions,
    *,
    admin_key: str,
    tls: ServerTls | None,
    loads_all: bool,
) -> list[str]:
    """The words; `loads_all` in the control mode `explicit`: whether it loads every model of the repository by
    itself."""
    is_native = options.backend == "native"
    backends = runtime.backend_directory(options.backends or runtime.BACKENDS, native.library() if is_native else None)
    binary = options.tritonserver or runtime.wheel_root() / "bin" / "tritonserver"
    return [
        str(binary),
        *shared_flags(repository, options.target, admin_key),
        f"--model-control-mode={options.model_control}",
        *(["--load-model=*"] if options.model_control == "explicit" and loads_all else []),
        f"--grpc-address={options.host}",
        f"--grpc-port={launch.grpc_port}",
        *(tls.flags if tls else []),
        *(options.traces.flags if options.traces else []),
        f"--metrics-address={options.metrics_host}",
        f"--metrics-port={launch.metrics_port}",
        "--allow-gpu-metrics=0",
        f"--backend-directory={backends}",
        *([f"--backend-config={runtime.NATIVE},library={native.onnxruntime_library()}"] if is_native else []),
        # Holds for the Python-based backends too.
        f"--backend-config=python,shm-region-prefix-name={launch.memory_prefix}",
        f"--exit-timeout-secs={STOP_TIMEOUT_S - 5}",
    ]


def environment(options: ServerOptions) -> dict[str, str]:
    """What the backends find in it of the options."""
    traces = options.traces.environment if options.traces else {}
    return request_log.environment(options.request_log) | traces
