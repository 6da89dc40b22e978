"""Our packages have common names, so another distribution may hide one of them: found before anything is served."""

import importlib.metadata
import importlib.util
from pathlib import Path

PACKAGES = ("recserve", "training", "export", "kernels", "serving", "loadtest")
ROOT = Path(__file__).resolve().parents[1]


def check_names() -> None:
    """Raises ValueError where a package resolves to somebody else's, with its place and what to uninstall."""
    for name in PACKAGES:
        for place in _places(name):
            if place != ROOT / name:
                raise ValueError(f"package '{name}' is taken from {place} and not from {ROOT / name}: {_remedy(name)}")


def _places(name: str) -> list[Path]:
    """The folders from which Python takes a package, or the file where it is a module."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ValueError(f"package '{name}' is not found: pip install --editable {ROOT}/client --editable {ROOT}")
    return [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin or ""]]


def _remedy(name: str) -> str:
    owners = sorted({*importlib.metadata.packages_distributions().get(name, [])} - {"recserve"})
    return f"pip uninstall {' '.join(owners)}" if owners else "move it away, or take its folder out of PYTHONPATH"
