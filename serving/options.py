"""How a repository is served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving import addresses
from serving.traces import Traces
from serving.watch.request_log import LogOptions

Backend = Literal["python", "native"]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How to serve a repository."""

    target: str = "cpu"
    """Which configs/<target>.pbtxt the models use."""
    state: Path | str | None = None
    """Directory or URL of the store of user states, see `open_store`; <repository>.state beside the repository where
    None."""
    histories: str | None = None
    """URL of the store of users' histories, see `open_histories`; <repository>.histories beside the repository where
    None."""
    host: str = "127.0.0.1"
    """Where gRPC listens: an IPv4 address, 0.0.0.0 for all, or a name."""
    tls: Path | None = None
    """Folder of certificates, see `ServerTls`; plain text where None."""
    insecure: bool = False
    """Whether plain text may leave this machine."""
    metrics_host: str = "127.0.0.1"
    """Where Prometheus reads, in plain text always."""
    traces: Traces | None = None
    """Where traces go; nothing is traced where None."""
    grpc_port: int = 0
    """0 takes a free one."""
    metrics_port: int = 0
    """0 takes a free one."""
    backend: Backend = "python"
    """How a model of the backend `onnxruntime` is run: by a Python process each, or in the server by our C++."""
    backends: Path | None = None
    """Source directory of the Python-based backends; ours where None."""
    log: Path | None = None
    """The server's log, overwritten; a new file in the cache's logs/ where None."""
    ready_timeout_s: float = 120.0
    check_golden: bool = True
    """Whether files and golden answers must be right before the server counts as started."""
    model_control: Literal["none", "explicit"] = "none"
    """explicit: all models are loaded at the start, and `Admin.load` and `unload` work with the admin key."""
    admin_key: str | None = None
    """Opens the model control, trace and log APIs; a new one for each server where None."""
    tritonserver: Path | None = None
    """The server's binary; that of the wheel where None."""
    request_log: LogOptions | None = None
    """Which requests are logged, and where; none where None."""

    def __post_init__(self) -> None:
        for name, port in (("grpc_port", self.grpc_port), ("metrics_port", self.metrics_port)):
            if not 0 <= port <= 65535:
                raise ValueError(f"{name} is {port}; a port is between 1 and 65535, and 0 takes a free one")
        for name, host in (("host", self.host), ("metrics_host", self.metrics_host)):
            addresses.check(name, host)
        if not (addresses.is_loopback(self.host) or self.tls or self.insecure):
            raise ValueError(
                f"host {self.host} is reached by others than this machine, in plain text; name a TLS folder with "
                "--tls, or say --insecure"
            )
        if self.grpc_port == self.metrics_port != 0:
            raise ValueError(f"grpc_port and metrics_port are both {self.grpc_port}; give each its own")
        if self.backend == "native" and (self.traces or self.request_log):
            what = "traces" if self.traces else "request-log"
            raise ValueError(f"--{what} needs --backend python: the native backend does not know what it asks for")
        if self.request_log is not None:
            self.request_log.prepare()
