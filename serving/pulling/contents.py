"""What of a listing is a repository, and which releases of it are served."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from serving import manifest, releases
from serving.manifest import MANIFEST_FILE
from serving.pulling.objects import Objects

_MOST_BYTES = 16 * 2**20
"""Of a manifest or a configuration."""
_SPECIAL = ("", ".", "..")


class File(NamedTuple):
    """A file of a release, as its manifest has it."""

    key: str
    size: int
    sha256: str


class Contents(NamedTuple):
    """A repository in an object store, as far as it is needed."""

    served: dict[str, int]
    """Version of each release, by name."""
    models: dict[str, int]
    """Version of each model of those."""
    files: dict[str, File]
    """All files of those versions but the manifests, by key."""


def read(objects: Objects, outline: Path) -> Contents:
    """Reads what is small, configurations, manifests and `releases.json`, into the folder `outline`.

    Raises ValueError for what is no repository, a release that is not there as a whole, or a name that leads out of
    the repository; OSError where the store does not answer.
    """
    sizes = objects.sizes()
    for key in sizes:
        check_key(key, objects.url)
    for key, size in sizes.items():
        if _is_outline(key):
            if size > _MOST_BYTES:
                raise ValueError(f"{objects.url}/{key} has {size} bytes, which is no {PurePosixPath(key).name}")
            path = outline / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(objects.read(key))
    served = _served(outline, objects.url)
    models = {model: number for name, number in served.items() for model in releases.models_of(outline, name, number)}
    files: dict[str, File] = {}
    for model, number in models.items():
        files |= _files(outline, PurePosixPath(model) / str(number), sizes, objects.url)
    return Contents(served, models, files)


def check_key(key: str, url: str) -> None:
    """Raises ValueError for a key that is no path below a folder."""
    path = key.split("/")
    # Object stores have folders as empty objects, whose key ends with a slash.
    parts = path[:-1] if key.endswith("/") else path
    if not parts or any(part in _SPECIAL or "\\" in part or not part.isprintable() for part in parts):
        raise ValueError(f"{url} has the key {key!r}, which is no path in a repository; remove it")


def _is_outline(key: str) -> bool:
    match key.split("/"):
        case [releases.FILE]:
            return True
        case [_, "config.pbtxt"]:
            return True
        case [_, "configs", file]:
            return file.endswith(".pbtxt")
        case [_, number, file]:
            return number.isdecimal() and file == MANIFEST_FILE
    return False


def _served(outline: Path, url: str) -> dict[str, int]:
    try:
        releases.served_versions(outline)
        names = releases.names(outline)
        served = {name: releases.standing(outline, name).served for name in names}
    except ValueError as error:
        raise ValueError(str(error).replace(str(outline), url)) from error
    if not served:
        raise ValueError(
            f"{url} has no release that is there as a whole; copy a repository there, its manifests last and "
            f"{releases.FILE} after them"
        )
    return served


def _files(outline: Path, version: PurePosixPath, sizes: Mapping[str, int], url: str) -> dict[str, File]:
    listed = manifest.read(outline / version)["files"]
    found: dict[str, File] = {}
    for name, said in listed.items():
        check_key(name, f"{url}/{version}/{MANIFEST_FILE}")
        key = f"{version}/{name}"
        try:
            file = File(key, int(said["bytes"]), str(said["sha256"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{url}/{version}/{MANIFEST_FILE} is damaged at '{name}' ({error!r})") from error
        if key not in sizes:
            raise ValueError(f"{url}/{key} is missing, which {MANIFEST_FILE} lists; copy the release again")
        if sizes[key] != file.size:
            raise ValueError(f"{url}/{key} has {sizes[key]} bytes and should have {file.size}; copy the release again")
        found[key] = file
    return found


def same_manifest(one: Path, other: Path) -> bool:
    """Whether two versions hold the same files, to the bit. Raises ValueError where a manifest cannot be read."""
    return json.dumps(manifest.read(one)["files"], sort_keys=True) == json.dumps(
        manifest.read(other)["files"], sort_keys=True
    )
