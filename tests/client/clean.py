"""An environment that has the client's wheel, and numpy and gRPC, and nothing else."""

import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED = ("numpy", "grpcio", "protobuf", "typing_extensions")
"""Distributions: what the wheel asks for, and what that asks for."""


def built(folder: Path) -> Path:
    """The wheel, out of a copy of the sources, with the setuptools of this environment."""
    shutil.copytree(ROOT / "client", folder / "source", ignore=shutil.ignore_patterns("*.egg-info", "build"))
    _pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    return wheel


def environment(folder: Path, wheel: Path) -> Path:
    """The interpreter of a new environment with the wheel; what that needs is that of this environment."""
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for name in NEEDED:
        for top in {Path(str(file)).parts[0] for file in distribution(name).files or ()} - {".."}:
            place = Path(str(distribution(name).locate_file(top)))
            target = packages / top
            if top == "google":
                target.mkdir()
                target, place = target / "protobuf", place / "protobuf"
            target.symlink_to(place)
    _pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    _pip("--python", python, "check")
    return python


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
