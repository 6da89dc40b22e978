"""Pulls what an object store serves into a repository, and then makes that what is served there.

Files are fetched into a folder of their own, from where they were left off, and compared with their manifests there;
only a release that is there as a whole is renamed into place, and only then is it chosen. Nothing is deleted but what
was staged, so that a server of the repository goes on meanwhile, and one that follows it misses no request.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format

from serving import manifest, releases, staging
from serving.configs import read_file
from serving.files import locked, replace_text, sync
from serving.manifest import MANIFEST_FILE
from serving.pulling.contents import Contents, File, read, same_manifest
from serving.pulling.objects import Objects
from serving.served_configs import with_versions
from serving.startup import StartupError

_LOCK = ".pull.lock"
_BLOCK_BYTES = 2**20


class Pulled(NamedTuple):
    """What a pull did."""

    served: dict[str, int]
    """Version of each release, by name."""
    added: list[str]
    """<model>/<version> that were not there."""
    fetched_bytes: int
    kept_bytes: int
    """Of files that an earlier pull had begun."""


def pull(objects: Objects, repository: Path, report: Callable[[str], None] = lambda line: None) -> Pulled:
    """Brings a repository to what the store serves; what else it has stays.

    Raises:
        ValueError: the store holds no repository, or another release under a number that the repository has.
        StartupError: a file is not the one that was published; nothing is changed.
        OSError: the store does not answer, or the disk is full; the next pull goes on from there.
    """
    repository.mkdir(parents=True, exist_ok=True)
    with locked(repository / _LOCK):
        place = staging.place(repository, "pulling")
        outline = place / "outline"
        shutil.rmtree(outline, ignore_errors=True)
        contents = read(objects, outline)
        pulled = _Pull(objects, repository, place, contents, report).run()
        shutil.rmtree(place)
    return pulled


class _Pull:
    """One pull."""

    def __init__(
        self, objects: Objects, repository: Path, place: Path, contents: Contents, report: Callable[[str], None]
    ) -> None:
        self._objects = objects
        self._repository = repository
        self._outline = place / "outline"
        self._files = place / "files"
        self._contents = contents
        self._report = report
        self._fetched = self._kept = 0

    def run(self) -> Pulled:
        missing = [f"{model}/{number}" for model, number in self._contents.models.items() if self._lacks(model, number)]
        for version in missing:
            self._stage(version)
        for model, number in self._contents.models.items():
            part = f"{model}/{number}"
            try:
                manifest.verify((self._files if part in missing else self._repository) / part)
            except ValueError as error:
                raise StartupError(f"{part} of {self._objects.url} is refused, nothing is changed: {error}") from error
        self._reveal(missing)
        self._choose()
        return Pulled(self._contents.served, missing, self._fetched, self._kept)

    def _lacks(self, model: str, number: int) -> bool:
        here, there = self._repository / model / str(number), self._outline / model / str(number)
        if not here.is_dir():
            return True
        if not same_manifest(here, there):
            raise ValueError(
                f"{here} and {self._objects.url}/{model}/{number} are different releases of one number; publish the "
                "other one anew, and pull that"
            )
        return False

    def _stage(self, version: str) -> None:
        folder = self._files / version
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [file for key, file in self._contents.files.items() if key.startswith(f"{version}/")]
        for file in wanted:
            self._fetch(file)
        shutil.copyfile(self._outline / version / MANIFEST_FILE, folder / MANIFEST_FILE)
        size = sum(file.size for file in wanted)
        self._report(f"{version}: {len(wanted)} files, {size / 2**20:.1f} MiB, as published")

    def _fetch(self, file: File) -> None:
        """Goes on where an earlier pull was cut off, and hashes what it reads."""
        path = self._files / file.key
        path.parent.mkdir(parents=True, exist_ok=True)
        start, digest = _begun(path, file)
        self._kept += start
        if start < file.size or not path.exists():
            with path.open("ab") as out:
                for chunk in self._objects.chunks(file.key, start) if file.size else ():
                    out.write(chunk)
                    digest.update(chunk)
                    self._fetched += len(chunk)
            sync(path)
        if digest.hexdigest() != file.sha256:
            path.unlink()
            raise StartupError(
                f"{self._objects.url}/{file.key} is not what was published: its sha256 differs from {MANIFEST_FILE}; "
                "nothing is changed; copy the release there again"
            )

    def _reveal(self, missing: list[str]) -> None:
        """Renames versions into place, new models as a whole; what is served stays that until it is chosen."""
        models = {version.partition("/")[0] for version in missing}
        there = {name for name in self._contents.models if (self._repository / name).is_dir()}
        newest = {name: max(numbers) for name in there if (numbers := _numbers(self._repository / name))}
        releases.hold(self._repository, newest)
        for name in sorted(there):
            self._configure(name)
        for name in sorted(models - there):
            for config in self._configs(name):
                (self._files / config).parent.mkdir(exist_ok=True)
                shutil.copyfile(self._outline / config, self._files / config)
        for part in sorted(
            {version if version.partition("/")[0] in there else version.partition("/")[0] for version in missing}
        ):
            _publish(self._files / part)
            (self._files / part).rename(self._repository / part)
            sync((self._repository / part).parent)

    def _configs(self, name: str) -> list[Path]:
        found = [*(self._outline / name).glob("config.pbtxt"), *(self._outline / name).glob("configs/*.pbtxt")]
        return [path.relative_to(self._outline) for path in sorted(found)]

    def _configure(self, name: str) -> None:
        """Takes over the store's configuration of a model that is there, but for which version is served."""
        for config in self._configs(name):
            path, offered = self._repository / config, read_file(self._outline / config)
            now = read_file(path) if path.is_file() else offered
            if chosen := [*now.version_policy.specific.versions]:
                offered = with_versions(self._repository / name, offered, chosen)
            if not path.is_file() or offered != now:
                replace_text(path, text_format.MessageToString(offered))

    def _choose(self) -> None:
        chosen = releases.read(self._repository)
        for name, number in self._contents.served.items():
            if name not in chosen or chosen[name].served != number:
                releases.change(self._repository, name, lambda now, number=number: now.at(number, "pulled"))


def _begun(path: Path, file: File) -> tuple[int, "hashlib._Hash"]:
    """Bytes that are there already, and their digest; none of a file that is longer than it may be."""
    digest = hashlib.sha256()
    if path.is_file() and path.stat().st_size > file.size:
        path.unlink()
    if not path.is_file():
        return 0, digest
    with path.open("rb") as begun:
        while block := begun.read(_BLOCK_BYTES):
            digest.update(block)
    return path.stat().st_size, digest


def _numbers(model: Path) -> list[int]:
    return [int(path.name) for path in model.iterdir() if path.is_dir() and path.name.isdecimal()]


def _publish(folder: Path) -> None:
    """For whoever runs the server, and through to the disk."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        sync(path)
    sync(folder)
