"""Command lines of tritonserver: what every target shares, and NVIDIA's container."""

import os
import secrets
from pathlib import Path

import kernels
import recserve_client

IMAGE = "nvcr.io/nvidia/tritonserver:26.06-py3"
ADMIN_APIS = ("model-repository", "trace", "logging")


def container_command(
    repository: Path, state: Path, histories: Path, image: str = IMAGE, admin_key: str | None = None
) -> list[str]:
    """The command line that serves the same repository in NVIDIA's container, on a GPU, for this machine only.

    The image needs the packages `lmdb` and `safetensors` where the repository has a model `user_events` or one with
    user states, and `torch`, `triton`, `jaxtyping` and `onnx` where it has kernel forms. Without an `admin_key` nobody
    gets at the administrative APIs.
    """
    source = Path(__file__).parent
    mounts = {
        repository.resolve(): "/models:ro",
        state.resolve(): "/state",
        histories.resolve(): "/histories",
        source: "/recserve/serving:ro",
        Path(kernels.__path__[0]): "/recserve/kernels:ro",
        Path(recserve_client.__path__[0]): "/recserve/recserve_client:ro",
        source / "backends" / "recserve": "/opt/tritonserver/backends/recserve:ro",
    }
    return [
        *("docker", "run", "--rm", "--gpus=all", "--shm-size=1g"),
        *("--security-opt=no-new-privileges", "--cap-drop=ALL", f"--user={os.getuid()}:{os.getgid()}"),
        *("--publish=127.0.0.1:8001:8001", "--publish=127.0.0.1:8002:8002"),
        *(f"--volume={outside}:{inside}" for outside, inside in mounts.items()),
        *("--env=RECSERVE_STATE=lmdb:///state", "--env=RECSERVE_HISTORIES=lmdb:///histories"),
        *("--env=PYTHONPATH=/recserve", "--env=PYTHONDONTWRITEBYTECODE=1"),
        image,
        "tritonserver",
        *shared_flags(Path("/models"), None, admin_key or secrets.token_hex(16)),
        "--model-control-mode=none",
    ]


def shared_flags(repository: Path, target: str | None, admin_key: str) -> list[str]:
    """The model repository and the secure defaults; without a `target` the models' config.pbtxt is used."""
    return [
        f"--model-repository={repository}",
        *([f"--model-config-name={target}"] if target else []),
        "--disable-auto-complete-config",
        "--strict-readiness=1",
        "--exit-on-error=1",
        "--allow-http=0",
        f"--grpc-restricted-protocol={','.join(ADMIN_APIS)}:admin-key={admin_key}",
        # A key that nobody is given: the API is off.
        f"--grpc-restricted-protocol=shared-memory:off={secrets.token_hex(32)}",
    ]
