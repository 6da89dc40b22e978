"""Version folders of a model, and which of them is served."""

import contextlib
import py_compile
from pathlib import Path

from serving.configs import read_config


def versions(model: Path) -> list[int]:
    """The published versions of the model in this folder, ascending; tritonserver sees the same."""
    if not model.is_dir():
        return []
    return sorted(int(entry.name) for entry in model.iterdir() if entry.is_dir() and _is_version(entry.name))


def latest_version(model: Path) -> Path:
    """The directory of the highest version number.

    Raises:
        ValueError: there is none.
    """
    return model / str(_some(model)[-1])


def served_version(model: Path, target: str = "cpu") -> Path:
    """The directory of the version that a client is answered from who names none.

    Raises:
        ValueError: there is none.
    """
    return loaded_versions(model, target)[-1]


def loaded_versions(model: Path, target: str) -> list[Path]:
    """The version directories that tritonserver loads by the model's version policy, oldest first.

    Raises:
        ValueError: there is none.
    """
    found, policy = _some(model), read_config(model, target).version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            chosen = found
        case "specific":
            chosen = [version for version in found if version in policy.specific.versions]
        case _:
            chosen = found[-max(1, policy.latest.num_versions) :]
    if not chosen:
        raise ValueError(
            f"{model} is to be served at version {list(policy.specific.versions)}, which is not there; name another "
            f"with recserve releases promote {model.name}@VERSION"
        )
    return [model / str(version) for version in chosen]


def compile_sources(version: Path) -> None:
    """Writes the bytecode that Python would write beside the sources of a version when they are first run."""
    with contextlib.suppress(OSError):  # nor could Python
        for path in version.glob("*.py"):
            py_compile.compile(str(path))


def _some(model: Path) -> list[int]:
    found = versions(model)
    if not found:
        raise ValueError(f"{model} has no version directory; export the model again")
    return found


def _is_version(name: str) -> bool:
    """Whether tritonserver takes a folder of this name for a version: a number without leading zeros."""
    return name.isascii() and name.isdigit() and not name.startswith("0")
