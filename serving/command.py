"""Command lines of tritonserver: what every target shares, and NVIDIA's container."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import kernels
import recserve_client
from serving.state import directory_of

USER = 10_001
"""Of the images of deploy/containers; of a container, where root starts it."""
IMAGE = "nvcr.io/nvidia/tritonserver:26.06-py3"
ADMIN_APIS = ("model-repository", "trace", "logging")
SUMMARIES = (
    "--metrics-config=summary_latencies=true",
    "--metrics-config=summary_quantiles=0.5:0.05,0.95:0.01,0.99:0.001",
)
"""Quantiles of each model's latencies; those of several servers cannot be put together, an edge's histograms can."""


Engine = Literal["docker", "podman"]
_GPUS: dict[Engine, str] = {"docker": "--gpus=all", "podman": "--device=nvidia.com/gpu=all"}
"""How each engine hands over the GPUs; podman by NVIDIA's description of devices (CDI)."""


class Container(NamedTuple):
    """How a repository is served in NVIDIA's container."""

    repository: Path
    state: str
    """URL of the store of user states: of a directory, which is mounted, or of another machine."""
    histories: str
    """URL of the store of users' histories, likewise."""
    image: str = IMAGE
    engine: Engine = "docker"
    grpc_port: int = 8001
    metrics_port: int = 8002


def container_command(container: Container, admin_key: str | None = None) -> list[str]:
    """The command line that serves the same repository in NVIDIA's container, on a GPU, for this machine only.

    The image needs the packages `lmdb` and `safetensors` where the repository has a model `user_events` or one with
    user states, and `torch`, `triton`, `jaxtyping` and `onnx` where it has kernel forms, as that of
    deploy/containers/gpu.Dockerfile has. Without an `admin_key` nobody gets at the administrative APIs.
    """
    source = Path(__file__).parent
    stores = dict([_store("STATE", container.state), _store("HISTORIES", container.histories)])
    mounts = {
        container.repository.resolve(): "/models:ro",
        **dict(mounted(container)),
        source: "/recserve/serving:ro",
        Path(kernels.__path__[0]): "/recserve/kernels:ro",
        Path(recserve_client.__path__[0]): "/recserve/recserve_client:ro",
        source / "backends" / "recserve": "/opt/tritonserver/backends/recserve:ro",
    }
    return [
        *(container.engine, "run", "--rm", _GPUS[container.engine], "--shm-size=1g"),
        *("--security-opt=no-new-privileges", "--cap-drop=ALL", f"--user={user()}"),
        f"--publish=127.0.0.1:{container.grpc_port}:8001",
        f"--publish=127.0.0.1:{container.metrics_port}:8002",
        *(f"--volume={outside}:{inside}" for outside, inside in mounts.items()),
        *(f"--env=RECSERVE_{name}={url}" for name, url in stores.items()),
        *("--env=PYTHONPATH=/recserve", "--env=PYTHONDONTWRITEBYTECODE=1"),
        container.image,
        "tritonserver",
        *shared_flags(Path("/models"), None, admin_key or secrets.token_hex(16)),
        "--model-control-mode=none",
    ]


def user() -> str:
    """UID:GID in the container: whoever calls, so that stores on this machine stay his; never root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{USER}:{USER}"


def mounted(container: Container) -> Iterator[tuple[Path, str]]:
    """Folders of stores on this machine, each with where the container has it."""
    for name, url in (("/state", container.state), ("/histories", container.histories)):
        if (folder := directory_of(url)) is not None:
            yield folder, name


def _store(name: str, url: str) -> tuple[str, str]:
    """The store's name among the variables, and its URL as the container has it."""
    return name, url if directory_of(url) is None else f"lmdb:///{name.lower()}"


def shared_flags(repository: Path, target: str | None, admin_key: str) -> list[str]:
    """The model repository and the secure defaults; without a `target` the models' config.pbtxt is used."""
    return [
        f"--model-repository={repository}",
        *([f"--model-config-name={target}"] if target else []),
        "--disable-auto-complete-config",
        "--strict-readiness=1",
        "--exit-on-error=1",
        "--allow-http=0",
        *SUMMARIES,
        f"--grpc-restricted-protocol={','.join(ADMIN_APIS)}:admin-key={admin_key}",
        # A key that nobody is given: the API is off.
        f"--grpc-restricted-protocol=shared-memory:off={secrets.token_hex(32)}",
    ]
