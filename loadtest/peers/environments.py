"""The peers, and a virtual environment for each: `python -m loadtest.peers.environments [PEER...]` makes them."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from loadtest.failure import MeasurementError
from serving import runtime

_FOLDER = Path(__file__).parent
_MADE = "made"
"""The file that says that an environment is whole."""
_LINES = 15


class Peer(NamedTuple):
    """A server that a user would pick instead."""

    name: str
    transport: str
    """In `loadtest.peers.transports.TRANSPORTS`."""
    module: str
    """What `python -m` starts, with --model and --port."""
    environment: str
    """The folder beside this file with the requirements.txt; empty where it runs in this environment."""
    is_torch: bool = False
    """Whether it serves the release's program in torch, and not the ONNX file."""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("bentoml", "bentoml", "loadtest.peers.bentoml.server", "bentoml"),
        Peer("grpcio", "grpcio", "loadtest.peers.grpcio.server", "grpcio"),
        Peer("grpcio-batched", "grpcio", "loadtest.peers.grpcio.batched", "grpcio"),
        Peer("litserve", "litserve", "loadtest.peers.litserve.server", "litserve"),
        Peer("mlserver", "mlserver", "loadtest.peers.mlserver.server", "mlserver"),
        Peer("torch-compiled", "grpcio", "loadtest.peers.pytorch.compiled", "", is_torch=True),
        Peer("torch-eager", "grpcio", "loadtest.peers.pytorch.eager", "", is_torch=True),
    )
}


class EnvironmentFailure(MeasurementError):
    """A peer's environment could not be made."""


def peer(name: str) -> Peer:
    """Raises ValueError for an unknown name."""
    if name not in PEERS:
        raise ValueError(f"peer '{name}' is unknown; use one of {sorted(PEERS)}")
    return PEERS[name]


def python(name: str) -> Path:
    """The interpreter of a peer's environment, whether that is made already or not."""
    one = peer(name)
    return _target(one) / "bin" / "python" if one.environment else Path(sys.executable)


def is_made(name: str) -> bool:
    """Whether `make` has nothing to do."""
    one = peer(name)
    return not one.environment or (_target(one) / _MADE).is_file()


def make(name: str) -> Path:
    """The environment's interpreter; the environment is made once for each content of its requirements.txt.

    Raises:
        EnvironmentFailure: with the end of what pip printed.
    """
    one = peer(name)
    if not one.environment:
        return python(name)
    target = _target(one)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made(name):
            # What an interrupted run left.
            shutil.rmtree(target, ignore_errors=True)
            _run(name, [sys.executable, "-m", "venv", "--without-pip", str(target)])
            pip = [sys.executable, "-m", "pip", "--python", str(python(name)), "--disable-pip-version-check"]
            _run(name, [*pip, "install", "--no-input", "--requirement", str(_requirements(one))])
            (target / _MADE).touch()
    return python(name)


def versions(name: str) -> dict[str, str]:
    """Package -> version: as pinned, or torch's in this environment."""
    one = peer(name)
    if not one.environment:
        return {"torch": metadata.version("torch")}
    lines = _requirements(one).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def _requirements(one: Peer) -> Path:
    return _FOLDER / one.environment / "requirements.txt"


def _target(one: Peer) -> Path:
    digest = hashlib.sha256(sys.version.encode() + _requirements(one).read_bytes())
    return runtime.cache() / "peers" / f"{one.environment}-{digest.hexdigest()[:16]}"


def _run(name: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-_LINES:])
        raise EnvironmentFailure(f"the environment of {name} could not be made; {' '.join(command)} ended with:\n{end}")


def main() -> None:
    """Makes the environments that the command line names, all without a name."""
    for name in sys.argv[1:] or PEERS:
        sys.stdout.write(f"{name}: {make(name)}\n")


if __name__ == "__main__":
    main()
