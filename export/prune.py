"""Removes old releases of a repository: never one that is served, was served last, or is needed by another."""

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from serving import releases
from serving.versions import versions

_SUFFIX = ".pruned"


class Version(NamedTuple):
    """One version of one model."""

    model: str
    number: int


def prunable(repository: Path, keep: int, loaded: Collection[Version]) -> list[Version]:
    """What may go where the newest `keep` releases of each name stay, in the order in which it should: what clients ask
    before its parts.

    `loaded` is what a running server has, which stays with all of its release.
    """
    everything = [
        (name, number) for name in releases.names(repository) for number in releases.numbers(repository, name)
    ]
    models = {(name, number): releases.models_of(repository, name, number) for name, number in everything}
    kept: set[Version] = set()
    for name, number in everything:
        parts = {Version(model, number) for model in models[name, number]}
        if parts & {*loaded} or number in _standing(repository, name) | {*releases.numbers(repository, name)[-keep:]}:
            kept |= parts
    old = [Version(model, number) for name, number in everything for model in _asked_first(name, models[name, number])]
    return [one for one in dict.fromkeys(old) if one not in kept and _folder(repository, one).is_dir()]


def size(repository: Path, version: Version) -> int:
    """Bytes of a version's files."""
    return sum(path.stat().st_size for path in _folder(repository, version).rglob("*") if path.is_file())


def remove(repository: Path, version: Version) -> None:
    """Takes a version away in one step, and then deletes it. With the last one of a model goes the model's folder, as
    no server starts over one without a version."""
    folder = _folder(repository, version)
    gone = folder.with_name(f".{folder.name}{_SUFFIX}")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    if versions(folder.parent):
        shutil.rmtree(gone)
        return
    # tritonserver does not start over a folder that is no model, be it hidden, unless it lies in one that is.
    other = next(path for path in repository.iterdir() if path != folder.parent and versions(path))
    shutil.rmtree(folder.parent.rename(other / f".{folder.parent.name}{_SUFFIX}"))


def sweep(repository: Path) -> None:
    """Deletes what an earlier removal that was cut off took away and left."""
    for path in repository.glob(f"*/.*{_SUFFIX}"):
        shutil.rmtree(path)


def _standing(repository: Path, name: str) -> set[int]:
    """What is served, and what was before."""
    now = releases.standing(repository, name)
    return {now.served, *now.before[:1]}


def _asked_first(name: str, models: tuple[str, ...]) -> list[str]:
    return [name, *(model for model in models if model != name)]


def _folder(repository: Path, version: Version) -> Path:
    return repository / version.model / str(version.number)
